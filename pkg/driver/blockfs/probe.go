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

// What is read to call a device blank, besides blkid's two looks. The head holds the first superblock of every
// file system, partition table, LVM, LUKS and database file; the tail holds the backup of GPT, the labels of ZFS and
// old RAID headers; the samples hit the copies that file systems spread over a device, and data. Together 13 MiB:
// below 0.2 s on the slower of the platform's two kinds of disk (100 MB/s, 500 operations per second), once in the
// life of a volume.
const (
	headBytes   = 4 << 20
	tailBytes   = 1 << 20
	sampleBytes = 64 << 10
	samples     = 128
)

// Probe looks at what is on a device. It claims the device for itself meanwhile, so nobody has it mounted. Every
// error counts as "there may be data": the caller gets the error and no findings.
func Probe(ctx context.Context, d device.Device) (Findings, error) {
	file, err := device.Claim(ctx, d)
	if err != nil {
		return Findings{}, fmt.Errorf("claiming the device: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read from

	// Nobody else mounts or formats a device that is claimed, so what does not depend on each other is done at once.
	zero := make(chan zeroes, 1)
	go func() { zero <- readZeroes(ctx, file, d.Size) }()
	sign, err := lookTwice(ctx, file)
	z := <-zero
	if err != nil {
		return Findings{}, err
	}
	f := Findings{Signature: sign}
	if sign == "" && z.err != nil {
		return Findings{}, z.err
	}
	if sign == "" {
		f.Blank, f.NonZeroAt = z.nonZeroAt < 0, z.nonZeroAt
		return f, nil
	}
	if t, err := filesystem.Of(sign); err == nil {
		f.NeverMounted, err = t.NeverMounted(file)
		return f, err
	}
	return f, nil
}

// lookTwice asks blkid twice, and does not judge a device of which it says two different things.
func lookTwice(ctx context.Context, file *os.File) (string, error) {
	first, err := signature(ctx, file)
	if err != nil {
		return "", err
	}
	second, err := signature(ctx, file)
	if err == nil && first != second {
		err = fmt.Errorf("two looks at device %s found %q and %q: somebody writes to it", file.Name(), first, second)
	}
	return first, err
}

// signature asks blkid what the open device holds. It answers 2 for a device without signature and also for one
// that it could not read; the reads of firstNonZero tell these apart.
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

// zeroes is what the reads found: the position of the first byte that is not zero, -1 when all are.
type zeroes struct {
	nonZeroAt int64
	err       error
}

// readersAtOnce is how many reads are under way at a time.
const readersAtOnce = 4

// readZeroes reads past the cache, so that the disk itself answers: nothing is read ahead, and no cache is filled and
// thrown away again, which takes three times as long on a fast disk.
func readZeroes(ctx context.Context, file *os.File, size int64) zeroes {
	uncached := setDirect(file, true)
	at, err := firstNonZero(ctx, file, size)
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

// firstNonZero reads the head, the samples and the tail. It returns the position of a byte that is not zero, the first
// one as far as was read, or -1 when all are zero. It reads no further when it has found one.
func firstNonZero(ctx context.Context, r io.ReaderAt, size int64) (int64, error) {
	if size <= 0 {
		return 0, fmt.Errorf("the device has %d bytes", size)
	}
	all := chunks(spans(size))
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

// spans lists what to read of a device of the size; a small one is read as a whole.
func spans(size int64) []span {
	if size <= headBytes+tailBytes+samples*sampleBytes {
		return []span{{0, size}}
	}
	all := []span{{0, headBytes}}
	add := func(at int64) {
		at = at / sampleBytes * sampleBytes
		if at >= headBytes && at+sampleBytes <= size-tailBytes {
			all = append(all, span{at, at + sampleBytes})
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
	return append(all, span{size - tailBytes, size})
}
