package luks

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The marks that this driver puts into a header, as its subsystem. A fresh one proves that nothing was ever put inside
// which anybody could miss: it is replaced before the first mount, and before a pod gets the device.
const (
	used  = "block.csi.vultr.com"
	fresh = used + " fresh"
)

var (
	// ErrNoHeader says that there is no LUKS2 header.
	ErrNoHeader = errors.New("there is no LUKS2 header")
	// ErrDamaged says that there is the beginning of one, and that neither copy of it is sound.
	ErrDamaged = errors.New("the LUKS2 header is damaged")

	errVersion = errors.New("supported is LUKS2 only")
)

// Header is what the header of a disk says.
type Header struct {
	// Label is the volume for which this driver made it, and Subsystem the mark.
	Label, Subsystem string
	// Keyslots counts the passphrases that open it.
	Keyslots int
	// Offset is where the encrypted data begin, and Sector the size of what is encrypted at a time, in bytes.
	Offset, Sector int64
	// Memory is how many bytes it takes at most to derive the key of a key slot: each of them may be tried.
	Memory int64
}

// Ours reports whether this driver made the header.
func (h Header) Ours() bool { return h.Subsystem == used || h.Subsystem == fresh }

// Fresh reports whether this driver made the header for the very volume, and nothing was put inside yet.
func (h Header) Fresh(volumeID string) bool { return h.Subsystem == fresh && h.Label == volumeID }

// Inside is the size of the open device on a disk of the size.
func (h Header) Inside(disk int64) int64 { return max(0, disk-h.Offset) / h.Sector * h.Sector }

// The binary header (LUKS2 On-Disk Format Specification 1.1.3, section 2.2): offsets, lengths, and where the second copy may
// begin, which depends on the size of the first.
const (
	binaryBytes = 4096

	magicBytes   = 6
	versionAt    = 6
	sizeAt       = 8
	sequenceAt   = 16
	labelAt      = 24
	labelBytes   = 48
	algorithmAt  = 72
	algorithmMax = 32
	subsystemAt  = 208
	ownOffsetAt  = 256
	checksumAt   = 448
	checksumMax  = 64

	smallest = 0x4000
	largest  = 0x400000
)

var (
	firstMagic  = []byte("LUKS\xba\xbe")
	secondMagic = []byte("SKUL\xba\xbe")
)

// ReadHeader reads the header of a disk: the newer of the two copies that are sound. It changes nothing.
func ReadHeader(r io.ReaderAt) (Header, error) {
	best, seq, err := readCopy(r, 0, firstMagic)
	if errors.Is(err, errVersion) {
		return Header{}, err // behind it may be what is left of an earlier header
	}
	for at := int64(smallest); at <= largest; at *= 2 {
		h, s, copyErr := readCopy(r, at, secondMagic)
		switch {
		case copyErr == nil && (err != nil || s > seq):
			best, seq, err = h, s, nil
		case errors.Is(err, ErrNoHeader) && !errors.Is(copyErr, ErrNoHeader):
			err = copyErr
		}
	}
	return best, err
}

// readCopy reads one copy and its number in the row of changes.
func readCopy(r io.ReaderAt, at int64, magic []byte) (Header, uint64, error) {
	raw := make([]byte, binaryBytes)
	n, err := r.ReadAt(raw, at)
	switch {
	case n < binaryBytes && errors.Is(err, io.EOF):
		return Header{}, 0, ErrNoHeader
	case n < binaryBytes:
		return Header{}, 0, fmt.Errorf("reading the LUKS2 header at %d: %w", at, err)
	case !bytes.Equal(raw[:magicBytes], magic):
		return Header{}, 0, ErrNoHeader
	}
	if version := binary.BigEndian.Uint16(raw[versionAt:]); version != 2 {
		return Header{}, 0, fmt.Errorf("it is encrypted with version %d of LUKS, %w", version, errVersion)
	}
	size := binary.BigEndian.Uint64(raw[sizeAt:])
	if size < smallest || size > largest || binary.BigEndian.Uint64(raw[ownOffsetAt:]) != uint64(at) { //nolint:gosec // not negative
		return Header{}, 0, fmt.Errorf("%w: at %d it contradicts itself", ErrDamaged, at)
	}
	whole := make([]byte, size)
	if n, err := r.ReadAt(whole, at); n < len(whole) {
		return Header{}, 0, fmt.Errorf("reading the LUKS2 header at %d: %w", at, err)
	}
	h, err := parse(whole)
	if err != nil {
		return Header{}, 0, fmt.Errorf("the LUKS2 header at %d: %w", at, err)
	}
	return h, binary.BigEndian.Uint64(whole[sequenceAt:]), nil
}

// parse reads a whole copy, whose checksum must be right.
func parse(whole []byte) (Header, error) {
	if algorithm := text(whole[algorithmAt:][:algorithmMax]); algorithm != "sha256" {
		return Header{}, fmt.Errorf("its checksum is of the unknown kind %q", algorithm)
	}
	stored := bytes.Clone(whole[checksumAt:][:sha256.Size])
	clear(whole[checksumAt:][:checksumMax])
	if sum := sha256.Sum256(whole); !bytes.Equal(sum[:], stored) {
		return Header{}, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	var area struct {
		Keyslots map[string]struct {
			KDF struct {
				Memory int64 `json:"memory"` // in KiB, and not there where it takes none
			} `json:"kdf"`
		} `json:"keyslots"`
		Segments map[string]struct {
			Offset string `json:"offset"`
			Sector int64  `json:"sector_size"`
		} `json:"segments"`
	}
	if err := json.Unmarshal([]byte(text(whole[binaryBytes:])), &area); err != nil {
		return Header{}, err
	}
	data, ok := area.Segments["0"]
	if len(area.Segments) != 1 || !ok || data.Sector <= 0 {
		return Header{}, fmt.Errorf("it has %d segments, not one", len(area.Segments))
	}
	offset, err := strconv.ParseInt(data.Offset, 10, 64)
	if err != nil || offset < 0 {
		return Header{}, fmt.Errorf("its data begin at %q", data.Offset)
	}
	h := Header{
		Label: text(whole[labelAt:][:labelBytes]), Subsystem: text(whole[subsystemAt:][:labelBytes]),
		Keyslots: len(area.Keyslots), Offset: offset, Sector: data.Sector,
	}
	for _, slot := range area.Keyslots {
		h.Memory = max(h.Memory, slot.KDF.Memory<<10)
	}
	return h, nil
}

// text is a field that ends with a zero byte.
func text(field []byte) string {
	field, _, _ = bytes.Cut(field, []byte{0})
	return string(field)
}
