package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// What was made for a Service of this cluster by another controller, and outlived it, is shown, whatever has no record here. Other
// clusters' load balancers are not, and nothing is touched.
func TestUnrecordedIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("web")
		w.settled(s)
		left := w.existing("a0123456789abcdef0123456789abcde", behind(w.ids...))
		w.existing("a1123456789abcdef0123456789abcde", behind(w.cloud.AddInstance(simulator.NewServer{Label: "other"})))
		w.existing("www", behind(w.ids...))
		shows := func(want float64) {
			t.Helper()
			if n, _ := metric(t, "orphaned_load_balancers", ""); n != want {
				t.Errorf("%g are shown, want %g", n, want)
			}
		}
		w.later(20 * time.Minute)
		shows(1)
		w.delete(s)
		w.later(20 * time.Minute)
		shows(1)
		w.start()
		w.later(20 * time.Minute)
		shows(1)
		w.untouched(left)
		if has(w.events(), "LoadBalancerOrphaned") {
			t.Error("there is an Event, and nobody who could be told")
		}
		if err := w.api.DeleteLoadBalancer(t.Context(), left.ID); err != nil {
			t.Fatal(err)
		}
		w.later(20 * time.Minute)
		shows(0)
	})
}

// A load balancer that was just deleted with its Service is in lists for a while, also in those of another process.
func TestDeletedIsNotUnrecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": 100 * time.Second}))
		s := w.service("web")
		w.settled(s)
		w.later(20 * time.Minute)
		w.deleting(s)
		w.finalizerGone(s, 20*time.Minute)
		w.gone(s)
		w.start()
		for range 20 {
			w.later(time.Minute)
			if n, _ := metric(t, "orphaned_load_balancers", ""); n != 0 {
				t.Fatalf("%g are shown", n)
			}
		}
	})
}
