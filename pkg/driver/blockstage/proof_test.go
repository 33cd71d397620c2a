package blockstage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const (
	gib    = 1 << 30
	serial = "ewr-ae6c4452b93b4f"
)

func newStager(t *testing.T) (*Stager, *testmachine.Machine, device.Device) {
	t.Helper()
	m := testmachine.New(t)
	m.Plug("disk", serial, gib)
	records, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Finder: m.Finder, State: records, BootID: "boot", Work: &longwork.Runner{}}), m, m.Device(serial)
}

func kind(t *testing.T, name string) filesystem.Type {
	t.Helper()
	fs, err := filesystem.Of(name)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// TestReplugBeforeATool: a disk that was plugged in again since it was judged has its serial, name and number, and was
// elsewhere meanwhile. No tool touches it.
func TestReplugBeforeATool(t *testing.T) {
	s, _, d := newStager(t)
	if err := s.proveAgain(d); err != nil {
		t.Fatal(err)
	}
	earlier := d
	earlier.Seq--
	ran := filepath.Join(t.TempDir(), "ran")
	tools := []filesystem.Tool{{Name: "touch", Args: []string{ran}}}
	err := s.cfg.Work.Do(t.Context(), "v", StageCall, func(task *longwork.Task) error { return s.runAll(task, earlier, tools) })
	if volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the tool ran")
	}
	if err := s.cfg.Work.Do(t.Context(), "v", StageCall, func(task *longwork.Task) error { return s.runAll(task, d, tools) }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ran); err != nil {
		t.Error("the tool did not run")
	}
}

// TestAnotherDeviceWasMounted: the device node went to another disk between the judgement and the mount.
func TestAnotherDeviceWasMounted(t *testing.T) {
	_, _, d := newStager(t)
	run(t, "mkfs.ext4", "-q", d.Path)
	path := t.TempDir()
	other := d
	other.Number.Minor++
	if err := mountAndProve(t.Context(), other, kind(t, "ext4"), staging.Use{}, path); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	table, err := mount.Read()
	if err != nil {
		t.Fatal(err)
	}
	if e, mounted := table.At(path); mounted {
		t.Errorf("left is %+v", e)
	}
}

// TestAnotherNodeWasBound: the same for a raw device.
func TestAnotherNodeWasBound(t *testing.T) {
	_, _, d := newStager(t)
	target := filepath.Join(t.TempDir(), "target")
	other := d
	other.Number.Minor++
	if err := bindNode(t.Context(), other, staging.Use{}, target); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(target); err == nil {
		t.Error("the target is left")
	}
}

// TestMountOptions: what the file system needs comes once.
func TestMountOptions(t *testing.T) {
	got := mountOptions(kind(t, "xfs"), staging.Use{ReadOnly: true, Options: []string{"ro", "noatime"}})
	if len(got) != 3 || got[0] != "ro" || got[1] != "noatime" || got[2] != "nouuid" {
		t.Errorf("got %v", got)
	}
}
