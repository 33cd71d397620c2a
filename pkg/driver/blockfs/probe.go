package blockfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

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
	file, err := device.Open(d, os.O_RDONLY|unix.O_EXCL)
	if err != nil {
		return Findings{}, fmt.Errorf("claiming the device: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read from

	first, err := signature(ctx, file)
	if err != nil {
		return Findings{}, err
	}
	f := Findings{Signature: first, Blank: first == ""}
	if first == "" {
		if f.NonZeroAt, err = firstNonZero(ctx, file, d.Size); err != nil {
			return Findings{}, err
		}
		f.Blank = f.NonZeroAt < 0
	}
	second, err := signature(ctx, file)
	if err != nil {
		return Findings{}, err
	}
	if first != second {
		return Findings{}, fmt.Errorf("two looks at device %s found %q and %q: somebody writes to it", d.Path, first, second)
	}
	if t, err := filesystem.Of(first); first != "" && err == nil {
		f.NeverMounted, err = t.NeverMounted(file)
		return f, err
	}
	return f, nil
}

// signature asks blkid what the open device holds. It answers 2 for a device without signature and also for one
// that it could not read; the reads of firstNonZero tell these apart.
func signature(ctx context.Context, file *os.File) (string, error) {
	cmd := exec.CommandContext(ctx, "blkid", "-p", "-o", "export", "/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
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

// firstNonZero reads the head, the samples and the tail. It gives the position of the first byte that is not zero,
// -1 when all are.
func firstNonZero(ctx context.Context, r io.ReaderAt, size int64) (int64, error) {
	if size <= 0 {
		return 0, fmt.Errorf("the device has %d bytes", size)
	}
	buffer, zero := make([]byte, 1<<20), make([]byte, 1<<20)
	for _, span := range spans(size) {
		for at := span.from; at < span.to; {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			chunk := buffer[:min(int64(len(buffer)), span.to-at)]
			if n, err := r.ReadAt(chunk, at); n < len(chunk) {
				return 0, fmt.Errorf("reading %d bytes at %d: %w", len(chunk), at, err)
			}
			if !bytes.Equal(chunk, zero[:len(chunk)]) {
				return at + int64(bytes.IndexFunc(chunk, func(r rune) bool { return r != 0 })), nil
			}
			at += int64(len(chunk))
		}
	}
	return -1, nil
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
