package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func ioctlUint64(file *os.File, request uintptr) (uint64, error) {
	var value uint64
	//nolint:gosec // the kernel writes eight bytes to the address
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), request, uintptr(unsafe.Pointer(&value))); errno != 0 {
		return 0, errno
	}
	return value, nil
}

// seqOf reads the number of the disk's stay, 0 from a kernel that has none.
func seqOf(file *os.File) (uint64, error) {
	seq, err := ioctlUint64(file, unix.BLKGETDISKSEQ)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the sequence number of %s: %w", file.Name(), err)
	}
	return seq, nil
}

// SetReadOnly makes the kernel refuse, or accept again, every write to the device.
func SetReadOnly(d Device, readOnly bool) error {
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	value := 0
	if readOnly {
		value = 1
	}
	if err := unix.IoctlSetPointerInt(int(file.Fd()), unix.BLKROSET, value); err != nil {
		return fmt.Errorf("setting the read-only flag of %s to %d: %w", d.Path, value, err)
	}
	return nil
}

// ReadOnly reports whether the kernel refuses writes to the device.
func ReadOnly(d Device) (bool, error) {
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer file.Close() //nolint:errcheck // only read from
	value, err := unix.IoctlGetInt(int(file.Fd()), unix.BLKROGET)
	if err != nil {
		return false, fmt.Errorf("reading the read-only flag of %s: %w", d.Path, err)
	}
	return value != 0, nil
}

// sectorBytes is the unit in which the kernel takes how much it reads ahead.
const sectorBytes = 512

// SetReadAhead makes the kernel read so many KiB ahead of who reads the device in order, or a file system on it that goes by
// its device. It is rounded down to whole pages, and counts for what is opened from then on.
func SetReadAhead(d Device, kib int64) error {
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	if err := unix.IoctlSetInt(int(file.Fd()), unix.BLKRASET, int(kib<<10/sectorBytes)); err != nil {
		return fmt.Errorf("setting how much is read ahead of %s to %d KiB: %w", d.Path, kib, err)
	}
	return nil
}

// ReadAhead returns how many KiB the kernel reads ahead.
func ReadAhead(d Device) (kib int64, err error) {
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // only read from
	sectors, err := ioctlUint64(file, unix.BLKRAGET)
	if err != nil {
		return 0, fmt.Errorf("reading how much is read ahead of %s: %w", d.Path, err)
	}
	return int64(sectors) * sectorBytes >> 10, nil //nolint:gosec // it is small
}

// Release waits until nobody on the machine has the device mounted or claimed, then writes out what the kernel
// still holds of it and drops its cache, so that another machine reads what this one wrote. The error names who has it.
func Release(ctx context.Context, d Device, patience time.Duration) error {
	file, err := claimToWrite(ctx, d, patience)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // synced below
	if err := file.Sync(); err != nil {
		return fmt.Errorf("writing out %s: %w", d.Path, err)
	}
	if err := unix.IoctlSetInt(int(file.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("flushing %s: %w", d.Path, err)
	}
	return nil
}

// Claim opens the device for this process alone, to be read: the kernel refuses that while it is mounted anywhere, in
// whatever mount namespace, or claimed by somebody else.
func Claim(ctx context.Context, d Device) (file *os.File, err error) {
	err = UntilFree(ctx, Moment, func() error {
		file, err = Open(d, os.O_RDONLY|unix.O_EXCL)
		return err
	})
	return file, err
}

// claimToWrite is Claim for a device that is written to, unless it cannot be. The error names who has it.
func claimToWrite(ctx context.Context, d Device, patience time.Duration) (file *os.File, err error) {
	err = UntilFree(ctx, patience, func() error {
		file, err = Open(d, os.O_RDWR|unix.O_EXCL)
		if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
			file, err = Open(d, os.O_RDONLY|unix.O_EXCL)
		}
		return err
	})
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("device %s is still in use: %s: %w", d.Path, describe(Users(d)), err)
	}
	return file, err
}
