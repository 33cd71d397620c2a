package filesystem

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// procFilesystems lists the file systems that the kernel knows at this moment.
const procFilesystems = "/proc/filesystems"

// ErrUnknown says that the kernel has no such file system.
var ErrUnknown = errors.New("the kernel of this node does not have it")

// KernelHas returns ErrUnknown, with words, when the running kernel cannot mount the file system. One that is a module is
// loaded by being asked for, as it is by being mounted.
func KernelHas(fsType string) error {
	fd, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err == nil {
		return unix.Close(fd)
	}
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("file system %s: %w", fsType, ErrUnknown)
	}
	// Where that cannot be asked, what is listed is there. What is not may still be loaded by a mount, which then says so.
	list, readErr := os.ReadFile(procFilesystems)
	if readErr != nil || !lists(string(list), fsType) {
		return fmt.Errorf("asking the kernel of this node for the file system %s: %w", fsType, errors.Join(err, readErr))
	}
	return nil
}

// lists reports whether a list in the form of /proc/filesystems has the file system, of those that are on a device.
func lists(list, fsType string) bool {
	for line := range strings.Lines(list) {
		if line == "\t"+fsType+"\n" {
			return true
		}
	}
	return false
}
