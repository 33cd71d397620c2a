package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
)

func TestCapabilitiesAndInfo(t *testing.T) {
	r := newRig(t)
	caps, err := r.NodeGetCapabilities(t.Context(), nil)
	r.must(err)
	var got []string
	for _, c := range caps.GetCapabilities() {
		got = append(got, c.GetRpc().GetType().String())
	}
	slices.Sort(got)
	if want := []string{
		"EXPAND_VOLUME", "GET_STORAGE_HEALTH", "GET_VOLUME_HEALTH", "GET_VOLUME_STATS", "SINGLE_NODE_MULTI_WRITER", "STAGE_UNSTAGE_VOLUME",
	}; !slices.Equal(got, want) {
		t.Errorf("announced are %v", got)
	}
	info, err := r.NodeGetInfo(t.Context(), nil)
	r.must(err)
	segments := info.GetAccessibleTopology().GetSegments()
	if info.GetNodeId() != otherID || info.GetMaxVolumesPerNode() != 11 || len(segments) != 1 || segments[topology.Key] != "ewr" {
		t.Errorf("info is %v", info)
	}
}

// TestLife is the whole life of a mounted volume on a node and then on another one, for each file system, with
// every call made twice.
func TestLife(t *testing.T) {
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			capability := mountCapability(writer, fsType, "noatime")
			for round := range 2 {
				for range 2 {
					r.must(r.stage(capability))
				}
				for range 2 {
					r.must(r.publish(capability, r.target, false))
				}
				e, ok := r.mounted(r.target)
				if !ok || e.FSType != fsType || !slices.Contains(e.Options, "noatime") {
					t.Fatalf("mounted is %+v, %t", e, ok)
				}
				if fsType == "xfs" && !slices.Contains(e.SuperOptions, "nouuid") {
					t.Errorf("xfs is mounted without nouuid: %v", e.SuperOptions)
				}
				file := filepath.Join(r.target, "file")
				if round == 0 {
					r.write(file, "data")
				} else if got := r.read(file); got != "data" {
					t.Errorf("read %q", got)
				}
				for range 2 {
					r.must(r.unpublish(r.target))
				}
				if _, err := os.Stat(r.target); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the target path is left: %v", err)
				}
				for range 2 {
					r.must(r.unstage())
				}
				r.machine.Unplug("disk")
				r.machine.Plug("disk", serial, gib)
			}
		})
	}
}

func TestDefaultFileSystem(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "")))
	if e, _ := r.mounted(r.staging); e.FSType != "ext4" {
		t.Errorf("mounted is %s", e.FSType)
	}
	if i, err := r.state.Intent(volumeID); err != nil || i != nil {
		t.Errorf("an intent is left: %v, %v", i, err)
	}
}

func TestStageComparesWhatIsMounted(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.machine.Plug("other", other, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	// After any other code the kubelet would not unstage it, and it would be in the way for ever.
	want(t, r.stage(mountCapability(writer, "xfs")), codes.Unavailable, "ext4", "xfs", "still mounted at "+r.staging)
	want(t, r.stage(mountCapability(reader, "ext4")), codes.Unavailable, "read-only")
	want(t, r.stage(mountCapability(writer, "ext4", "noexec")), codes.Unavailable, "noexec")
	req := r.stageRequest(mountCapability(writer, "ext4"))
	req.VolumeId, req.PublishContext = otherID, map[string]string{"mount_vol_name": other}
	_, err := r.NodeStageVolume(t.Context(), req)
	want(t, err, codes.Unavailable, other)
	r.must(r.unstage())
	r.must(r.stage(mountCapability(reader, "ext4")))
}

func TestRequestsAreJudged(t *testing.T) {
	r := newRig(t)
	good := mountCapability(writer, "ext4")
	for name, c := range map[string]struct {
		change modify
		code   codes.Code
	}{
		"no volume":        {func(q *csi.NodeStageVolumeRequest) { q.VolumeId = "" }, codes.InvalidArgument},
		"malformed volume": {func(q *csi.NodeStageVolumeRequest) { q.VolumeId = "../x" }, codes.NotFound},
		"no path":          {func(q *csi.NodeStageVolumeRequest) { q.StagingTargetPath = "" }, codes.InvalidArgument},
		"relative path":    {func(q *csi.NodeStageVolumeRequest) { q.StagingTargetPath = "a/b" }, codes.InvalidArgument},
		"root path":        {func(q *csi.NodeStageVolumeRequest) { q.StagingTargetPath = "/" }, codes.InvalidArgument},
		"no capability":    {func(q *csi.NodeStageVolumeRequest) { q.VolumeCapability = nil }, codes.InvalidArgument},
		"no serial":        {func(q *csi.NodeStageVolumeRequest) { q.PublishContext = nil }, codes.InvalidArgument},
		"vfs":              {func(q *csi.NodeStageVolumeRequest) { q.PublishContext = map[string]string{"storage_type": "vfs"} }, codes.InvalidArgument},
		"shared": {func(q *csi.NodeStageVolumeRequest) {
			q.VolumeCapability = mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, "")
		}, codes.InvalidArgument},
		"one writer of several nodes": {func(q *csi.NodeStageVolumeRequest) {
			q.PublishContext = map[string]string{"storage_type": "vfs", "mount_vol_name": "tag"}
			q.VolumeCapability = mountCapability(csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER, "")
		}, codes.InvalidArgument},
		"unknown fs": {func(q *csi.NodeStageVolumeRequest) { q.VolumeCapability = mountCapability(writer, "ntfs") }, codes.InvalidArgument},
		"bind option": {func(q *csi.NodeStageVolumeRequest) {
			q.VolumeCapability = mountCapability(writer, "ext4", "bind")
		}, codes.InvalidArgument},
		"two options in one": {func(q *csi.NodeStageVolumeRequest) {
			q.VolumeCapability = mountCapability(writer, "ext4", "noatime,loop")
		}, codes.InvalidArgument},
		"no device": {func(*csi.NodeStageVolumeRequest) {}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			req := r.stageRequest(good)
			c.change(req)
			_, err := r.NodeStageVolume(t.Context(), req)
			want(t, err, c.code)
		})
	}
	_, err := r.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, TargetPath: r.target, VolumeCapability: good, PublishContext: publishContext,
	})
	want(t, err, codes.FailedPrecondition, "staging_target_path")
	r.machine.Plug("disk", serial, gib)
	want(t, r.publish(good, r.target, false), codes.FailedPrecondition, "nothing is staged")
}

func TestReadOnly(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	want(t, r.stage(mountCapability(reader, "")), codes.FailedPrecondition, "read-only")
	capability := mountCapability(manyPods, "ext4")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, true))
	if err := os.WriteFile(filepath.Join(r.target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing through a read-only mount: %v", err)
	}
	want(t, r.publish(capability, r.target, false), codes.AlreadyExists)
	second := filepath.Join(r.dir, "second")
	r.must(r.publish(capability, second, false))
	r.write(filepath.Join(second, "file"), "x")
	r.must(r.unpublish(second))
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	r.must(r.stage(mountCapability(reader, "ext4")))
	if e, _ := r.mounted(r.staging); !e.ReadOnly() {
		t.Errorf("staged is %+v", e)
	}
	want(t, r.publish(capability, r.target, false), codes.FailedPrecondition, "read-only")
}

func TestOnePodOnly(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(onePod, "xfs")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	second := filepath.Join(r.dir, "second")
	want(t, r.publish(capability, second, false), codes.FailedPrecondition, r.target)
	r.must(r.publish(capability, r.target, false))
	// What the kubelet binds for a subPath is no second pod.
	sub := filepath.Join(r.dir, "subpath")
	r.must(os.Mkdir(filepath.Join(r.target, "inner"), 0o700))
	r.must(mount.MakeDir(sub))
	r.must(mount.Bind(filepath.Join(r.target, "inner"), sub, false))
	r.must(r.unpublish(r.target))
	r.must(r.publish(capability, second, false))
}

// TestUnstageNeedsNobodyLeft: a volume that a pod still has, here or in another mount namespace, is not released.
func TestUnstageNeedsNobodyLeft(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	if _, ok := r.mounted(r.staging); !ok {
		t.Error("it was unmounted all the same")
	}
	r.must(r.unpublish(r.target))
	pod := startHolder(t)
	want(t, r.unstage(), codes.FailedPrecondition, "still in use")
	// The mount is gone here, but a later attempt must not take that for success.
	want(t, r.unstage(), codes.FailedPrecondition, "still in use")
	pod()
	r.must(r.unstage())
}

func TestUnpublishTakesStackedMountsAway(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	for range 2 { // as an older driver did at every retry
		r.must(mount.Bind(r.staging, r.target, false))
	}
	r.must(r.unpublish(r.target))
	if e, ok := r.mounted(r.target); ok {
		t.Errorf("left is %+v", e)
	}
	r.must(r.unstage())
}

func TestUnpublishRemovesNoData(t *testing.T) {
	r := newRig(t)
	r.must(os.MkdirAll(r.target, 0o700))
	r.write(filepath.Join(r.target, "somebody's"), "data")
	if err := r.unpublish(r.target); err == nil {
		t.Error("a directory with content was unpublished")
	}
	if got := r.read(filepath.Join(r.target, "somebody's")); got != "data" {
		t.Errorf("read %q", got)
	}
	file := filepath.Join(r.dir, "file")
	r.write(file, "data")
	if err := r.unpublish(file); err == nil {
		t.Error("a file with content was unpublished")
	}
	if got := r.read(file); got != "data" {
		t.Errorf("read %q", got)
	}
	r.write(file, "")
	r.must(r.unpublish(file))
}

func TestDeadMount(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "xfs")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	shutdown(t, r.target)
	if dead, err := mount.Corrupt(t.Context(), r.target); err != nil || !dead {
		t.Fatalf("the mount is not dead: %v", err)
	}
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	r.must(r.stage(capability))
}

func TestSwitchFromOtherDriver(t *testing.T) {
	// A volume that another driver staged and published: it mounted with other options and wrote no record.
	r := newRig(t)
	name := r.machine.Plug("disk", serial, gib)
	path := filepath.Join(r.machine.DeviceDir, name)
	r.run("mkfs.ext4", "-q", path)
	r.must(mount.MakeDir(r.staging))
	r.must(mount.MakeDir(r.target))
	r.run("mount", path, r.staging)
	r.run("mount", "--bind", r.staging, r.target)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
}
