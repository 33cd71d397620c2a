package blockstore

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestFullAccount: that the account can have no more volumes is no fault of the request, which may succeed elsewhere or later. The
// region is blamed if it does not sell the type at all.
func TestFullAccount(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		const full = "You have reached the maximum number of block storage volumes for this account."
		id := r.cloud.Fault(simulator.Fault{
			Operation: "create_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"` + full + `","status":400}`,
		})
		for region, words := range map[string]string{"ewr": full, "nowhere": "does not sell"} {
			spec := specOf("pvc-1")
			spec.Regions = []string{region}
			if _, err := r.Create(t.Context(), spec); volume.ReasonOf(err) != volume.Exhausted || !strings.Contains(err.Error(), words) {
				t.Errorf("in region %s: got %v", region, err)
			}
		}
		r.cloud.Sim.RemoveFault(id)
		r.create("pvc-1")
	})
}

// TestRefusedCreate: a refusal is blamed on the region only if the region does not sell the type.
func TestRefusedCreate(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.cloud.Fault(simulator.Fault{
			Operation: "create_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Unable to create it","status":400}`,
		})
		_, err := r.Create(t.Context(), specOf("pvc-1"))
		if volume.ReasonOf(err) != volume.Invalid || !strings.Contains(err.Error(), "Unable to create it") || strings.Contains(err.Error(), "does not sell") {
			t.Errorf("a region that sells it: got %v", err)
		}
		spec := specOf("pvc-2")
		spec.Regions = []string{"nowhere"}
		_, err = r.Create(t.Context(), spec)
		if volume.ReasonOf(err) != volume.Exhausted || !strings.Contains(err.Error(), "region nowhere does not sell nvme") {
			t.Errorf("a region that does not: got %v", err)
		}
	})
}
