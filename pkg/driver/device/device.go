// Package device finds the block device that a volume is on the machine it runs on, and proves that it is the one.
//
// A device is found by the serial that the platform gave it, read from sysfs. Names and links are never trusted:
// /dev/disk/by-id is made by udev, which may be late, missing or wrong, and a name like vdb goes to another disk
// as soon as the first one is gone.
package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
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

// ErrNotFound says that no device has the serial, for now.
var ErrNotFound = errors.New("no device has this serial")

// Finder finds devices in two directories: device nodes, and what sysfs says about them.
type Finder struct {
	// DeviceDir is /dev on an ordinary machine.
	DeviceDir string
	// SysfsDir is /sys/class/block on an ordinary machine.
	SysfsDir string
}

// maxSerial is what a virtio disk can carry; the kernel cuts off the rest.
const maxSerial = 20

// Find gives the device with the serial. It fails closed: two devices with the serial, a serial that cannot be
// read, or a node that stands for another device than sysfs says are errors that name what was found.
func (f Finder) Find(serial string) (Device, error) {
	if serial == "" || len(serial) > maxSerial || strings.ContainsAny(serial, "/ \t\n") {
		return Device{}, fmt.Errorf("%q is not the serial of a volume", serial)
	}
	names, err := f.named(serial)
	if err != nil {
		return Device{}, err
	}
	switch len(names) {
	case 0:
		return Device{}, fmt.Errorf("%w: %s (looked in %s)", ErrNotFound, serial, f.SysfsDir)
	case 1:
		return f.prove(names[0], serial)
	}
	return Device{}, fmt.Errorf("serial %s is ambiguous: devices %s have it; none of them is used", serial, strings.Join(names, ", "))
}

// named lists the devices with the serial. A device without a serial is not one of the platform's disks; one
// whose serial cannot be read might be the one looked for, or a second one with its serial.
func (f Finder) named(serial string) ([]string, error) {
	entries, err := os.ReadDir(f.SysfsDir)
	if err != nil {
		return nil, fmt.Errorf("listing block devices: %w", err)
	}
	var names []string
	for _, e := range entries {
		found, err := f.serialOf(e.Name())
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
			// No serial, or the device went away while we looked.
		case err != nil:
			return nil, fmt.Errorf("reading the serial of device %s, which could be the one looked for: %w", e.Name(), err)
		case found == serial:
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// serialOf reads a device's serial. The kernel shows it in the disk itself or, for some drivers, below device/.
func (f Finder) serialOf(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(f.SysfsDir, name, "serial"))
	if errors.Is(err, os.ErrNotExist) {
		raw, err = os.ReadFile(filepath.Join(f.SysfsDir, name, "device", "serial"))
	}
	if errors.Is(err, unix.ENOTDIR) {
		err = os.ErrNotExist
	}
	return strings.TrimRight(string(raw), " \t\r\n\x00"), err
}

// prove opens the node of a device and compares it with what sysfs says.
func (f Finder) prove(name, serial string) (Device, error) {
	number, err := f.numberOf(name)
	if err != nil {
		return Device{}, fmt.Errorf("device %s: %w", name, err)
	}
	d := Device{Path: filepath.Join(f.DeviceDir, strings.ReplaceAll(name, "!", "/")), Number: number, Serial: serial}
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return Device{}, err
	}
	defer file.Close() //nolint:errcheck // only read from
	if d.Size, err = SizeOf(file); err != nil {
		return Device{}, err
	}
	if d.Seq, err = seqOf(file); err != nil {
		return Device{}, err
	}
	// The name may have gone to another disk between the first reading and the opening.
	again, err := f.serialOf(name)
	if err != nil {
		return Device{}, fmt.Errorf("device %s had serial %s, and a moment later it could not be read: %w", name, serial, err)
	}
	if again != serial {
		return Device{}, fmt.Errorf("device %s had serial %s and now has %q: it was replaced meanwhile", name, serial, again)
	}
	return d, nil
}

func (f Finder) numberOf(name string) (Number, error) {
	raw, err := os.ReadFile(filepath.Join(f.SysfsDir, name, "dev"))
	if err != nil {
		return Number{}, fmt.Errorf("reading its number: %w", err)
	}
	return ParseNumber(string(raw))
}

// ByNumber gives the device with the number, as sysfs and the device directory show it.
func (f Finder) ByNumber(n Number) (Device, error) {
	entries, err := os.ReadDir(f.SysfsDir)
	if err != nil {
		return Device{}, fmt.Errorf("listing block devices: %w", err)
	}
	for _, e := range entries {
		if number, err := f.numberOf(e.Name()); err != nil || number != n {
			continue
		}
		serial, err := f.serialOf(e.Name())
		if err != nil {
			return Device{}, fmt.Errorf("device %s (%s) has no serial that can be read: %w", e.Name(), n, err)
		}
		if serial == "" {
			return Device{}, fmt.Errorf("the serial of device %s (%s) is empty", e.Name(), n)
		}
		return f.prove(e.Name(), serial)
	}
	return Device{}, fmt.Errorf("%w: device number %s (looked in %s)", ErrNotFound, n, f.SysfsDir)
}

// ByLink looks whether udev's link for the serial exists, for messages only.
func (f Finder) ByLink(serial string) string {
	link := filepath.Join(f.DeviceDir, "disk", "by-id", "virtio-"+serial)
	target, err := filepath.EvalSymlinks(link)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s points to %s", link, target)
}

// Wait finds the device with the serial, waiting for a disk that was just plugged in. It gives up after patience
// or when the context ends; only the absence of the device is waited for, never a doubt about its identity.
func (f Finder) Wait(ctx context.Context, serial string, patience time.Duration) (Device, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := 20 * time.Millisecond
	for {
		d, err := f.Find(serial)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return d, err
		}
		klog.FromContext(ctx).V(4).Info("Waiting for the device", "serial", serial)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if hint := f.ByLink(serial); hint != "" {
				return Device{}, fmt.Errorf("%w; %s, but links are not proof", err, hint)
			}
			return Device{}, err
		}
		pause = min(2*pause, time.Second)
	}
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

// Serials lists the serials of all devices that have one, for messages.
func (f Finder) Serials() []string {
	entries, err := os.ReadDir(f.SysfsDir)
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if s, err := f.serialOf(e.Name()); err == nil && s != "" {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}
