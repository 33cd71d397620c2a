package state

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
)

func TestMain(m *testing.M) { testns.Main(m) }

// TestRecordsAreOnTheDisk: a record is on the disk when it is written, not only in the machine's memory.
func TestRecordsAreOnTheDisk(t *testing.T) {
	m := testmachine.New(t)
	m.Plug("disk", "ewr-ae6c4452b93b4f", 64<<20)
	d := m.Device("ewr-ae6c4452b93b4f")
	if out, err := exec.Command("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", d.Path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	if err := unix.Mount(d.Path, dir, "ext4", 0, "commit=300"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	unix.Sync()
	written := func() string {
		t.Helper()
		raw, err := os.ReadFile(filepath.Join("/sys/dev/block", d.Number.String(), "stat"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(raw))[6]
	}
	before := written()
	if err := s.ClearIntent(id); err != nil || written() != before {
		t.Fatalf("clearing nothing wrote, so this test shows nothing: %v", err)
	}
	for name, write := range map[string]func() error{
		"intent": func() error { return s.WriteIntent(Intent{VolumeID: id}) },
		"staged": func() error { return s.WriteStaged(Staged{VolumeID: id}) },
	} {
		before := written()
		if err := write(); err != nil {
			t.Fatal(err)
		}
		if written() == before {
			t.Errorf("the record of what is %s is not on the disk", name)
		}
	}
}

// TestFailedWriteLeavesNothing: neither a part of a record nor a temporary file.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, id+".intent.json", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteIntent(Intent{VolumeID: id}); err == nil {
		t.Error("a record replaced a directory")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}
