package controller_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestValidateContradictions: a volume context that names two regions, or none by a key that is there, is not confirmed.
func TestValidateContradictions(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").GetVolumeId()
		for name, about := range map[string]map[string]string{
			"two regions": {topology.Key: "ewr", topology.OfficialKey: "lax"}, "an empty region": {topology.Key: " "},
		} {
			resp, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{writer}, VolumeContext: about,
			})
			if want(t, err, codes.OK); resp.GetConfirmed() != nil || resp.GetMessage() == "" {
				t.Errorf("%s: got %v", name, resp)
			}
		}
	})
}
