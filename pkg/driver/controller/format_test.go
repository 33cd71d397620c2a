package controller_test

import (
	"maps"
	"testing"

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
		wish := map[string]string{"mkfs_block_size": "1024", "mkfs_inode_size": "512"}
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
