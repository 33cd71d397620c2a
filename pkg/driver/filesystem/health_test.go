package filesystem

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// TestHealthDoesNotTrustTexts: some kernels show nothing of a shutdown in mountinfo, and what one shows is believed
// although the file system still answers.
func TestHealthDoesNotTrustTexts(t *testing.T) {
	const serial = "ewr-ae6c4452b93b4f"
	m := testmachine.New(t)
	m.Plug("disk", serial, 1<<30)
	d := m.Device(serial)
	for _, fsType := range All {
		path := t.TempDir()
		tool := fsType.Make(d.Path, Wish{Overwrite: true, Kernel: Floor})
		if out, err := exec.Command(tool.Name, tool.Args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := mount.FileSystem(t.Context(), d.Path, path, fsType.Name(), nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(path, 0) })
		e := mount.Entry{Number: d.Number, Path: path, FSType: fsType.Name(), Options: []string{"rw"}, SuperOptions: []string{"rw"}}
		for _, look := range []func(Type, device.Device, mount.Entry, bool) error{Health, Glance} {
			if err := look(fsType, d, e, true); err != nil {
				t.Errorf("a good %s: %v", fsType.Name(), err)
			}
		}
		for _, text := range []string{"shutdown", "emergency_ro"} {
			told := e
			told.SuperOptions = []string{"rw", text}
			if err := Health(fsType, d, told, true); !errors.Is(err, ErrFailed) {
				t.Errorf("%s with %s: %v", fsType.Name(), text, err)
			}
		}
		told := e
		told.SuperOptions = []string{"ro"}
		if err := Health(fsType, d, told, true); !errors.Is(err, ErrFailed) {
			t.Errorf("%s that is shown as read-only: %v", fsType.Name(), err)
		}
		if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		if err := Health(fsType, d, e, true); !errors.Is(err, ErrFailed) {
			t.Errorf("%s that became read-only, and is not shown so: %v", fsType.Name(), err)
		}
		if err := unix.Mount("", path, "", unix.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		const goingDown = 0x8004587d
		flags := uint32(2)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), goingDown, uintptr(unsafe.Pointer(&flags)))
		none := errno == unix.ENOTTY && fsType.Name() == "btrfs" // before Linux 6.19, which only errors of its disk end: TestBtrfsThatGaveUp
		if err := dir.Close(); errno != 0 && !none || err != nil {
			t.Fatal(errno, err)
		}
		if none {
			if err := unix.Unmount(path, 0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, look := range []func(Type, device.Device, mount.Entry, bool) error{Health, Glance} {
			for _, writable := range []bool{true, false} {
				if err := look(fsType, d, e, writable); !errors.Is(err, ErrFailed) {
					t.Errorf("%s that was shut down: %v", fsType.Name(), err)
				}
			}
		}
		if err := unix.Unmount(path, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGlanceFlushesNothing: what a pod has not written out stays so, however often somebody looks.
func TestGlanceFlushesNothing(t *testing.T) {
	const serial = "ewr-ae6c4452b93b4f"
	m := testmachine.New(t)
	m.Plug("disk", serial, 1<<30)
	d := m.Device(serial)
	path := t.TempDir()
	tool := All[0].Make(d.Path, Wish{Overwrite: true, Kernel: Floor})
	if out, err := exec.Command(tool.Name, tool.Args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := mount.FileSystem(t.Context(), d.Path, path, All[0].Name(), []string{"commit=300", "noinit_itable"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, 0) })
	e := mount.Entry{Number: d.Number, Path: path, FSType: All[0].Name(), Options: []string{"rw"}, SuperOptions: []string{"rw"}}
	writes := func(look func(Type, device.Device, mount.Entry, bool) error) bool {
		t.Helper()
		unix.Sync()
		if err := os.WriteFile(path+"/file", []byte(t.Name()), 0o600); err != nil { // changes the root in the running transaction
			t.Fatal(err)
		}
		if err := os.Remove(path + "/file"); err != nil {
			t.Fatal(err)
		}
		before := written(d.Number)
		if err := look(All[0], d, e, true); err != nil {
			t.Fatal(err)
		}
		return written(d.Number) != before
	}
	if !writes(Health) {
		t.Error("Health writes nothing, so this test shows nothing")
	}
	if writes(Glance) {
		t.Error("Glance wrote to the disk")
	}
}

// TestOldErrors: errors count from the second of the mount on.
func TestOldErrors(t *testing.T) {
	for _, c := range []struct {
		count, last, mounted int64
		faulty               bool
	}{
		{0, 0, 1000, false},
		{0, 1000, 1000, false},
		{3, 999, 1000, false},
		{3, 1000, 1000, true},
		{3, 1001, 1000, true},
		{3, 0, 0, true}, // nothing is known of its times
	} {
		if got := extFaults(c.count, c.last, c.mounted); (got != "") != c.faulty {
			t.Errorf("%+v is %q", c, got)
		}
	}
}
