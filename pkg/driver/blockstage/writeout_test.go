package blockstage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// TestLostWritesAreCounted: what a pod wrote is written out before the file system is unmounted. A disk that refuses it keeps
// the volume from nobody, and is counted; a file system that nobody could write to is not asked.
func TestLostWritesAreCounted(t *testing.T) {
	g := newStage(t, "ext4")
	asked := 0
	refuse := false
	g.sync = func(path string) error {
		asked++
		if path != g.path {
			t.Errorf("asked was %s", path)
		}
		if refuse {
			return unix.EIO
		}
		return mount.Sync(path)
	}
	for range 2 {
		g.must(g.Stage(t.Context(), g.volume, g.path))
		g.must(os.WriteFile(filepath.Join(g.path, "file"), []byte("data"), 0o600))
		g.must(g.Unstage(t.Context(), id, g.path))
		refuse = true
	}
	if asked != 2 || testutil.ToFloat64(g.lostWrites) != 1 {
		t.Errorf("asked %d times, counted are %v lost writes", asked, testutil.ToFloat64(g.lostWrites))
	}
	g.volume.Use.ReadOnly = true
	g.must(g.Stage(t.Context(), g.volume, g.path))
	g.must(g.Unstage(t.Context(), id, g.path))
	if asked != 2 {
		t.Error("a file system that is only read was written out")
	}
}
