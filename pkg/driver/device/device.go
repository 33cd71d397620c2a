// Package device finds the block device that a volume is on the machine it runs on, and proves that it is the one.
//
// A device is found by the serial that the platform gave it, read from sysfs. Names and links are never trusted:
// /dev/disk/by-id is made by udev, which may be late, missing or wrong, and a name like vdb goes to another disk
// as soon as the first one is gone.
package device

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Number identifies a block device in the kernel.
type Number struct{ Major, Minor uint32 }

// String is the form that sysfs and mountinfo use.
func (n Number) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// ParseNumber reads the form of String.
func ParseNumber(text string) (Number, error) {
	major, minor, ok := strings.Cut(strings.TrimSpace(text), ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if !ok || errA != nil || errB != nil {
		return Number{}, fmt.Errorf("%q is not a device number", text)
	}
	return Number{uint32(a), uint32(b)}, nil
}

// NumberOf is the device that a device node stands for.
func NumberOf(rdev uint64) Number { return Number{unix.Major(rdev), unix.Minor(rdev)} }

// Device is a device whose identity was proven when it was found.
type Device struct {
	// Path is the device node.
	Path   string
	Number Number
	Serial string
	// Size is in bytes, as the kernel sees it.
	Size int64
	// Seq is the kernel's number of the disk's stay: every time a disk is plugged in it gets one that no disk had since
	// the machine was started. It is 0 where the kernel does not tell, before Linux 5.15.
	Seq uint64
}

// Open opens the node of a proven device with os.OpenFile's flags and compares once more that it stands for the
// very device: between finding and opening, its node may have been replaced.
func Open(d Device, flags int) (*os.File, error) {
	file, err := os.OpenFile(d.Path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening device %s: %w", d.Path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("looking at device %s: %w", d.Path, err), file.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil, errors.Join(fmt.Errorf("%s is not a block device", d.Path), file.Close())
	}
	if n := NumberOf(st.Rdev); n != d.Number {
		return nil, errors.Join(fmt.Errorf("%s stands for device %s, but serial %s belongs to %s: refused", d.Path, n, d.Serial, d.Number), file.Close())
	}
	return file, nil
}

// SizeOf measures an open block device.
func SizeOf(file *os.File) (int64, error) {
	size, err := ioctlUint64(file, unix.BLKGETSIZE64)
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", file.Name(), err)
	}
	return int64(size), nil //nolint:gosec // no device has 2^63 bytes
}

// Measure gives the size that the kernel sees now.
func Measure(d Device) (int64, error) {
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // only read from
	return SizeOf(file)
}
