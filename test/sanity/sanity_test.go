package sanity

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
)

// outcome is what became of one spec.
type outcome struct {
	Spec  string
	State string
	// Why is the reason of a skip.
	Why  string
	Took time.Duration
}

// accesses are the ways in which volumes are used, one run of the suite for each: raw block volumes, those with each file
// system, and shared file systems by one node at a time and by several.
var accesses = append(append([]string{rawBlock}, params.FileSystems...), "vfs", "vfs-shared")

// TestSanity runs the suite for every kind of volume, side by side, with the attach limit test on for block storage.
func TestSanity(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("csi-sanity takes minutes and is left out of short runs")
	}
	if os.Geteuid() != 0 {
		t.Skip("csi-sanity needs root: it uses real loop devices and real mounts")
	}
	for _, access := range accesses {
		t.Run(access, func(t *testing.T) {
			t.Parallel()
			outcomes := runSuite(t, access)
			if len(outcomes) < 50 {
				t.Errorf("only %d specs were found, csi-sanity has more", len(outcomes))
			}
			kind := access
			if slices.Contains(params.FileSystems, access) {
				kind = "mount" // what is skipped depends on none
			}
			checkSkipped(t, "testdata/skipped-"+kind+".txt", outcomes)
		})
	}
}

// runSuite runs one suite in a process of its own, in a mount namespace of its own: whatever happens to it, its
// mounts end with it.
func runSuite(t *testing.T, access string) []outcome {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	args := []string{"-test.run=^TestSuite$", "-test.v", "-test.timeout=14m", "-ginkgo.no-color"}
	if strings.HasPrefix(access, "vfs") {
		// The platform has no snapshots of shared file systems, and the suite would take all of them by the same parameters.
		args = append(args, "-ginkgo.skip=(?i)snapshot|source volume")
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), envAccess+"="+access, envBinary+"="+driverBinary, envReport+"="+report)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "Ran ") || strings.Contains(line, "Passed") || strings.HasPrefix(line, "SUCCESS!") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Fatalf("csi-sanity for %s volumes failed: %v\n%s", access, err, out.String())
	}
	raw, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []outcome
	if err := json.Unmarshal(raw, &outcomes); err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// checkSkipped compares what was skipped with a golden file, in which nothing that is announced may be.
func checkSkipped(t *testing.T, golden string, outcomes []outcome) {
	t.Helper()
	var lines []string
	for _, o := range outcomes {
		// One spec, on paging, is pending: csi-sanity has disabled it for every driver. The controller's own tests
		// page through a list that changes.
		if o.State == "passed" || o.State == "pending" {
			continue
		}
		lines = append(lines, o.Spec+": "+o.Why)
		// The platform documents no limit of shared file systems, so that there is no refusal to meet.
		noLimit := strings.Contains(golden, "vfs") && strings.Contains(o.Why, attachLimitTest)
		if !noLimit && slices.ContainsFunc(neverSkipped, func(why string) bool { return strings.Contains(o.Why, why) }) {
			t.Errorf("a spec of an announced capability did not run: %s: %s", o.Spec, o.Why)
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the skipped specs are not those of %s (go test -update writes it again):\n%s", golden, got)
	}
}

// attachLimitTest is in the reason of the skipped attach limit test.
const attachLimitTest = "testnodevolumeattachlimit"

// neverSkipped are the reasons with which csi-sanity skips specs of what the driver announces.
var neverSkipped = []string{
	"CreateVolume not supported",
	"DeleteVolume not supported",
	"ControllerPublishVolume not supported",
	"ControllerUnpublishVolume not supported",
	"Controller Publish, UnpublishVolume not supported",
	"ListVolumes not supported",
	"GetCapacity not supported",
	"VolumeHealth not supported",
	"NodeGetStorageHealth not supported",
	"readonly field not supported",
	"odify volume not supported",
	"ControllerModifyVolume not supported",
	"ControllerExpandVolume not supported",
	"Snapshot not supported",
	"ListSnapshots not supported",
	"Volume Cloning not supported",
	"Controller Service not provided",
	"NodeStageVolume not supported",
	"NodeUnstageVolume not supported",
	"NodeGetVolume not supported",
	"NodeExpandVolume not supported",
	"single node multi writer",
	attachLimitTest,
	"No MaxVolumesPerNode",
	"Required bytes not supported",
	"capacity of the volume is unknown",
	"idempotency",
	"zero or negative",
}
