//go:build faultpoints

package blockfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// makeHalf leaves the device as an mkfs leaves it that is killed half-way, always at the same point: the file
// system is made in a sparse file of the same size, and everything of it but the first superblock, which comes
// last, is copied to the device.
func makeHalf(ctx context.Context, d device.Device, t filesystem.Type, w filesystem.Wish) error {
	scratch, err := os.CreateTemp(step.Dir(), "half-*")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(scratch.Close(), os.Remove(scratch.Name())) }() // scratch only
	if err := scratch.Truncate(d.Size); err != nil {
		return err
	}
	w.Overwrite = true
	tool := t.Make(scratch.Name(), w)
	if out, err := exec.CommandContext(ctx, tool.Name, tool.Args...).CombinedOutput(); err != nil { //nolint:gosec // a constant, and a scratch file
		return fmt.Errorf("%s: %w: %s", tool.Name, err, out)
	}
	file, err := device.Open(d, os.O_RDWR|unix.O_EXCL)
	if err != nil {
		return err
	}
	err = copyData(file, scratch, 128<<10) // the superblock of a btrfs is behind 64 KiB
	return errors.Join(err, file.Sync(), file.Close())
}

// copyData copies the ranges of src that are not holes, from the offset on.
func copyData(dst io.WriterAt, src *os.File, from int64) error {
	for at := from; ; {
		begin, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for data: %w", err)
		}
		end, err := unix.Seek(int(src.Fd()), begin, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("looking for the end of data: %w", err)
		}
		if _, err := io.Copy(io.NewOffsetWriter(dst, begin), io.NewSectionReader(src, begin, end-begin)); err != nil {
			return err
		}
		at = end
	}
}
