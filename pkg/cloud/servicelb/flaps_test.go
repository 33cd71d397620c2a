package servicelb_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A Node whose readiness flaps is taken out at once each time it serves, and costs few writes.
func TestNodeThatFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.settled(w.service("web"))
		w.later(10 * time.Minute)
		before := w.writes()
		for range 60 {
			w.editNode("node-1", ready(false))
			w.later(5 * time.Second)
			if n := len(w.truth(lb.ID).Instances); n != 1 {
				t.Fatalf("%d backends while a node is not ready", n)
			}
			w.later(5 * time.Second)
			w.editNode("node-1", ready(true))
			w.later(10 * time.Second)
		}
		if n := w.writes() - before; n > 10 {
			t.Errorf("%d writes to a load balancer for 60 flaps", n)
		}
		back := func() bool { return len(w.truth(lb.ID).Instances) == 2 }
		w.later(4*time.Minute + 30*time.Second)
		if back() {
			t.Error("back too soon")
		}
		w.within(time.Minute, "it is back", back)
		// All is forgotten after a while.
		w.later(11 * time.Minute)
		w.editNode("node-1", ready(false))
		w.within(5*time.Second, "it is out", func() bool { return !back() })
		w.editNode("node-1", ready(true))
		w.within(10*time.Second, "it is back as any other", back)
	})
}

// While no other Node is ready, one that flaps is better than those that are not.
func TestOnlyNodeThatFlapsServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.settled(w.service("web"))
		for range 10 {
			w.editNode("node-1", ready(false))
			w.later(10 * time.Second)
			w.editNode("node-1", ready(true))
			w.later(2 * time.Second)
		}
		steady := slices.Clone(w.truth(lb.ID).Instances)
		if len(steady) != 1 {
			t.Fatalf("backends %v", steady)
		}
		w.editNode("node-0", ready(false))
		w.within(10*time.Second, "the flapping one serves", func() bool {
			now := w.truth(lb.ID).Instances
			return len(now) == 1 && now[0] != steady[0]
		})
	})
}
