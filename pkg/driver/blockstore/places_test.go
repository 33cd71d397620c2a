package blockstore

import (
	"context"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestListTellsPlaces: a process that was just started knows by the list that the attacher reads where volumes are, and sends
// no order to an instance that is elsewhere by what the cluster and the platform say.
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
		for _, looks := range []int{1, 0} {
			before, read := len(r.cloud.Requests()), r.cloud.Count("get_instance")
			if _, err := fresh.Attach(t.Context(), id, far); volume.ReasonOf(err) != volume.Invalid {
				t.Errorf("got %v", err)
			}
			if n, all := r.cloud.Count("get_instance")-read, len(r.cloud.Requests())-before; n != looks || all != looks {
				t.Errorf("it cost %d looks and %d calls in all, want %d", n, all, looks)
			}
		}
	})
}

// TestHintsAreAskedForAgain after a while, as labels can be changed, and only about volumes whose region is known.
func TestHintsAreAskedForAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		asked := 0
		opts := r.opts
		opts.RegionOf = func(context.Context, string) (region, by string) {
			asked++
			return "", ""
		}
		id, instance, fresh := r.create("pvc-1").ID, r.instance("node-1"), New(r.api, opts)
		fresh.Locate(t.Context(), id, instance)
		if asked != 0 {
			t.Errorf("asked about a volume of which nothing is known %d times", asked)
		}
		fresh.LearnPlace(id, "ewr")
		for _, times := range []int{1, 2} {
			for range 3 {
				fresh.Locate(t.Context(), id, instance)
			}
			if asked != times {
				t.Errorf("asked %d times, want %d", asked, times)
			}
			time.Sleep(hintFor) // of the fake clock
		}
	})
}
