package node_test

import (
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// stageCopy stages the other disk as a volume that was made from a snapshot.
func (r *rig) stageCopy(path, fsType string) error {
	_, err := r.NodeStageVolume(r.t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: otherID, StagingTargetPath: path, VolumeCapability: mountCapability(writer, fsType),
		PublishContext: map[string]string{"mount_vol_name": other, "storage_type": "block"},
		VolumeContext:  map[string]string{volume.ContextContentSource: "snapshot/" + volumeID},
	})
	return err
}

// copyDisk copies the disk as it is, and as a snapshot does, to the other disk.
func (r *rig) copyDisk() {
	r.t.Helper()
	r.run("dd", "if="+r.machine.Device(serial).Path, "of="+r.machine.Device(other).Path, "bs=1M", "conv=sparse,fsync", "status=none")
}

// TestCopyBesideItsSource: a copy that was taken of a mounted file system, and is larger, is mounted beside it: it has the
// same UUID, the data that was written until then, and the size of its own disk.
func TestCopyBesideItsSource(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, small)
			r.machine.Plug("copy", other, 2*gib)
			r.must(r.stage(mountCapability(writer, fsType)))
			r.write(filepath.Join(r.staging, "file"), "data")
			r.run("sync", "--file-system", r.staging)
			r.copyDisk()
			r.write(filepath.Join(r.staging, "file"), "later")
			path := filepath.Join(r.dir, "copy")
			r.must(r.stageCopy(path, fsType))
			if got := r.read(filepath.Join(path, "file")); got != "data" {
				t.Errorf("the copy has %q", got)
			}
			if size := r.size(path); size < 3*gib/2 {
				t.Errorf("the file system of the copy has %d bytes", size)
			}
			if got := r.read(filepath.Join(r.staging, "file")); got != "later" {
				t.Errorf("the source has %q", got)
			}
			source, copied := r.machine.Device(serial), r.machine.Device(other)
			if a, _ := r.mounted(r.staging); a.Number != source.Number {
				t.Errorf("at the source's path is %+v", a)
			}
			if b, _ := r.mounted(path); b.Number != copied.Number {
				t.Errorf("at the copy's path is %+v", b)
			}
		})
	}
}

// TestEmptyCopy: the snapshot was taken before the source had a file system. The copy is not formatted, as nothing tells
// that from a copy that went wrong.
func TestEmptyCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.machine.Plug("copy", other, small)
	want(t, r.stageCopy(filepath.Join(r.dir, "copy"), "ext4"), codes.FailedPrecondition, "made from a source", other)
	r.run("sh", "-c", "cmp -n 536870912 "+r.machine.Device(other).Path+" /dev/zero")
}
