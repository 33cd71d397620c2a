package blockstore

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

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
