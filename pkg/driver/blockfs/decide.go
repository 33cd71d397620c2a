// Package blockfs looks at what is on a block device and decides whether it may be formatted.
package blockfs

import (
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Findings is what a probe found on a device.
type Findings struct {
	// Signature is the type of what was recognised ("ext4", "xfs", "LVM2_member", "gpt", ...), "" for nothing.
	Signature string
	// Blank is set when every range that was read is zero.
	Blank bool
	// NonZeroAt is where the first byte was found that is not, when not Blank.
	NonZeroAt int64
	// NeverMounted is set when a recognised file system proves that it was made and never mounted, or that its
	// making was never finished.
	NeverMounted bool
}

// Request is what staging asks for.
type Request struct {
	VolumeID string
	// FSType is the wished file system, "" for the default or whatever is there.
	FSType string
	// HasSource is set when the volume was not made empty.
	HasSource bool
	ReadOnly  bool
	// Encryption is how the disk is encrypted, or is to be, "" for not at all.
	Encryption string
	// Fresh is set when the header of the encrypted disk proves that nothing was put inside yet.
	Fresh bool
}

// Action is what to do with a device.
type Action int

// The actions.
const (
	UseExisting Action = iota // mount what is there
	Format                    // make a file system, then mount it
)

// Plan is what to do with a device and why.
type Plan struct {
	Action Action
	Type   filesystem.Type
	// Overwrite is set when what is on the device is our own unfinished work.
	Overwrite bool
	// OrFormat is set when the file system may be made again should it not mount: it proves to hold nothing.
	OrFormat bool
}

// Decide judges what to do with a device. It is the one place where "this may be formatted" is decided, and it
// says no unless everything speaks for it:
//   - a file system of a known type is used, anything else that is recognised is refused;
//   - nothing recognised and all zero: formatted, unless the volume has a source or must not be written;
//   - nothing recognised but not zero: formatted only with an intent of this very volume, device, file system, boot
//     and stay of the disk, because then it is the beginning of our own format that was cut off: as long as the disk
//     was plugged in here, it was nowhere else;
//   - inside an encrypted disk nothing reads as zero that nobody wrote. What nothing recognises there is formatted only when
//     the header says that nothing was put inside yet, wherever and whenever it was made.
func Decide(r Request, d device.Device, f Findings, intent *state.Intent, bootID string) (Plan, error) {
	ours := matches(intent, r, d, bootID)
	if r.Encryption != "" {
		ours = r.Fresh
	}
	if f.Signature != "" {
		return decideExisting(r, d, f, ours)
	}
	t, err := filesystem.Of(r.FSType)
	if err != nil {
		return Plan{}, err
	}
	switch {
	case r.HasSource:
		return Plan{}, refuse(d, "the volume was made from a source, but no file system is found on it")
	case r.ReadOnly:
		return Plan{}, refuse(d, "no file system is found on it, and it is to be used read-only")
	case f.Blank && r.Encryption == "":
		return Plan{Action: Format, Type: t}, nil
	case ours:
		return Plan{Action: Format, Type: t, Overwrite: true}, nil
	case f.Blank:
		return Plan{}, refuse(d, "nothing is recognised inside the encryption, and the zeros there were written by somebody, so it is not formatted")
	}
	return Plan{}, refuse(d, unknownData(f, intent))
}

// unknownData says that there is something that is not formatted, and perhaps why no record of a format helps.
func unknownData(f Findings, intent *state.Intent) string {
	what := fmt.Sprintf("it holds data that nothing recognises (the first at byte %d), so it is not formatted", f.NonZeroAt)
	if intent != nil {
		what += fmt.Sprintf("; a format as %s was begun here and cut off, but before the disk was last plugged in here or for other settings, so the data may be somebody else's", intent.FSType)
	}
	return what
}

func decideExisting(r Request, d device.Device, f Findings, ours bool) (Plan, error) {
	if f.Signature == Encrypted && r.Encryption == "" {
		return Plan{}, RefuseEncrypted(d)
	}
	t, err := filesystem.Of(f.Signature)
	if err != nil {
		return Plan{}, refuse(d, fmt.Sprintf("it holds %s, which is neither mounted nor formatted", f.Signature))
	}
	if r.FSType != "" && r.FSType != f.Signature {
		return Plan{}, refuse(d, fmt.Sprintf("it holds the file system %s, asked for is %s", f.Signature, r.FSType))
	}
	if r.Fresh && f.NeverMounted && !r.HasSource && !r.ReadOnly {
		return Plan{Action: Format, Type: t, Overwrite: true}, nil
	}
	return Plan{Action: UseExisting, Type: t, OrFormat: ours && f.NeverMounted && !r.HasSource && !r.ReadOnly}, nil
}

// matches reports whether the intent is of this very volume, device, file system, boot and stay of the disk. Where the
// kernel tells no stays, nothing proves that the disk was not elsewhere.
func matches(i *state.Intent, r Request, d device.Device, bootID string) bool {
	if i == nil || bootID == "" || d.Seq == 0 {
		return false
	}
	t, err := filesystem.Of(r.FSType)
	return err == nil && strings.EqualFold(i.VolumeID, r.VolumeID) && i.Serial == d.Serial && i.FSType == t.Name() && i.Layer == r.Encryption &&
		i.BootID == bootID && i.DiskSeq == d.Seq
}

// refuse says what was found and how to look at it and wipe it.
func refuse(d device.Device, why string) error {
	return volume.Errorf(volume.InUse, "device %s (serial %s): %s. To inspect it: `wipefs %s; hexdump -C %s | head`; "+
		"if nothing on it is needed: `wipefs --all %s && blkdiscard --zeroout %s`",
		d.Path, d.Serial, why, d.Path, d.Path, d.Path, d.Path)
}
