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

func (r *rig) unstageCopy(path string) error {
	_, err := r.NodeUnstageVolume(r.t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: otherID, StagingTargetPath: path})
	return err
}

// copyDisk copies the disk as it is, and as a snapshot does, to the other disk.
func (r *rig) copyDisk() {
	r.t.Helper()
	r.run("dd", "if="+r.machine.Device(serial).Path, "of="+r.machine.Device(other).Path, "bs=1M", "conv=sparse,fsync", "status=none")
}

// TestCopyBesideItsSource: a copy that was taken of a mounted file system, and is larger, is mounted beside it: it has the
// same UUID, the data that was written until then, and the size of its own disk. Either can be mounted first, each is on its
// own disk, and what is written to one is not in the other.
func TestCopyBesideItsSource(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
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
			r.wantSideBySide(path, "later", "data")
			if size := r.size(path); size < 3*gib/2 {
				t.Errorf("the file system of the copy has %d bytes", size)
			}
			r.write(filepath.Join(path, "file"), "copy")
			r.must(r.unstage())
			r.must(r.stage(mountCapability(writer, fsType))) // beside the copy, which was there first
			r.wantSideBySide(path, "later", "copy")
			r.write(filepath.Join(r.staging, "file"), "source")
			r.must(r.unstageCopy(path))
			r.must(r.stageCopy(path, fsType))
			r.wantSideBySide(path, "source", "copy")
			r.must(r.unstage())
			r.must(r.unstageCopy(path))
		})
	}
}

// wantSideBySide compares what is in the file of the source and in that of the copy, and from which disks they are mounted.
func (r *rig) wantSideBySide(path, source, copied string) {
	r.t.Helper()
	for at, want := range map[string]struct{ text, serial string }{r.staging: {source, serial}, path: {copied, other}} {
		if got := r.read(filepath.Join(at, "file")); got != want.text {
			r.t.Errorf("%s has %q, want %q", at, got, want.text)
		}
		if got, disk := r.number(at), r.machine.Device(want.serial).Number; got != disk {
			r.t.Errorf("%s is on disk %s, want %s", at, got, disk)
		}
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
