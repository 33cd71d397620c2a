package node_test

import (
	"os"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

const degraded, inaccessible = csi.VolumeHealthErrorType_DEGRADED, csi.VolumeHealthErrorType_INACCESSIBLE

// health is what is wrong with the volume, by its paths and by its ID alone, in one line each.
func (r *rig) health(paths ...string) []*csi.VolumeHealth_VolumeHealthEntry {
	r.t.Helper()
	req := &csi.NodeGetVolumeHealthRequest{VolumeId: volumeID}
	if len(paths) > 0 {
		req.StagingTargetPath = paths[0]
	}
	if len(paths) > 1 {
		req.VolumePublishPath = paths[1]
	}
	resp, err := r.NodeGetVolumeHealth(r.t.Context(), req)
	r.must(err)
	if resp.GetVolumeHealth().GetVolumeId() != volumeID {
		r.t.Errorf("it is the health of %q", resp.GetVolumeHealth().GetVolumeId())
	}
	return resp.GetVolumeHealth().GetHealthStatuses()
}

// mustBe checks that the volume is well ("") or has exactly one thing wrong, however it is asked for.
func (r *rig) mustBe(status csi.VolumeHealthErrorType, reason string, words ...string) {
	r.t.Helper()
	for _, paths := range [][]string{nil, {r.staging}, {r.staging, r.target}} {
		got := r.health(paths...)
		if reason == "" {
			if len(got) != 0 {
				r.t.Errorf("by %q: got %v", paths, got)
			}
			continue
		}
		if len(got) != 1 || got[0].GetStatus() != status || got[0].GetReason() != reason {
			r.t.Errorf("by %q: got %v, want %s %s", paths, got, status, reason)
			continue
		}
		for _, w := range words {
			if !strings.Contains(got[0].GetMessage(), w) {
				r.t.Errorf("%q does not say %q", got[0].GetMessage(), w)
			}
		}
	}
}

// TestHealthOfFileSystems has the ways in which a file system fails under a pod.
func TestHealthOfFileSystems(t *testing.T) {
	t.Parallel()
	extError := (*rig).extError
	readOnly := func(r *rig) { r.run("mount", "-o", "remount,ro", r.staging) }
	down := func(r *rig) { shutdown(r.t, r.staging) }
	for name, c := range map[string]struct {
		fsType string
		flags  []string
		fail   func(r *rig)
		status csi.VolumeHealthErrorType
		reason string
	}{
		"ext4, error, remount-ro": {"ext4", []string{"errors=remount-ro"}, extError, degraded, "BecameReadOnly"},
		"ext4, error, continue":   {"ext4", nil, extError, degraded, "FileSystemErrors"},
		"ext4, shutdown":          {"ext4", nil, down, inaccessible, "FileSystemFailed"},
		"xfs, shutdown":           {"xfs", nil, down, inaccessible, "FileSystemFailed"},
		"ext4, read-only":         {"ext4", nil, readOnly, degraded, "BecameReadOnly"},
		"xfs, read-only":          {"xfs", nil, readOnly, degraded, "BecameReadOnly"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			r.mustBe(0, "") // plugged in, and not staged yet
			capability := mountCapability(writer, c.fsType, c.flags...)
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			r.mustBe(0, "")
			c.fail(r)
			r.mustBe(c.status, c.reason, c.fsType, r.machine.Device(serial).Path)
			r.must(r.unpublish(r.target))
			r.must(r.publish(capability, r.target, false)) // which stages it again
			r.mustBe(0, "")
		})
	}
}

// TestHealthOfWhatIsReadOnlyOnPurpose: that is nothing wrong.
func TestHealthOfWhatIsReadOnlyOnPurpose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	r.must(r.unstage())
	capability := mountCapability(reader, "ext4")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, true))
	r.mustBe(0, "")
}

// TestHealthOfDisks: a disk that is unplugged, another one in its place, and two with one serial.
func TestHealthOfDisks(t *testing.T) {
	t.Parallel()
	for name, capability := range map[string]*csi.VolumeCapability{"mounted": mountCapability(writer, "ext4"), "raw": blockCapability(writer)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			_, err := r.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: volumeID, StagingTargetPath: r.staging})
			want(t, err, codes.NotFound, volumeID)
			r.machine.Plug("disk", serial, gib)
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			r.mustBe(0, "")

			twin := r.machine.Plug("twin", serial, gib)
			got := r.health(r.staging, r.target)
			if len(got) == 0 || got[0].GetStatus() != inaccessible || got[0].GetReason() != "DiskNotProven" || !strings.Contains(got[0].GetMessage(), twin) {
				t.Errorf("of two with one serial: got %v", got)
			}
			r.machine.Unplug("twin")
			r.mustBe(0, "")

			r.pull()
			reasons := map[string]bool{}
			for _, e := range r.health(r.staging, r.target) {
				reasons[e.GetReason()] = e.GetStatus() == inaccessible
			}
			if !reasons["DiskMissing"] || !reasons["DiskUnplugged"] {
				t.Errorf("of a disk that was pulled: got %v", reasons)
			}
			r.machine.Plug("again", serial, gib)
			got = r.health(r.staging, r.target)
			if len(got) != 1 || got[0].GetReason() != "DiskUnplugged" || !strings.Contains(got[0].GetMessage(), "restarted") {
				t.Errorf("of a disk that was plugged in again: got %v", got)
			}
		})
	}
}

// TestHealthOfAWrongDevice: what is mounted at the path is another volume's disk.
func TestHealthOfAWrongDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.machine.Plug("other", other, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	r.must(r.unstage())
	wrong := r.machine.Device(other).Path
	r.run("mkfs.ext4", "-q", wrong)
	r.run("mount", wrong, r.staging)
	got := r.health(r.staging)
	if len(got) != 1 || got[0].GetStatus() != inaccessible || got[0].GetReason() != "WrongDevice" || !strings.Contains(got[0].GetMessage(), serial) {
		t.Errorf("got %v", got)
	}
}

func TestHealthRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for code, req := range map[codes.Code]*csi.NodeGetVolumeHealthRequest{
		codes.InvalidArgument: {},
		codes.NotFound:        {VolumeId: "no-volume"},
	} {
		_, err := r.NodeGetVolumeHealth(t.Context(), req)
		want(t, err, code)
	}
	for _, path := range []string{"relative", "/", "/etc"} {
		_, err := r.NodeGetVolumeHealth(t.Context(), &csi.NodeGetVolumeHealthRequest{VolumeId: volumeID, VolumePublishPath: path})
		want(t, err, codes.InvalidArgument, "volume_publish_path")
	}
}

// TestStorageHealth: what keeps a node from its work is said to the kubelet, and nothing else is.
func TestStorageHealth(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ask := func() []*csi.NodeGetStorageHealthResponse_StorageBackendHealth {
		resp, err := r.NodeGetStorageHealth(t.Context(), &csi.NodeGetStorageHealthRequest{})
		r.must(err)
		return resp.GetBackendHealth()
	}
	if got := ask(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	r.must(os.Rename(r.machine.SysfsDir, r.machine.SysfsDir+".away"))
	got := ask()
	r.must(os.Rename(r.machine.SysfsDir+".away", r.machine.SysfsDir))
	if len(got) != 1 || got[0].GetStatus() != csi.StorageHealthErrorType_STORAGE_UNREACHABLE || got[0].GetReason() == "" || !strings.Contains(got[0].GetMessage(), r.machine.SysfsDir) {
		t.Errorf("without a list of disks: got %v", got)
	}
}
