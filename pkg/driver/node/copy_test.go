package node_test

import (
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestCopyBesideItsSource: a volume that was restored or cloned has the UUID of its source's file system. Both are mounted
// on one node at once, in either order, each from its own disk, and what is written to one is not in the other.
func TestCopyBesideItsSource(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			r.machine.Plug("copy", other, gib)
			capability := mountCapability(writer, fsType)
			r.must(r.stage(capability))
			r.write(filepath.Join(r.staging, "file"), "both")
			r.must(r.unstage())
			from, to := r.machine.Device(serial), r.machine.Device(other)
			r.run("dd", "if="+from.Path, "of="+to.Path, "bs=4M", "conv=sparse,fsync", "status=none")

			second := filepath.Join(r.dir, "second")
			stageCopy := func() {
				_, err := r.NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
					VolumeId: otherID, StagingTargetPath: second, VolumeCapability: capability,
					VolumeContext:  map[string]string{volume.ContextContentSource: "volume/" + volumeID},
					PublishContext: map[string]string{volume.ContextSerial: other},
				})
				r.must(err)
			}
			unstageCopy := func() {
				_, err := r.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: otherID, StagingTargetPath: second})
				r.must(err)
			}
			for _, copyFirst := range []bool{false, true} {
				if copyFirst {
					stageCopy()
				}
				r.must(r.stage(capability))
				if !copyFirst {
					stageCopy()
				}
				if r.number(r.staging) != from.Number || r.number(second) != to.Number {
					t.Fatalf("mounted are %s and %s, the disks are %s and %s", r.number(r.staging), r.number(second), from.Number, to.Number)
				}
				r.write(filepath.Join(r.staging, "file"), "source")
				r.write(filepath.Join(second, "file"), "copy")
				for range 2 {
					r.must(r.unstage())
				}
				if got := r.read(filepath.Join(second, "file")); got != "copy" {
					t.Errorf("the copy has %q", got)
				}
				unstageCopy()
				r.must(r.stage(capability))
				if got := r.read(filepath.Join(r.staging, "file")); got != "source" {
					t.Errorf("the source has %q", got)
				}
				r.must(r.unstage())
			}
		})
	}
}
