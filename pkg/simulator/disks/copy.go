package disks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/durable"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// partSuffix is that of a file that is being filled; it becomes the real one by being renamed.
	partSuffix = ".part"
	// chunk is how much is copied at once.
	chunk = int64(1) << 20
	// tick is longer than the steps in which file systems count time (10 ms at the most): two changes that are further
	// apart never have the same time stamp.
	tick = 20 * time.Millisecond
)

// fillFile makes a file by way of another one that fill writes: whoever finds the file finds it whole and on disk. A
// file that exists is left as it is. What a kill left half written is written again.
func (p *Plane) fillFile(ctx context.Context, part, path string, fill func(dst *os.File) error) (err error) {
	dst, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(noSpace(err), dst.Close()) }()
	if err := lockPart(dst); err != nil {
		return err
	}
	p.step("part created")
	err = errors.Join(dst.Truncate(0), ctx.Err())
	if err == nil {
		err = fill(dst)
	}
	if err == nil {
		p.step("part filled")
		err = dst.Sync()
	}
	if err == nil {
		p.step("part on disk")
		err = p.gate.Do(ctx, func() error { return renameNew(part, path) })
	}
	if err != nil {
		return errors.Join(err, removeFile(part))
	}
	p.step("part renamed")
	return durable.SyncDir(filepath.Dir(path))
}

// lockPart keeps other processes from filling the same file. Closing unlocks, so a kill does too.
func lockPart(dst *os.File) error {
	err := unix.Flock(int(dst.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: another process is filling it", dst.Name())
	}
	if err != nil {
		return fmt.Errorf("lock of %s: %w", dst.Name(), err)
	}
	ours, errOurs := dst.Stat()
	named, errNamed := os.Stat(dst.Name())
	if err := errors.Join(errOurs, errNamed); err != nil {
		return err
	}
	if !os.SameFile(ours, named) {
		return fmt.Errorf("%s: another process has just filled it", dst.Name())
	}
	return nil
}

// renameNew gives the file its name, unless there is one of that name.
func renameNew(part, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return removeFile(part)
	}
	return err
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// noSpace marks errors that say that there is no room.
func noSpace(err error) error {
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", simulator.ErrNoSpace, err)
		}
	}
	return err
}

// clone makes dst share src's blocks, at one moment, where the file system can (XFS, Btrfs and others). It tells false
// where it cannot.
func clone(dst, src *os.File) (bool, error) {
	err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	for _, cannot := range []error{unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EINVAL, unix.EXDEV} {
		if errors.Is(err, cannot) {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("sharing the blocks of %s: %w", src.Name(), err)
	}
	return true, nil
}

// duplicate copies a file that nobody writes.
func (p *Plane) duplicate(ctx context.Context, dst, src *os.File) error {
	if done, err := p.share(dst, src); done || err != nil {
		return err
	}
	return mirror(ctx, dst, src)
}

// mirror makes dst equal to src, holes included, and writes only what differs.
func mirror(ctx context.Context, dst, src *os.File) error {
	info, err := src.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if err := dst.Truncate(size); err != nil {
		return err
	}
	buffers := [2][]byte{make([]byte, chunk), make([]byte, chunk)}
	for offset := int64(0); offset < size; {
		start, end, err := nextData(src, offset, size)
		if err != nil {
			return fmt.Errorf("data of %s: %w", src.Name(), err)
		}
		if err := punch(dst, offset, start); err != nil {
			return fmt.Errorf("hole in %s: %w", dst.Name(), err)
		}
		for at := start; at < end; at += chunk {
			n := min(chunk, end-at)
			if err := errors.Join(ctx.Err(), mirrorRange(dst, src, at, buffers[0][:n], buffers[1][:n])); err != nil {
				return err
			}
		}
		offset = end
	}
	return nil
}

// nextData finds the first range of data at or after the offset; it is empty at the end of the file.
func nextData(f *os.File, offset, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	return min(start, size), min(end, size), err
}

func punch(f *os.File, start, end int64) error {
	if start >= end {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, start, end-start)
}

func mirrorRange(dst, src *os.File, at int64, wanted, present []byte) error {
	if err := readFull(src, at, wanted); err != nil {
		return err
	}
	if err := readFull(dst, at, present); err != nil {
		return err
	}
	if bytes.Equal(wanted, present) {
		return nil
	}
	_, err := dst.WriteAt(wanted, at)
	return err
}

// readFull reads a range; what a file that has been made shorter meanwhile lacks is zeros.
func readFull(f *os.File, at int64, into []byte) error {
	n, err := f.ReadAt(into, at)
	if errors.Is(err, io.EOF) {
		clear(into[n:])
		return nil
	}
	return err
}
