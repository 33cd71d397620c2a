package blockstore

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// leftBehind has a predecessor create a volume by a request that the network delivers once more a moment later, and be
// killed before it looks for the other one.
func leftBehind(r *rig, name string) (answered volume.Volume, twin string) {
	r.t.Helper()
	r.Store = New(r.api, Options{TwinCheck: 24 * time.Hour})
	done := make(chan volume.Volume, 1)
	go func() { done <- r.create(name) }()
	time.Sleep(1500 * time.Millisecond) // of the fake clock
	twin = r.another().byHand(requestOf(name))
	return <-done, twin
}

// TestLeftTwin: a controller was killed right after a create that the network delivered twice. Its successor deletes the
// other volume when it knows which one the claim has, and only reports it before.
func TestLeftTwin(t *testing.T) {
	claim := "pvc-" + uuid.NewString()
	for what, c := range map[string]struct {
		name    string
		act     func(first, second *rig, answered volume.Volume, twin, instance string)
		deleted bool
		found   float64
	}{
		"the successor publishes it": {claim, func(_, second *rig, answered volume.Volume, _, instance string) {
			second.mustAttach(answered.ID, instance)
		}, true, 1},
		"it is published already": {claim, func(first, _ *rig, answered volume.Volume, _, instance string) {
			first.mustAttach(answered.ID, instance)
			time.Sleep(3 * time.Second) // of the fake clock
		}, true, 1},
		"it was published and is free again": {claim, func(_, second *rig, answered volume.Volume, _, instance string) {
			second.mustAttach(answered.ID, instance)
			if err := second.Detach(second.t.Context(), answered.ID, instance); err != nil {
				second.t.Fatal(err)
			}
		}, true, 1},
		"nobody publishes it": {claim, func(*rig, *rig, volume.Volume, string, string) {}, false, 1},
		"the name is not that of a claim": {"data", func(_, second *rig, answered volume.Volume, _, instance string) {
			second.mustAttach(answered.ID, instance)
		}, false, 0},
		"the other one is in use, too": {claim, func(_, second *rig, answered volume.Volume, twin, instance string) {
			second.mustAttach(answered.ID, instance)
			second.byAnother(twin, instance, func(ctx context.Context) error { return second.another().api.AttachVolume(ctx, twin, instance) })
		}, false, 2},
		"the other one was in use": {claim, func(_, second *rig, answered volume.Volume, twin, instance string) {
			second.mustAttach(twin, instance)
			if err := second.Detach(second.t.Context(), twin, instance); err != nil {
				second.t.Fatal(err)
			}
			second.mustAttach(answered.ID, instance)
		}, false, 2},
		"the successor comes late": {claim, func(_, second *rig, answered volume.Volume, _, instance string) {
			time.Sleep(twinAge)
			second.mustAttach(answered.ID, instance)
		}, false, 1},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				answered, twin := leftBehind(r, c.name)
				time.Sleep(3 * time.Second) // of the fake clock: the lease is taken
				second, instance := r.another(), r.instance("node-1")
				c.act(r, second, answered, twin, instance)
				for range 12 { // as for ListVolumes
					if _, err := second.List(t.Context(), time.Second); err != nil {
						t.Fatal(err)
					}
					time.Sleep(30 * time.Second) // of the fake clock
				}
				left := second.named(c.name)
				if !slices.Contains(left, answered.ID) || slices.Contains(left, twin) == c.deleted {
					t.Errorf("left are %s, answered was %s", left, answered.ID)
				}
				if found := testutil.ToFloat64(second.twins.found); found != c.found {
					t.Errorf("%g were reported", found)
				}
				if n := len(second.twins.pending); n != 0 {
					t.Errorf("%d checks are pending", n)
				}
			})
		})
	}
}

// TestLeftOlderTwin: the volume that is published is the younger one of its name. The older one was there before
// anybody asked for it, and stays.
func TestLeftOlderTwin(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		name, instance := "pvc-"+uuid.NewString(), r.instance("node-1")
		elder := r.byHand(requestOf(name))
		time.Sleep(2 * time.Second)
		younger := r.byHand(requestOf(name))
		time.Sleep(10 * time.Second)
		if _, err := r.List(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r.mustAttach(younger, instance)
		time.Sleep(time.Minute)
		if left := r.named(name); !slices.Contains(left, elder) || !slices.Contains(left, younger) {
			t.Errorf("left are %s of %s and %s", left, elder, younger)
		}
	})
}

// TestOldDuplicatesAreReported: a controller that was just started reports what lists show twice, however old it is, and
// once.
func TestOldDuplicatesAreReported(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		name := "pvc-" + uuid.NewString()
		r.byHand(requestOf(name))
		r.byHand(vultr.VolumeRequest{Label: name, Region: "lax", SizeGB: 20, Type: vultr.HighPerf})
		r.byHand(requestOf("data"))
		r.byHand(requestOf("data"))
		r.byHand(requestOf("pvc-" + uuid.NewString()))
		time.Sleep(time.Hour)
		for range 3 {
			if _, err := r.List(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if found := testutil.ToFloat64(r.twins.found); found != 1 {
			t.Errorf("%g were reported", found)
		}
	})
}
