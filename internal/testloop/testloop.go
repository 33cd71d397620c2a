// Package testloop makes loop devices for tests that need a disk without the simulated platform.
package testloop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Device makes a loop device of a file, or of a device, and takes it away with the test. Arguments are more of losetup(8).
func Device(t testing.TB, file string, arguments ...string) string {
	t.Helper()
	dev, err := Attach(file, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Detach(dev); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// Attach makes a loop device, which Detach takes away, and returns its path. It can be written whoever had its number
// before: a read-only flag stays with the number when a test that was killed leaves one.
func Attach(file string, arguments ...string) (string, error) {
	dev, err := losetup(append(arguments, "--find", "--show", file)...)
	if err != nil {
		return "", err
	}
	if err := makeWritable(dev); err != nil {
		return "", errors.Join(err, Detach(dev))
	}
	return dev, nil
}

// Detach takes a loop device away, and its read-only flag with it: who gets the number next may be no test.
func Detach(dev string) error {
	flag := makeWritable(dev)
	_, err := losetup("--detach", dev)
	return errors.Join(flag, err)
}

func losetup(arguments ...string) (string, error) {
	out, err := exec.Command("losetup", arguments...).CombinedOutput() //nolint:gosec,noctx // it waits for nothing
	if err != nil {
		return "", fmt.Errorf("losetup %s: %w: %s", strings.Join(arguments, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// makeWritable takes back the flag that ioctl BLKROSET sets.
func makeWritable(dev string) (err error) {
	f, err := os.Open(dev) //nolint:gosec // a test's
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 0); err != nil {
		return fmt.Errorf("making %s writable: %w", dev, err)
	}
	return nil
}
