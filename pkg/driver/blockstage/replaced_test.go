package blockstage

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
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

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return string(out)
}
