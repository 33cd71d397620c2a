package node_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// readOnlyContext is the publish context of a volume that the controller published read-only.
func readOnlyContext() map[string]string {
	about := maps.Clone(publishContext)
	about[volume.ContextReadOnly] = "true"
	return about
}

// stageReadOnly stages what was published read-only to the node, as the kubelet does: it asks for nothing special.
func (r *rig) stageReadOnly(capability *csi.VolumeCapability) error {
	req := r.stageRequest(capability)
	req.PublishContext = readOnlyContext()
	_, err := r.NodeStageVolume(r.t.Context(), req)
	return err
}

func (r *rig) publishReadOnly(capability *csi.VolumeCapability) error {
	_, err := r.NodePublishVolume(r.t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: r.staging, TargetPath: r.target, VolumeCapability: capability, PublishContext: readOnlyContext(),
	})
	return err
}

// isReadOnly reports whether the kernel refuses writes to the disk, and tries one.
func (r *rig) isReadOnly() bool {
	r.t.Helper()
	is, err := device.ReadOnly(r.machine.Device(serial))
	r.must(err)
	if !is {
		return false
	}
	f, err := os.OpenFile(r.machine.Device(serial).Path, os.O_RDWR, 0)
	r.must(err)
	defer f.Close()
	same := make([]byte, 512)
	_, err = f.ReadAt(same, 0)
	r.must(err)
	if _, err := f.WriteAt(same, 0); err == nil {
		r.t.Error("the device's flag says read-only, and it can be written to")
	}
	return true
}

// TestPublishedReadOnly: nothing of the volume can be written, neither through the mount nor to the device, until it is
// unstaged.
func TestPublishedReadOnly(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			capability := mountCapability(writer, fsType)
			want(t, r.stageReadOnly(capability), codes.FailedPrecondition, "read-only") // it is blank
			if r.isReadOnly() {
				t.Error("the device of a refused staging is read-only")
			}
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			r.write(filepath.Join(r.target, "file"), "data")
			unix.Sync()
			shutdown(t, r.staging) // so that its log has to be replayed
			r.must(r.unpublish(r.target))
			r.must(r.unstage())
			for range 2 {
				r.must(r.stageReadOnly(capability))
				r.must(r.publishReadOnly(capability))
			}
			if got := r.read(filepath.Join(r.target, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
			if err := os.WriteFile(filepath.Join(r.target, "more"), nil, 0o600); err == nil {
				t.Error("a pod can write")
			}
			if !r.isReadOnly() {
				t.Error("the device can be written to")
			}
			if err := unix.Mount("", r.staging, "", unix.MS_REMOUNT, ""); err == nil {
				t.Error("it can be mounted to be written to")
			}
			want(t, r.stage(capability), codes.Unavailable, "read-only")
			if !r.isReadOnly() {
				t.Error("the device can be written to after a staging that was refused")
			}
			r.must(r.unpublish(r.target))
			r.must(r.unstage())
			if r.isReadOnly() {
				t.Error("the device is still read-only")
			}
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			r.write(filepath.Join(r.target, "more"), "data")
		})
	}
}

// TestPublishedReadOnlyRaw: a pod that asks for more gets the device read-only as well.
func TestPublishedReadOnlyRaw(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := blockCapability(writer)
	r.must(r.stageReadOnly(capability))
	r.must(r.publishReadOnly(capability))
	if !r.isReadOnly() {
		t.Error("the device can be written to")
	}
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	if r.isReadOnly() {
		t.Error("the device is still read-only")
	}
}

// TestPublishedReadOnlyCutOff: a plugin that was killed between the mount and the flag, and one that was killed before it
// could take the flag back.
func TestPublishedReadOnlyCutOff(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(r.unstage())
	r.must(r.stageReadOnly(capability))
	r.must(device.SetReadOnly(r.machine.Device(serial), false))
	r.must(r.stageReadOnly(capability))
	if !r.isReadOnly() {
		t.Error("the device can be written to")
	}
	r.must(r.unstage())
	r.must(device.SetReadOnly(r.machine.Device(serial), true))
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	r.write(filepath.Join(r.target, "file"), "data")
	if r.isReadOnly() {
		t.Error("the device is read-only")
	}
}
