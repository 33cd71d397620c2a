package blockstore

import (
	"net/http"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestExpandThatWasOvertaken: somebody else has grown the volume further a moment ago, which reads do not show yet. The
// platform refuses to shrink it, and the wish is met.
func TestExpandThatWasOvertaken(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 3 * time.Second}, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		time.Sleep(time.Minute) // of the fake clock
		if err := r.another().api.ResizeVolume(t.Context(), v.ID, 30); err != nil {
			t.Fatal(err)
		}
		now, nodeStep, err := r.Expand(t.Context(), v.ID, volume.Capacity{Required: 20 * volume.GiB})
		if err != nil || now.SizeGiB != 30 || !nodeStep {
			t.Errorf("got %+v, %t, %v", now, nodeStep, err)
		}
	})
}

// TestExpandThatWasDone: a controller that was killed has grown the volume to the wished size, which reads do not show
// yet. The platform has nothing to change, and the answer comes when reads show the size.
func TestExpandThatWasDone(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 10 * time.Second}, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		time.Sleep(time.Minute) // of the fake clock
		if err := r.another().api.ResizeVolume(t.Context(), v.ID, 20); err != nil {
			t.Fatal(err)
		}
		now, nodeStep, err := r.another().Expand(t.Context(), v.ID, volume.Capacity{Required: 20 * volume.GiB})
		if err != nil || now.SizeGiB != 20 || !nodeStep {
			t.Errorf("got %+v, %t, %v", now, nodeStep, err)
		}
	})
}

// TestRefusedExpand: a refusal that nobody's growth explains is told, within the time that reads take to settle.
func TestRefusedExpand(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		r.cloud.Fault(simulator.Fault{
			Operation: "update_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Unable to resize","status":400}`,
		})
		began := time.Now()
		_, _, err := r.Expand(t.Context(), v.ID, volume.Capacity{Required: 20 * volume.GiB})
		if volume.ReasonOf(err) != volume.InUse {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 2*r.api.SettleTime() {
			t.Errorf("it took %s", took)
		}
	})
}
