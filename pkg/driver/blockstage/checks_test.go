package blockstage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestChecksAreCounted: what e2fsck found on a real file system is in the metric.
func TestChecksAreCounted(t *testing.T) {
	g := newStage(t, "ext4")
	registry := prometheus.NewRegistry()
	g.checks = newChecks(registry)
	counts := func(clean, repaired, faulty float64) {
		t.Helper()
		for outcome, want := range map[string]float64{"clean": clean, "repaired": repaired, "faulty": faulty} {
			if got := testutil.ToFloat64(g.checks.total.WithLabelValues("e2fsck", outcome)); got != want {
				t.Errorf("%s: %v, want %v", outcome, got, want)
			}
		}
	}
	again := func() error {
		g.must(g.Unstage(t.Context(), id, g.path))
		return g.Stage(t.Context(), g.volume, g.path)
	}
	g.must(g.Stage(t.Context(), g.volume, g.path)) // which makes it
	counts(0, 0, 0)
	g.must(again())
	counts(1, 0, 0)

	g.must(g.Unstage(t.Context(), id, g.path))
	run(t, "debugfs", "-w", "-R", "ssv free_inodes_count 5", g.device.Path)
	run(t, "debugfs", "-w", "-R", "ssv state 2", g.device.Path)
	g.must(g.Stage(t.Context(), g.volume, g.path))
	counts(1, 1, 0)

	g.must(g.Unstage(t.Context(), id, g.path))
	disk, err := os.OpenFile(g.device.Path, os.O_RDWR, 0)
	g.must(err)
	for _, at := range []int64{4096, 128 << 20, 384 << 20, 640 << 20, 896 << 20} { // every copy of the group descriptors
		_, err := disk.WriteAt(make([]byte, 8192), at)
		g.must(err)
	}
	g.must(errors.Join(disk.Sync(), disk.Close()))
	if err := g.Stage(t.Context(), g.volume, g.path); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("got %v", err)
	}
	counts(1, 1, 1)
	if n, err := testutil.GatherAndCount(registry, "csi_fsck_total"); err != nil || n != len(outcomes) {
		t.Errorf("%d series are shown, %v", n, err)
	}
}

// TestChecksAreCountedFromZero: each outcome is shown before its first time. The alert VultrFileSystemNotRepaired goes by how
// much the counter has grown.
func TestChecksAreCountedFromZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	newChecks(registry)
	const want = `# HELP csi_fsck_total Checks of file systems that ended, by tool and outcome: clean, repaired, faulty, ended with the process, or unknown.
# TYPE csi_fsck_total counter
csi_fsck_total{outcome="clean",tool="e2fsck"} 0
csi_fsck_total{outcome="ended",tool="e2fsck"} 0
csi_fsck_total{outcome="faulty",tool="e2fsck"} 0
csi_fsck_total{outcome="repaired",tool="e2fsck"} 0
csi_fsck_total{outcome="unknown",tool="e2fsck"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "csi_fsck_total"); err != nil {
		t.Error(err)
	}
}

// TestOutcomesThatSayNothing: what keeps a check from being run is not counted against the file system.
func TestOutcomesThatSayNothing(t *testing.T) {
	failed := exec.Command("false").Run()
	for want, err := range map[string]error{
		"faulty": fmt.Errorf("it: %w", failed), "ended": fmt.Errorf("%w: %w", longwork.ErrEnding, failed), "unknown": fmt.Errorf("%w: %w", unix.EBUSY, failed),
	} {
		if got := outcome(false, err); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}
