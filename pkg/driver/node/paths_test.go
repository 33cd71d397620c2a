package node_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
)

// TestPathsLieInTheKubeletsDirectory: whatever a request names, nothing outside is mounted on, shown or removed.
func TestPathsLieInTheKubeletsDirectory(t *testing.T) {
	r := newRig(t)
	root, outside := filepath.Join(r.dir, "kubelet"), filepath.Join(r.dir, "outside")
	r.must(mount.MakeDir(root))
	r.must(mount.MakeDir(outside))
	r.must(os.Symlink(outside, filepath.Join(root, "link")))
	r.Service = node.New(node.Config{Finder: r.machine.Finder, State: r.state, BootID: bootID, Patience: time.Second, KubeletRoot: root + "/"})
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	staging, target := filepath.Join(root, "staging"), filepath.Join(root, "pods", "a", "mount")
	for _, bad := range []string{
		outside, "/etc", "/proc/self/root" + staging, root, root + "/link", root + "/link/x", root + "/a/../../outside", root + "-other/x", root + "/..",
	} {
		r.staging = bad
		want(t, r.stage(capability), codes.InvalidArgument, "staging_target_path")
		want(t, r.unstage(), codes.InvalidArgument, "staging_target_path")
		want(t, r.publish(capability, target, false), codes.InvalidArgument, "staging_target_path")
		r.staging = staging
		want(t, r.publish(capability, bad, false), codes.InvalidArgument, "target_path")
		want(t, r.unpublish(bad), codes.InvalidArgument, "target_path")
	}
	for _, elsewhere := range []string{
		outside, "/etc", "/", "etc", "/proc/self/root" + target, "/proc/self/cwd", root, root + "/link", root + "/link/x", root + "/a/../../outside", root + "-other/x",
	} {
		_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: elsewhere})
		want(t, err, codes.NotFound, "volume_path")
		_, err = r.expand(elsewhere, gib)
		want(t, err, codes.NotFound, "volume_path")
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a directory outside was removed: %v", err)
	}
	for range 2 {
		r.must(r.stage(capability))
	}
	for range 2 {
		r.must(r.publish(capability, target, false))
	}
	for _, path := range []string{staging, target} {
		_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: path})
		r.must(err)
		if size, err := r.expand(path, gib); err != nil || size != gib {
			t.Errorf("expanding %s: %d, %v", path, size, err)
		}
		_, err = r.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: volumeID, VolumePath: path, StagingTargetPath: staging})
		r.must(err)
		_, err = r.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: volumeID, VolumePath: path, StagingTargetPath: outside})
		want(t, err, codes.InvalidArgument, "staging_target_path")
	}
	for range 2 {
		r.must(r.unpublish(target))
	}
	for range 2 {
		r.must(r.unstage())
	}
}

// TestVolumeElsewhereIsNotLookedAt: a volume that really is mounted outside of the kubelet's directory, or seen there
// through a link, is not measured and not grown.
func TestVolumeElsewhereIsNotLookedAt(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	outside := filepath.Join(r.dir, "outside")
	r.must(mount.MakeDir(outside))
	r.must(mount.Bind(r.staging, outside, false))
	root := filepath.Join(r.dir, "kubelet")
	r.must(mount.MakeDir(root))
	r.must(os.Symlink(outside, filepath.Join(root, "link")))
	r.Service = node.New(node.Config{Finder: r.machine.Finder, State: r.state, BootID: bootID, Patience: time.Second, KubeletRoot: root})
	r.machine.Grow("disk", 3*gib, true)
	for _, path := range []string{outside, filepath.Join(root, "link"), "/proc/self/root" + outside} {
		_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: path})
		want(t, err, codes.NotFound, "volume_path")
		_, err = r.expand(path, 3*gib)
		want(t, err, codes.NotFound, "volume_path")
	}
}

// TestOptionsAreJudgedBeforeTheDiskIs: an option that is not possible is refused before anything is written, also when
// the file system is known only from the disk.
func TestOptionsAreJudgedBeforeTheDiskIs(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	before := r.sum()
	for _, option := range []string{"logdev=/dev/vdb", "rtdev=/dev/vdb", "journal_path=/dev/vdb", "helper=sh", "verity.hashdevice=/dev/vdb", "errors=panic"} {
		want(t, r.stage(mountCapability(writer, "ext4", option)), codes.InvalidArgument, option)
		want(t, r.stage(mountCapability(writer, "", "noatime,"+option)), codes.InvalidArgument, option)
		want(t, r.publish(mountCapability(writer, "ext4", option), r.target, false), codes.InvalidArgument, option)
	}
	// It is possible with xfs, but a blank disk becomes an ext4.
	want(t, r.stage(mountCapability(writer, "", "inode64")), codes.InvalidArgument, "inode64", "ext4")
	if r.sum() != before {
		t.Error("the disk was written to")
	}
	r.must(r.stage(mountCapability(writer, "", "data=ordered,commit=30", "x-systemd.device-timeout=10")))
	want(t, r.stage(&csi.VolumeCapability{AccessMode: mountCapability(writer, "").GetAccessMode()}), codes.InvalidArgument)
}
