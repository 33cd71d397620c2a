package controller_test

import (
	"maps"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestFormatReachesTheNode: how the file system is to be made is judged before anything is made, and is in the volume
// context, at a repeated call too. A class that says nothing of it, as all of the official driver's, adds nothing.
func TestFormatReachesTheNode(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		req := createRequest("pvc-1", 10)
		req.Parameters = map[string]string{"csi.storage.k8s.io/fstype": "btrfs", "mkfs_block_size": "1024", "mkfs_inode_size": "4k"}
		_, err := r.CreateVolume(t.Context(), req)
		want(t, err, codes.InvalidArgument, "mkfs_block_size", "btrfs", "4k")
		if made := r.cloud.Sim.View().Blocks; len(made) > 0 {
			t.Errorf("%d volumes were made", len(made))
		}
		// As the provisioner asks: it makes the capability's file system of the class's, and leaves the parameter out.
		asked := createRequest("pvc-1", 10)
		asked.VolumeCapabilities = []*csi.VolumeCapability{capability(csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER)}
		asked.VolumeCapabilities[0].GetMount().FsType = "btrfs"
		asked.Parameters = map[string]string{"mkfs_block_size": "1024", "read_ahead_kb": "64"}
		_, err = r.CreateVolume(t.Context(), asked)
		want(t, err, codes.InvalidArgument, "mkfs_block_size", "read_ahead_kb", "the file system is btrfs")
		if made := r.cloud.Sim.View().Blocks; len(made) > 0 {
			t.Errorf("%d volumes were made", len(made))
		}
		wish := map[string]string{"read_ahead_kb": "64", "mkfs_block_size": "1024", "mkfs_inode_size": "512"}
		req.Parameters = maps.Clone(wish)
		for range 2 {
			resp, err := r.CreateVolume(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.GetVolume().GetVolumeContext(); !maps.Equal(got, wish) {
				t.Errorf("the context is %v", got)
			}
		}
		resp, err := r.CreateVolume(t.Context(), createRequest("pvc-2", 10))
		if err != nil || len(resp.GetVolume().GetVolumeContext()) > 0 {
			t.Errorf("without a wish: %v, %v", resp.GetVolume().GetVolumeContext(), err)
		}
	})
}
