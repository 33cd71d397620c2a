package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

var (
	// ErrNotFound says that no device has the serial or number, for now.
	ErrNotFound = errors.New("no such device")
	// ErrUndecided says that no device that can be read has the serial, but that there are devices whose serial cannot
	// be read, each of which could be the one, or that the one with the serial cannot be opened yet. It proves no absence.
	ErrUndecided = errors.New("no device that can be read has this serial")
)

// Finder finds devices in two directories: device nodes, and what sysfs says about them.
//
// A serial is read from the disk itself, so a disk that is sick can fail to tell it, or never answer. Such a disk is
// waited for no longer than a second, once for the process and not again until it answers, and it does not keep
// others from being found.
type Finder struct {
	// DeviceDir is /dev on an ordinary machine.
	DeviceDir string
	// SysfsDir is /sys/class/block on an ordinary machine.
	SysfsDir string
}

// maxSerial is what a virtio disk can carry; the kernel cuts off the rest.
const maxSerial = 20

// Find returns the device with the serial. It fails closed: two devices with the serial, or a node that stands for
// another device than sysfs says, are errors that name what was found. Devices whose serial cannot be read matter
// only when no other one has it: then the error is ErrUndecided and names them.
func (f Finder) Find(serial string) (Device, error) {
	if serial == "" || len(serial) > maxSerial || strings.ContainsAny(serial, "/ \t\n") {
		return Device{}, fmt.Errorf("%q is not the serial of a volume", serial)
	}
	names, err := f.names()
	if err != nil {
		return Device{}, err
	}
	var found, sick []string
	for _, a := range f.serials(names) {
		switch {
		case a.sick():
			sick = append(sick, a.String())
		case a.err == nil && a.serial == serial:
			found = append(found, a.name)
		}
	}
	switch {
	case len(found) == 1:
		return f.prove(found[0], serial)
	case len(found) > 1:
		return Device{}, fmt.Errorf("serial %s is ambiguous: devices %s have it; none of them is used", serial, strings.Join(found, ", "))
	case len(sick) > 0:
		return Device{}, fmt.Errorf("%w: %s (looked in %s); one of these could be it: %s", ErrUndecided, serial, f.SysfsDir, strings.Join(sick, "; "))
	}
	return Device{}, fmt.Errorf("%w: none has serial %s (looked in %s)", ErrNotFound, serial, f.SysfsDir)
}

// names lists the block devices.
func (f Finder) names() ([]string, error) {
	entries, err := os.ReadDir(f.SysfsDir)
	if err != nil {
		return nil, fmt.Errorf("listing block devices: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// prove opens the node of a device and compares it with what sysfs says.
func (f Finder) prove(name, serial string) (Device, error) {
	number, err := f.numberOf(name)
	if err != nil {
		return Device{}, unready(name, serial, err)
	}
	d := Device{Path: f.node(name), Number: number, Serial: serial}
	file, err := Open(d, os.O_RDONLY)
	if err != nil {
		return Device{}, unready(name, serial, err)
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

// unready is the error of a device that has the serial and cannot be used. The kernel shows a disk that is plugged in,
// with its serial, before it makes its node and before it lets anybody open it; and one that is unplugged still after
// that has ended. Such a disk is waited for.
func unready(name, serial string, err error) error {
	if absent(err) {
		return fmt.Errorf("%w: device %s has %s and is just arriving or leaving: %w", ErrUndecided, name, serial, err)
	}
	return fmt.Errorf("device %s: %w", name, err)
}

// node is the device node of a device. sysfs has an exclamation mark where the name has a slash.
func (f Finder) node(name string) string {
	return filepath.Join(f.DeviceDir, strings.ReplaceAll(name, "!", "/"))
}

func (f Finder) numberOf(name string) (Number, error) {
	raw, err := os.ReadFile(filepath.Join(f.SysfsDir, name, "dev"))
	if err != nil {
		return Number{}, fmt.Errorf("reading its number: %w", err)
	}
	return ParseNumber(string(raw))
}

// nameOf returns the name of the device with the number. Its absence is proven only when every device has told its
// number, which the kernel knows without asking the disk.
func (f Finder) nameOf(n Number) (string, error) {
	names, err := f.names()
	if err != nil {
		return "", err
	}
	var doubt error
	for _, name := range names {
		number, err := f.numberOf(name)
		switch {
		case err == nil && number == n:
			return name, nil
		case err != nil && !absent(err):
			doubt = errors.Join(doubt, fmt.Errorf("device %s: %w", name, err))
		}
	}
	if doubt != nil {
		return "", fmt.Errorf("looking for device number %s: %w", n, doubt)
	}
	return "", fmt.Errorf("%w: none has device number %s (looked in %s)", ErrNotFound, n, f.SysfsDir)
}

// ByNumber returns the device with the number, as sysfs and the device directory show it. It asks no other disk.
func (f Finder) ByNumber(n Number) (Device, error) {
	name, err := f.nameOf(n)
	if err != nil {
		return Device{}, err
	}
	serial, err := f.serialOf(name)
	if err != nil {
		return Device{}, fmt.Errorf("the serial of device %s (%s) could not be read: %w", name, n, err)
	}
	if serial == "" {
		return Device{}, fmt.Errorf("the serial of device %s (%s) is empty", name, n)
	}
	return f.prove(name, serial)
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
// with the error of the last look, or when the context ends, with its error. Only absence is waited for, proven
// (ErrNotFound) or not (ErrUndecided: the disk may be plugged in a moment from now, or a sick one recover), never a
// doubt about identity.
func (f Finder) Wait(ctx context.Context, serial string, patience time.Duration) (Device, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := 20 * time.Millisecond
	for {
		d, err := f.Find(serial)
		if err == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUndecided) {
			return d, err
		}
		klog.FromContext(ctx).V(4).Info("Waiting for the device", "serial", serial)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if caller.Err() != nil {
				return Device{}, fmt.Errorf("waiting for the disk was cut off: %w: %w", caller.Err(), err)
			}
			if hint := f.ByLink(serial); hint != "" {
				return Device{}, fmt.Errorf("%w; %s, but links are not proof", err, hint)
			}
			return Device{}, err
		}
		pause = min(2*pause, time.Second)
	}
}

// Serials lists the serials of all devices that tell one, for messages.
func (f Finder) Serials() []string {
	all, _, _ := f.All() //nolint:errcheck // a message says less then
	slices.Sort(all)
	return all
}
