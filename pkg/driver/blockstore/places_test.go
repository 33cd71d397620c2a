package blockstore

import (
	"context"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestListTellsPlaces: a process that was just started knows by the list that the attacher reads where volumes are, and sends
// no order to an instance that is elsewhere by what the cluster says.
func TestListTellsPlaces(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		id, far := r.create("pvc-1").ID, r.cloud.AddInstance(simulator.NewServer{Label: "far", Region: "lax"})
		fresh := New(testcloud.Client(t, r.cloud), Options{RegionOf: func(_ context.Context, instance string) (region, by string) {
			if instance == far {
				return "lax", "by a label"
			}
			return "", ""
		}})
		if _, err := fresh.List(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		before := len(r.cloud.Requests())
		if _, err := fresh.Attach(t.Context(), id, far); volume.ReasonOf(err) != volume.Invalid {
			t.Errorf("got %v", err)
		}
		if n := len(r.cloud.Requests()) - before; n != 0 {
			t.Errorf("it cost %d calls", n)
		}
	})
}
