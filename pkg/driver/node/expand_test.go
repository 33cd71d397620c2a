package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (r *rig) expand(path string, size int64) (int64, error) {
	resp, err := r.NodeExpandVolume(r.t.Context(), &csi.NodeExpandVolumeRequest{
		VolumeId: volumeID, VolumePath: path, CapacityRange: &csi.CapacityRange{RequiredBytes: size},
	})
	return resp.GetCapacityBytes(), err
}

// size is the size of the file system at a path.
func (r *rig) size(path string) int64 {
	r.t.Helper()
	var st unix.Statfs_t
	r.must(unix.Statfs(path, &st))
	return int64(st.Blocks) * st.Bsize
}

func TestExpandWhileInUse(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			capability := mountCapability(writer, fsType)
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			r.write(filepath.Join(r.target, "file"), "data")

			r.machine.Grow("disk", 3*gib, false)
			_, err := r.expand(r.target, 3*gib)
			want(t, err, codes.FailedPrecondition, "does not see the new size")
			if size := r.size(r.target); size > gib {
				t.Fatalf("the file system has %d bytes", size)
			}
			r.machine.Grow("disk", 3*gib, true)
			for range 2 {
				got, err := r.expand(r.target, 3*gib)
				if status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), "refuses to grow") {
					t.Skipf("online growth of %s is not possible here: %v", fsType, err)
				}
				if err != nil || got != 3*gib {
					t.Fatalf("got %d, %v", got, err)
				}
			}
			if size := r.size(r.target); size < 5*gib/2 {
				t.Errorf("the file system has %d bytes", size)
			}
			if got := r.read(filepath.Join(r.target, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// TestGrowthIsNoticedWhenStaged: a volume that was expanded while it was nowhere, or that could not be grown while
// it was mounted.
func TestGrowthIsNoticedWhenStaged(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			capability := mountCapability(writer, fsType)
			r.must(r.stage(capability))
			r.write(filepath.Join(r.staging, "file"), "data")
			r.must(r.unstage())
			r.machine.Unplug("disk")
			r.machine.Plug("disk", serial, 3*gib)
			r.must(r.stage(capability))
			if size := r.size(r.staging); size < 5*gib/2 {
				t.Errorf("the file system has %d bytes", size)
			}
			if got := r.read(filepath.Join(r.staging, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
		})
	}
}

func TestExpandBlock(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := blockCapability(writer)
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	_, err := r.expand(r.target, 2*gib)
	want(t, err, codes.FailedPrecondition, "does not see the new size")
	r.machine.Grow("disk", 2*gib, true)
	if got, err := r.expand(r.target, 2*gib); err != nil || got != 2*gib {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestExpandAndStatsRefusals(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	empty := filepath.Join(r.dir, "empty")
	r.must(os.Mkdir(empty, 0o700))
	for name, c := range map[string]struct {
		id, path string
		code     codes.Code
	}{
		"no volume":     {"", r.staging, codes.InvalidArgument},
		"no path":       {volumeID, "", codes.InvalidArgument},
		"malformed":     {"x", r.staging, codes.NotFound},
		"missing path":  {volumeID, filepath.Join(r.dir, "nowhere"), codes.NotFound},
		"not mounted":   {volumeID, empty, codes.NotFound},
		"other volumes": {uuid.NewString(), empty, codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: c.id, VolumePath: c.path})
			want(t, err, c.code)
			_, err = r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: c.id, VolumePath: c.path})
			want(t, err, c.code)
		})
	}
	stats, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.staging})
	r.must(err)
	if len(stats.GetUsage()) != 2 {
		t.Fatalf("stats are %v", stats)
	}
	for _, u := range stats.GetUsage() {
		if u.GetTotal() <= 0 || u.GetAvailable() <= 0 || u.GetUsed() <= 0 || u.GetUsed() >= u.GetTotal() {
			t.Errorf("stats are %v", u)
		}
	}
}

// TestExpandAsSomethingElse: a capability that does not fit what is at the path is refused, both ways.
func TestExpandAsSomethingElse(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	ask := func(path string, c *csi.VolumeCapability) error {
		_, err := r.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: volumeID, VolumePath: path, VolumeCapability: c})
		return err
	}
	file, block := mountCapability(writer, "ext4"), blockCapability(writer)
	r.must(r.stage(file))
	want(t, ask(r.staging, block), codes.InvalidArgument, "volume_capability")
	r.must(ask(r.staging, file))
	r.must(r.unstage())
	r.must(r.stage(block))
	r.must(r.publish(block, r.target, false))
	want(t, ask(r.target, file), codes.InvalidArgument, "volume_capability")
	r.must(ask(r.target, block))
}

// TestStagedAgainUnderAPod: what the kernel does not grow while it is mounted waits until no pod has it.
func TestStagedAgainUnderAPod(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	r.machine.Grow("disk", 3*gib, true)
	r.must(r.stage(capability))
	if _, ok := r.mounted(r.staging); !ok {
		t.Error("it was unmounted under the pod")
	}
	r.write(filepath.Join(r.target, "file"), "data")
	r.must(r.unpublish(r.target))
	r.must(r.stage(capability))
	if size := r.size(r.staging); size < 5*gib/2 {
		t.Errorf("it has %d bytes", size)
	}
}
