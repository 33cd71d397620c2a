package blockstage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

func TestMain(m *testing.M) { testns.Main(m) }

// TestDiskReplacedBeforeItsFormat has a blank disk judged, taken away, and one with data get its name and number
// before mkfs begins, as can happen while others are being formatted.
func TestDiskReplacedBeforeItsFormat(t *testing.T) {
	const blank, full = "ewr-ae6c4452b93b4f", "ewr-be6c4452b93b4f"
	m := testmachine.New(t)
	records, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Finder: m.Finder, State: records, BootID: "boot", Work: &longwork.Runner{}})
	m.Plug("blank", blank, 64<<20)
	judged := m.Device(blank)
	m.Unplug("blank")
	m.Plug("full", full, 64<<20)
	d := m.Device(full)
	run(t, "mkfs.ext4", "-q", "-L", "precious", d.Path)
	// What it was named and numbered by is now the other disk.
	judged.Path, judged.Number = d.Path, d.Number

	ext4, err := filesystem.Of("ext4")
	if err != nil {
		t.Fatal(err)
	}
	v := staging.Volume{ID: "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8", Use: staging.Use{FSType: "ext4"}}
	plan := blockfs.Plan{Action: blockfs.Format, Type: ext4}
	err = s.formatAndMount(t.Context(), inside{Device: judged}, v, plan, filepath.Join(t.TempDir(), "staging"))
	if volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	if label := run(t, "e2label", d.Path); label != "precious\n" {
		t.Errorf("the other disk was formatted, its label is %q", label)
	}
}

// TestDiskFilledWhileItsFormatWaited: a disk that was judged blank, and whose format had to wait, is looked at again: a kernel
// that numbers no stays does not tell that it was elsewhere meanwhile.
func TestDiskFilledWhileItsFormatWaited(t *testing.T) {
	const first, second = "ewr-ae6c4452b93b4f", "ewr-be6c4452b93b4f"
	m := testmachine.New(t)
	records, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Finder: m.Finder, State: records, BootID: "boot", Work: &longwork.Runner{}})
	ext4, err := filesystem.Of("ext4")
	if err != nil {
		t.Fatal(err)
	}
	plan := blockfs.Plan{Action: blockfs.Format, Type: ext4}
	m.Plug("first", first, 64<<20)
	m.Plug("second", second, 64<<20)
	formatted, written := m.Device(first), m.Device(second)
	for _, d := range []device.Device{formatted, written} {
		if err := s.judgeAgain(t.Context(), inside{Device: d}, plan, true); err != nil {
			t.Errorf("a blank disk: %v", err)
		}
	}
	run(t, "mkfs.ext4", "-q", "-L", "precious", formatted.Path)
	file, err := os.OpenFile(written.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt([]byte("precious"), 3<<20)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
	for d, found := range map[device.Device]string{formatted: "ext4", written: "byte 3145728"} {
		err := s.judgeAgain(t.Context(), inside{Device: d}, plan, true)
		if volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), found) {
			t.Errorf("%s: got %v", found, err)
		}
	}
	plan.Overwrite = true // what is there is our own, which the record and the stay of the disk prove
	if err := s.judgeAgain(t.Context(), inside{Device: formatted}, plan, true); err != nil {
		t.Errorf("our own: %v", err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}
