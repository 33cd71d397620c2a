// Package loop finds and clears loop devices. They belong to the whole machine
// whatever namespace made them, so they are known by what backs them: a file
// under some directory, or another loop device.
package loop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Device is one loop device in use.
type Device struct {
	Path    string // /dev/loopN
	Number  uint64 // its device number
	Backing string // the file behind it, as the kernel names it now
	// File is the file behind it, whatever its name is.
	File File
	// On is the number of the device behind it if that is a device, else 0:
	// the kubelet puts a second loop device on a raw block volume.
	On uint64
}

// File tells a file from all others of the machine while it exists.
type File struct{ Device, Inode uint64 }

// List returns all loop devices in use.
func List() ([]Device, error) {
	names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var devices []Device
	for _, name := range names {
		backing, err := os.ReadFile(name)
		if err != nil {
			continue // cleared in this moment
		}
		path := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(name)))
		info, number, err := status(path)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		devices = append(devices, Device{
			Path: path, Number: number, Backing: strings.TrimSpace(string(backing)),
			File: File{Device: info.Device, Inode: info.Inode}, On: info.Rdevice,
		})
	}
	return devices, nil
}

// status asks the kernel what is behind a loop device.
func status(path string) (*unix.LoopInfo64, uint64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = unix.Close(fd) }() // only read
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, 0, err
	}
	info, err := unix.IoctlLoopGetStatus64(fd)
	return info, stat.Rdev, err
}

// Files returns the regular files under a directory. Backing files have to be known
// by these: the kernel names a file that was opened in a mount namespace by its
// path from that namespace's root once the namespace is gone.
func Files(dir string) (map[File]bool, error) {
	files := map[File]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // what it belonged to is going away
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil
			}
			return fmt.Errorf("%s: %w", path, err)
		}
		files[File{Device: stat.Dev, Inode: stat.Ino}] = true
		return nil
	})
	return files, err
}

// Backed picks the devices whose backing file is one of the files, and those
// which stand on one of these.
func Backed(files map[File]bool, all []Device) []Device {
	return closure(all, func(d Device) bool { return d.On == 0 && files[d.File] })
}

// On picks the devices which stand on one of the numbers, directly or not; the
// devices with these numbers themselves are not among them.
func On(numbers []uint64, all []Device) []Device {
	return closure(all, func(d Device) bool { return slices.Contains(numbers, d.On) })
}

func closure(all []Device, first func(Device) bool) []Device {
	var picked []Device
	var numbers []uint64
	for grown := true; grown; {
		grown = false
		for _, d := range all {
			if slices.Contains(picked, d) || !first(d) && (d.On == 0 || !slices.Contains(numbers, d.On)) {
				continue
			}
			picked, numbers, grown = append(picked, d), append(numbers, d.Number), true
		}
	}
	return picked
}

// Clear frees the devices that pick chooses and waits until they are free: a
// device that is still held (by a mount that is going away) frees itself later.
func Clear(ctx context.Context, pick func([]Device) []Device) error {
	for {
		all, err := List()
		if err != nil {
			return err
		}
		left := pick(all)
		if len(left) == 0 {
			return nil
		}
		// The last found stand on the first: take them off first.
		for _, d := range slices.Backward(left) {
			if err := clearDevice(d.Path); err != nil {
				return fmt.Errorf("clear %s (on %s): %w", d.Path, d.Backing, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("loop device %s (on %s) stays in use: %w", left[0].Path, left[0].Backing, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func clearDevice(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}
