package blockfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
)

// What is read to call a device blank, besides blkid's look. The edges are where signatures are: the head holds the first
// superblock of every file system, partition table, LVM, LUKS and database file; the tail holds the backup of GPT, the
// labels of ZFS and old RAID headers. A test compares them with what blkid itself reads. The samples hit the copies that
// file systems spread over a device, and data. Together 14 MiB: below 0.2 s on the slower of the platform's two kinds of
// disk (100 MB/s, 500 operations per second), once in the life of a volume.
const (
	headBytes   = 4<<20 + sampleBytes // blkid looks for swap right behind 4 MiB
	tailBytes   = 2 << 20             // and for RAID up to 1.5 MiB before the end
	sampleBytes = 64 << 10
	samples     = 128
)

// Probe looks at what is on a device, twice. It claims the device for itself meanwhile, so nobody has it mounted. Every
// error counts as "there may be data": the caller gets the error and no findings.
//
// The first look is blkid's. If it finds nothing, the second one is by reads of our own, begun when blkid has ended, of
// every place where blkid looks: what is all zero there cannot have got a signature meanwhile, nor one that blkid
// missed. Whatever is not all zero is looked at by blkid again, which must say the same.
func Probe(ctx context.Context, d device.Device) (Findings, error) {
	file, err := device.Claim(ctx, d)
	if err != nil {
		return Findings{}, fmt.Errorf("claiming the device: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read from
	if d.Size <= 0 {
		return Findings{}, fmt.Errorf("the device has %d bytes", d.Size)
	}

	edges, between := spans(d.Size)
	sampled := make(chan zeroes, 1)
	go func() { sampled <- readZeroes(ctx, file, between) }()
	sign, err := signature(ctx, file)
	z := <-sampled
	if err != nil {
		return Findings{}, err
	}
	if sign == "" {
		z = z.and(readZeroes(ctx, file, edges))
		if z.err != nil {
			return Findings{}, z.err
		}
		if z.nonZeroAt < 0 {
			return Findings{Blank: true, NonZeroAt: -1}, nil
		}
	}
	return findingsOf(ctx, file, sign, z)
}

// findingsOf completes the findings on a device that is not blank. A device of which blkid says two different things is
// not judged.
func findingsOf(ctx context.Context, file *os.File, sign string, z zeroes) (Findings, error) {
	again, err := signature(ctx, file)
	if err != nil {
		return Findings{}, err
	}
	if again != sign {
		return Findings{}, fmt.Errorf("two looks at device %s found %q and %q: somebody writes to it", file.Name(), sign, again)
	}
	if sign == "" {
		return Findings{NonZeroAt: z.nonZeroAt}, nil
	}
	f := Findings{Signature: sign}
	if t, err := filesystem.Of(sign); err == nil {
		f.NeverMounted, err = t.NeverMounted(file)
		return f, err
	}
	return f, nil
}

// signature asks blkid what the open device holds. It answers 2 for a device without signature and also for one
// that it could not read; reads of our own tell these apart.
func signature(ctx context.Context, file *os.File) (string, error) {
	cmd := exec.CommandContext(ctx, "blkid", "-p", "-o", "export", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "LC_ALL=C") // a tenth of its time goes into reading locales
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("looking at %s was cut off: %w", file.Name(), ctx.Err())
	case err == nil:
		return parseBlkid(out.String())
	case exited && exit.ExitCode() == 2 && complaints.Len() == 0 && out.Len() == 0:
		return "", nil
	case exited && exit.ExitCode() == 8:
		return "several signatures at once", nil
	}
	return "", fmt.Errorf("blkid on %s: %w: %s", file.Name(), err, strings.TrimSpace(complaints.String()))
}

// parseBlkid reads blkid's export form. Something recognised without a name is still something.
func parseBlkid(out string) (string, error) {
	values := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = value
		}
	}
	switch {
	case values["TYPE"] != "":
		return values["TYPE"], nil
	case values["PTTYPE"] != "":
		return "a partition table (" + values["PTTYPE"] + ")", nil
	case strings.TrimSpace(out) != "":
		return "something that blkid describes as " + strings.Join(strings.Fields(out), " "), nil
	}
	return "", errors.New("blkid reports success without saying what it found")
}

// zeroes is what reads found: the position of the first byte that is not zero, -1 when all are.
type zeroes struct {
	nonZeroAt int64
	err       error
}

// and joins what reads of different places found.
func (z zeroes) and(other zeroes) zeroes {
	at := min(z.nonZeroAt, other.nonZeroAt)
	if at < 0 {
		at = max(z.nonZeroAt, other.nonZeroAt)
	}
	return zeroes{at, errors.Join(z.err, other.err)}
}

// readersAtOnce is how many reads are under way at a time.
const readersAtOnce = 4

// readZeroes reads past the cache, so that the disk itself answers: nothing is read ahead, and no cache is filled and
// thrown away again, which takes three times as long on a fast disk.
func readZeroes(ctx context.Context, file *os.File, places []span) zeroes {
	uncached := setDirect(file, true)
	at, err := firstNonZero(ctx, file, places)
	if uncached == nil {
		err = errors.Join(err, setDirect(file, false)) // others read what is not aligned
	}
	return zeroes{at, err}
}

// setDirect switches O_DIRECT of an open file. Reads must be aligned while it is set. Where the kernel refuses it, reading
// is only slower.
func setDirect(file *os.File, on bool) error {
	flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	flags &^= unix.O_DIRECT
	if on {
		flags |= unix.O_DIRECT
	}
	_, err = unix.FcntlInt(file.Fd(), unix.F_SETFL, flags)
	return err
}

// firstNonZero reads the places. It returns the position of a byte that is not zero, the first one as far as was read, or
// -1 when all are zero. It reads no further when it has found one.
func firstNonZero(ctx context.Context, r io.ReaderAt, places []span) (int64, error) {
	all := chunks(places)
	var next atomic.Int64
	var mu sync.Mutex
	found, failed := int64(-1), error(nil)
	stop := func(at int64, err error) {
		next.Store(int64(len(all)))
		mu.Lock()
		defer mu.Unlock()
		if at >= 0 && (found < 0 || at < found) {
			found = at
		}
		failed = errors.Join(failed, err)
	}
	var readers sync.WaitGroup
	for range readersAtOnce {
		readers.Go(func() {
			buffer := aligned(chunkBytes)
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				if at, err := nonZeroIn(ctx, r, all[i], buffer); at >= 0 || err != nil {
					stop(at, err)
					return
				}
			}
		})
	}
	readers.Wait()
	if failed != nil {
		return 0, failed
	}
	return found, nil
}

// nonZeroIn reads a span as long as the buffer or shorter.
func nonZeroIn(ctx context.Context, r io.ReaderAt, s span, buffer []byte) (int64, error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	chunk := buffer[:s.to-s.from]
	if n, err := r.ReadAt(chunk, s.from); n < len(chunk) {
		return -1, fmt.Errorf("reading %d bytes at %d: %w", len(chunk), s.from, err)
	}
	if bytes.Equal(chunk, allZero[:len(chunk)]) {
		return -1, nil
	}
	return s.from + int64(slices.IndexFunc(chunk, func(b byte) bool { return b != 0 })), nil
}

// chunkBytes is how much is read at once, and alignment what O_DIRECT wants of buffers on any disk.
const (
	chunkBytes = 256 << 10
	alignment  = 4 << 10
)

// aligned returns a buffer for O_DIRECT.
func aligned(size int) []byte {
	raw := make([]byte, size+alignment)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % alignment //nolint:gosec // only the address is looked at
	return raw[skip:][:size:size]
}

var allZero [chunkBytes]byte

// chunks cuts spans into what is read at once.
func chunks(spans []span) []span {
	var all []span
	for _, s := range spans {
		for at := s.from; at < s.to; at += chunkBytes {
			all = append(all, span{at, min(at+chunkBytes, s.to)})
		}
	}
	return all
}

type span struct{ from, to int64 }

// spans lists what to read of a device of the size: the edges, and samples between them. A small one is read as a whole.
func spans(size int64) (edges, between []span) {
	if size <= headBytes+tailBytes+samples*sampleBytes {
		return []span{{0, size}}, nil
	}
	add := func(at int64) {
		at = at / sampleBytes * sampleBytes
		if at >= headBytes && at+sampleBytes <= size-tailBytes {
			between = append(between, span{at, at + sampleBytes})
		}
	}
	// Copies of superblocks: btrfs at 64 MiB and 256 GiB, ext4 at the first odd block groups of 128 MiB, xfs at
	// the quarters of the device.
	for _, at := range []int64{64 << 20, 128 << 20, 384 << 20, 640 << 20, 256 << 30, size / 4, size / 2, size / 4 * 3} {
		add(at)
	}
	step := (size - headBytes - tailBytes) / samples
	for i := range int64(samples) {
		add(headBytes + i*step)
	}
	return []span{{0, headBytes}, {size - tailBytes, size}}, between
}
