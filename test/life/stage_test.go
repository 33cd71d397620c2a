package life

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// BenchmarkStage compares the staging of a blank 10 GB disk as ext4 with the bare commands: mkfs.ext4 with the same
// options, and mount. Both work on a disk of their own that was just plugged in. It reports medians, as what else
// runs on the machine now and then hits one of the two, and the best of each, which a busy machine distorts least.
func BenchmarkStage(b *testing.B) {
	r := newRigAt(b, simtest.FastTimeScale)
	var staged, bare []time.Duration
	for i := 0; b.Loop(); i++ {
		id, published := r.plug(b, fmt.Sprintf("pvc-staged-%d", i))
		began := time.Now()
		if _, err := r.node.NodeStageVolume(b.Context(), &csi.NodeStageVolumeRequest{
			VolumeId: id, PublishContext: published, StagingTargetPath: filepath.Join(r.dir, "staging", id), VolumeCapability: writer("ext4"),
		}); err != nil {
			b.Fatal(err)
		}
		staged = append(staged, time.Since(began))
		if _, err := r.node.NodeUnstageVolume(b.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: filepath.Join(r.dir, "staging", id)}); err != nil {
			b.Fatal(err)
		}
		r.unplug(b, id)

		id, published = r.plug(b, fmt.Sprintf("pvc-bare-%d", i))
		bare = append(bare, r.bare(b, published[volume.ContextSerial]))
		r.unplug(b, id)
	}
	b.ReportMetric(median(staged)*1000, "ms/stage")
	b.ReportMetric(median(bare)*1000, "ms/mkfs+mount")
	b.ReportMetric(median(staged)/median(bare), "stage/mkfs+mount")
	b.ReportMetric(slices.Min(staged).Seconds()*1000, "min-ms/stage")
	b.ReportMetric(slices.Min(bare).Seconds()*1000, "min-ms/mkfs+mount")
	b.ReportMetric(slices.Min(staged).Seconds()/slices.Min(bare).Seconds(), "min-stage/mkfs+mount")
}

// median is in seconds.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return times[len(times)/2].Seconds()
}

// plug makes a volume and attaches it to the node.
func (r *rig) plug(b *testing.B, name string) (id string, published map[string]string) {
	b.Helper()
	created, err := r.controller.CreateVolume(b.Context(), &csi.CreateVolumeRequest{
		Name: name, VolumeCapabilities: []*csi.VolumeCapability{writer("ext4")}, CapacityRange: &csi.CapacityRange{RequiredBytes: 10 * gib},
	})
	if err != nil {
		b.Fatal(err)
	}
	id = created.GetVolume().GetVolumeId()
	attached, err := r.controller.ControllerPublishVolume(b.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: r.instance, VolumeCapability: writer("ext4")})
	if err != nil {
		b.Fatal(err)
	}
	return id, attached.GetPublishContext()
}

func (r *rig) unplug(b *testing.B, id string) {
	b.Helper()
	if _, err := r.controller.ControllerUnpublishVolume(b.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: r.instance}); err != nil {
		b.Fatal(err)
	}
	if _, err := r.controller.DeleteVolume(b.Context(), &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
		b.Fatal(err)
	}
}

// bare times mkfs.ext4 and mount on the disk with the serial.
func (r *rig) bare(b *testing.B, serial string) time.Duration {
	b.Helper()
	device, target := r.device(b, serial), b.TempDir()
	began := time.Now()
	for _, command := range [][]string{{"mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", device}, {"mount", "-t", "ext4", device, target}} {
		if out, err := exec.CommandContext(b.Context(), command[0], command[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the test's own
			b.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	took := time.Since(began)
	if out, err := exec.CommandContext(b.Context(), "umount", target).CombinedOutput(); err != nil { //nolint:gosec // the test's own
		b.Fatalf("umount: %v: %s", err, out)
	}
	return took
}

// device is the node of the disk with the serial.
func (r *rig) device(b *testing.B, serial string) string {
	b.Helper()
	dir := filepath.Join(r.cloud.DisksDir, "instances", r.instance)
	serials, err := filepath.Glob(filepath.Join(dir, "block", "*", "serial"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range serials {
		raw, err := os.ReadFile(path) //nolint:gosec // the test's own
		if err == nil && strings.TrimSpace(string(raw)) == serial {
			return filepath.Join(dir, "devices", filepath.Base(filepath.Dir(path)))
		}
	}
	b.Fatalf("no disk has serial %s", serial)
	return ""
}
