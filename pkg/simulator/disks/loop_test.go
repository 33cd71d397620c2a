package disks

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNewDiskIsWritable: a loop device keeps the read-only flag that somebody set on the disk that it was before. A new disk
// has none.
func TestNewDiskIsWritable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it uses loop devices")
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<20)); err != nil {
		t.Fatal(err)
	}
	backing, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	// The flag is set as somebody does who has the disk, right before it is unplugged.
	before, err := configure(backing, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	f, err := openLoop(before.number, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 1), unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	if err := configureNumber(before.number, backing); errors.Is(err, unix.EBUSY) {
		return // somebody else on this machine was faster, with this very rule
	} else if err != nil {
		t.Fatal(err)
	}
	f, err = openLoop(before.number, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	readOnly, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	err = errors.Join(err, unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0), f.Close())
	if err != nil || readOnly != 0 {
		t.Errorf("read-only is %d, %v", readOnly, err)
	}
}
