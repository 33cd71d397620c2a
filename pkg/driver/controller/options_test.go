package controller_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func mountedWith(fsType string, flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: writer.GetAccessMode(),
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType, MountFlags: flags}},
	}
}

// TestMountOptionsOfANewVolume: mount options that the node would refuse are refused before anything is made.
func TestMountOptionsOfANewVolume(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		for _, c := range []struct {
			capability *csi.VolumeCapability
			word       string // "" is possible
		}{
			{mountedWith("xfs", "noatime", "logdev=/dev/vdb"), "logdev"},
			{mountedWith("ext4", "noatime,loop"), "loop"},
			{mountedWith("ext4", "inode64"), "inode64"},
			{mountedWith("", "inode64"), "inode64"}, // it gets an ext4
			{mountedWith("ext4", "ro", "rw"), "contradict"},
			{mountedWith("ext4", `context="x`), "quote"},
			{mountedWith("xfs", "noatime,nodev", "inode64"), ""},
			{mountedWith("", "data=journal"), ""},
		} {
			req := createRequest("pvc-1", 10)
			req.VolumeCapabilities = []*csi.VolumeCapability{writer, c.capability}
			before := r.calls()
			_, err := r.CreateVolume(t.Context(), req)
			if c.word == "" {
				want(t, err, codes.OK)
				continue
			}
			want(t, err, codes.InvalidArgument, "volume capability 2", c.word)
			if n := r.calls() - before; n != 0 {
				t.Errorf("%v: %d calls were made", c.capability, n)
			}
		}
	})
}

// TestMountOptionsOfAnExistingVolume: they are confirmed or not where that is asked. What is to be attached or grown exists,
// perhaps from a time when the option was possible: its node is the judge.
func TestMountOptionsOfAnExistingVolume(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		refused := mountedWith("ext4", "logdev=/dev/vdb")
		for capability, confirmed := range map[*csi.VolumeCapability]bool{
			refused: false, mountedWith("ext4", "noatime"): true, mountedWith("", "inode64"): true,
		} {
			resp, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{capability},
			})
			want(t, err, codes.OK)
			if (resp.GetConfirmed() != nil) != confirmed || (resp.GetMessage() == "") != confirmed {
				t.Errorf("%v: got %v", capability, resp)
			}
		}
		publish := publishRequest(id, node)
		publish.VolumeCapability = refused
		_, err := r.ControllerPublishVolume(t.Context(), publish)
		want(t, err, codes.OK)
		grow := expandRequest(id, 20)
		grow.VolumeCapability = refused
		_, err = r.ControllerExpandVolume(t.Context(), grow)
		want(t, err, codes.OK)
	})
}
