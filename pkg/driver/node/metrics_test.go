package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
)

// metrics returns the series of the node's own metrics, with their values.
func (r *rig) metrics() []string {
	r.t.Helper()
	families, err := r.registry.Gather()
	r.must(err)
	var all []string
	for _, f := range families {
		if !slices.Contains([]string{"csi_staged_volumes", "csi_max_volumes", "csi_volume_conditions"}, f.GetName()) {
			continue
		}
		for _, m := range f.GetMetric() {
			text := f.GetName()
			for _, l := range m.GetLabel() {
				text += " " + l.GetValue()
			}
			all = append(all, fmt.Sprintf("%s %v", text, m.GetGauge().GetValue()))
		}
	}
	return all
}

func (r *rig) mustShow(want ...string) {
	r.t.Helper()
	if got := r.metrics(); !slices.Equal(got, want) {
		r.t.Errorf("the metrics are %q, want %q", got, want)
	}
}

// look has the service look once at its volumes.
func (r *rig) look() {
	over, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	r.Look(over)
}

// TestMetricsOfTheNode: what is staged, how many there can be, and what is wrong, by the driver's own look.
func TestMetricsOfTheNode(t *testing.T) {
	r := newRig(t)
	r.mustShow()
	_, err := r.NodeGetInfo(t.Context(), &csi.NodeGetInfoRequest{})
	r.must(err)
	r.mustShow("csi_max_volumes 11")
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.look()
	r.mustShow("csi_max_volumes 11", "csi_staged_volumes none block 1")
	shutdown(t, r.staging)
	r.look()
	r.mustShow("csi_max_volumes 11", "csi_staged_volumes none block 1", "csi_volume_conditions FileSystemFailed block 1")
	r.must(r.stage(capability)) // which heals it
	r.look()
	r.mustShow("csi_max_volumes 11", "csi_staged_volumes none block 1")
	shutdown(t, r.staging)
	r.look()
	r.must(r.unstage())
	r.look()
	r.mustShow("csi_max_volumes 11")
	r.must(r.state.WriteStaged(state.Staged{VolumeID: otherID, Serial: "1234-tag", Kind: "vfs", BootID: bootID}))
	r.look() // nothing of it is mounted, so nothing of it can be wrong
	r.mustShow("csi_max_volumes 11", "csi_staged_volumes none vfs 1")
	r.must(r.state.ClearStaged(otherID))
	r.must(r.stage(capability))
	r.Service = r.restarted("the-boot-after") // whose records are no staged volumes any more
	r.mustShow()
}

// TestUnjudgedIsNotWell: what was found wrong with a volume stands as long as nobody can tell whether it still is.
func TestUnjudgedIsNotWell(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	shutdown(t, r.staging)
	r.look()
	const failed = "csi_volume_conditions FileSystemFailed block 1"
	r.mustShow("csi_staged_volumes none block 1", failed)

	dir := filepath.Join(r.dir, "state")
	records, err := filepath.Glob(filepath.Join(dir, "*.staged.json"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records are %v, %v", records, err)
	}
	record := r.read(records[0])
	r.write(records[0], "damaged")
	r.look()
	r.mustShow(failed)
	r.write(records[0], record)
	r.must(os.Rename(dir, dir+"-away"))
	r.look()
	r.mustShow(failed)
	r.must(os.Rename(dir+"-away", dir))
	r.look()
	r.mustShow("csi_staged_volumes none block 1", failed)
	r.must(r.stage(mountCapability(writer, "ext4"))) // which heals it
	r.look()
	r.mustShow("csi_staged_volumes none block 1")
}

// TestMetricsOfEncryption: encrypted volumes are told from others.
func TestMetricsOfEncryption(t *testing.T) {
	r := newEncryptedRig(t, mountCapability(writer, "ext4"))
	r.up()
	if got := strings.Join(r.metrics(), ","); got != "csi_staged_volumes luks2 block 1" {
		t.Errorf("the metrics are %s", got)
	}
	r.down()
	r.mustShow()
}

// TestRefusedVolumeIsNotStaged: a volume whose disk is refused counts neither as staged nor, once it is detached, as one whose
// disk is missing. The kubelet does not unstage it.
func TestRefusedVolumeIsNotStaged(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.machine.DeviceDir, r.machine.Plug("disk", serial, small))
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	r.must(err)
	_, err = file.WriteAt([]byte("somebody's"), 1<<20)
	r.must(errors.Join(err, file.Sync(), file.Close()))
	for range 2 {
		want(t, r.stage(mountCapability(writer, "ext4")), codes.FailedPrecondition, "nothing recognises")
	}
	r.look()
	r.mustShow()
	r.machine.Unplug("disk")
	r.look()
	r.mustShow()
}
