package filesystem

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testloop"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// command runs a program that must succeed, and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestBtrfsThatGaveUp: a disk that fails writes makes the kernel give the file system up. Every look shows that, and the
// errors of the device are counted.
func TestBtrfsThatGaveUp(t *testing.T) {
	testns.NeedDisks(t)
	backing, path := t.TempDir(), t.TempDir()
	if err := unix.Mount("backing", backing, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(backing, unix.MNT_DETACH) })
	image := filepath.Join(backing, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 300<<20)); err != nil {
		t.Fatal(err)
	}
	loop := testloop.Device(t, image)
	command(t, "mkfs.btrfs", "-q", loop)
	if err := mount.FileSystem(t.Context(), loop, path, "btrfs", []string{"nodatacow"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, 0) })
	number, _, err := device.At(loop)
	if err != nil {
		t.Fatal(err)
	}
	d := device.Device{Path: loop, Number: number}
	entry := func() mount.Entry {
		table, err := mount.Read()
		if err != nil {
			t.Fatal(err)
		}
		e, _ := table.At(path)
		return e
	}
	if err := Health(btrfs{}, d, entry(), true); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	// The tmpfs is full now, so that the disk has no room for what is written to it.
	_ = os.WriteFile(filepath.Join(backing, "rest"), make([]byte, 16<<20), 0o600)
	for i := range 16 {
		_ = os.WriteFile(filepath.Join(path, strings.Repeat("x", i+1)), make([]byte, 1<<20), 0o600)
	}
	fd, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = fd.Sync() // the look that follows is what is tested
	_ = fd.Close()
	for name, look := range map[string]func(Type, device.Device, mount.Entry, bool) error{"Health": Health, "Glance": Glance} {
		if err := look(btrfs{}, d, entry(), true); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBtrfsWithABadBlock: what fails its checksum is an error for who reads it and counted, and the file system goes on.
func TestBtrfsWithABadBlock(t *testing.T) {
	testns.NeedDisks(t)
	image, path := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 300<<20)); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.btrfs", "-q", image)
	loop := testloop.Device(t, image)
	number, _, err := device.At(loop)
	if err != nil {
		t.Fatal(err)
	}
	d := device.Device{Path: loop, Number: number}
	mounted := func() mount.Entry {
		if err := mount.FileSystem(t.Context(), loop, path, "btrfs", nil); err != nil {
			t.Fatal(err)
		}
		table, err := mount.Read()
		if err != nil {
			t.Fatal(err)
		}
		e, _ := table.At(path)
		return e
	}
	unmount := func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	mounted()
	content := strings.Repeat("a pattern that is nowhere else ", 1<<12)
	if err := os.WriteFile(filepath.Join(path, "file"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (btrfs{}).Counted(d); got != "" {
		t.Errorf("counted is %q", got)
	}
	unmount()
	disk, err := os.OpenFile(loop, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A block begins with the file's beginning.
	block, at := make([]byte, 4096), int64(0)
	for ; string(block) != content[:len(block)]; at += int64(len(block)) {
		if _, err := disk.ReadAt(block, at); err != nil {
			t.Fatal(err)
		}
	}
	_, err = disk.WriteAt([]byte("b"), at-int64(len(block)))
	if err := errors.Join(err, disk.Sync(), disk.Close()); err != nil {
		t.Fatal(err)
	}
	e := mounted()
	t.Cleanup(unmount)
	if _, err := os.ReadFile(filepath.Join(path, "file")); err == nil {
		t.Error("the bad block was read")
	}
	if got := (btrfs{}).Counted(d); !strings.Contains(got, "corruption_errs") {
		t.Errorf("counted is %q", got)
	}
	if err := Health(btrfs{}, d, e, true); err != nil {
		t.Errorf("it works, but for one block: %v", err)
	}
}

// TestCountsIn: counters that are zero say nothing.
func TestCountsIn(t *testing.T) {
	for stats, want := range map[string]string{
		"": "", "write_errs 0\nread_errs 0\n": "", "write_errs 3\nread_errs 0\ncorruption_errs 12\n": "write_errs 3, corruption_errs 12",
	} {
		if got := countsIn(stats); got != want {
			t.Errorf("%q: %q", stats, got)
		}
	}
}

// TestKernelHas: the kernel of this machine has what is tested here, and says so of what it lacks.
func TestKernelHas(t *testing.T) {
	testns.Need(t)
	for _, fsType := range All {
		if err := KernelHas(fsType.Name()); err != nil {
			t.Error(err)
		}
	}
	if err := KernelHas("nosuchfs"); !errors.Is(err, ErrUnknown) {
		t.Errorf("nosuchfs: %v", err)
	}
	const list = "nodev\tsysfs\n\text4\n\txfs\nnodev\tbtrfs\n"
	if !lists(list, "xfs") || lists(list, "btrfs") || lists(list, "xf") {
		t.Error("the list is misread")
	}
}
