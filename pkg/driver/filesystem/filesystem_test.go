package filesystem

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
)

func TestMain(m *testing.M) { testns.Main(m) }

// TestNames: what the controller accepts is what the node can make, and the same one is the default.
func TestNames(t *testing.T) {
	if !slices.Equal(Names(), params.FileSystems) {
		t.Errorf("the node knows %v, the controller %v", Names(), params.FileSystems)
	}
	if got, err := Of("zfs"); err == nil {
		t.Errorf("zfs is %v", got)
	}
}

// TestSuperblocks reads what the tools have written.
func TestSuperblocks(t *testing.T) {
	const serial, size = "ewr-ae6c4452b93b4f", 1 << 30
	m := testmachine.New(t)
	m.Plug("disk", serial, size)
	d := m.Device(serial)
	for _, fsType := range All {
		tool := fsType.Make(d.Path, true)
		if out, err := exec.Command(tool.Name, tool.Args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		file, err := os.Open(d.Path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fsType.SizeOnDisk(file)
		if err != nil || (Sizes{Device: size, FileSystem: got}).CanGrow() || got > size {
			t.Errorf("%s has %d bytes, %v", fsType.Name(), got, err)
		}
		// Only an ext4 can prove that it was made and never mounted.
		if never, err := fsType.NeverMounted(file); err != nil || never != (fsType.Name() == "ext4") {
			t.Errorf("%s was never mounted: %t, %v", fsType.Name(), never, err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

// blank reads as zero.
type blank struct{}

func (blank) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// unreadable fails.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, unix.EIO }

func TestSuperblocksThatAreNone(t *testing.T) {
	for _, fsType := range All {
		if size, err := fsType.SizeOnDisk(blank{}); err == nil {
			t.Errorf("a blank device has a %s of %d bytes", fsType.Name(), size)
		}
		if never, err := fsType.NeverMounted(blank{}); err == nil || never {
			t.Errorf("a blank device has a %s that was never mounted: %t, %v", fsType.Name(), never, err)
		}
		if never, err := fsType.NeverMounted(unreadable{}); err == nil || never {
			t.Errorf("a device that cannot be read has a %s that was never mounted: %t, %v", fsType.Name(), never, err)
		}
	}
}
