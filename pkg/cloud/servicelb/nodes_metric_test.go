package servicelb_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// counted waits until a load balancer of so many nodes is shown at one of those that share it, and at none of the others.
func (w *world) counted(nodes float64, at *v1.Service, others ...*v1.Service) {
	w.Helper()
	w.each("load_balancer_nodes", nodes, at)
	w.eventually("it is counted at "+at.Name+" alone", func() bool {
		return !slices.ContainsFunc(others, func(s *v1.Service) bool {
			_, there := metric(w.T, "load_balancer_nodes", s.Name)
			return there
		})
	})
}

// What a load balancer has of nodes is shown for as long as there is one, faults or not.
func TestNodesMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("sized", with(settings.NodeCount, "3"))
		if n, there := metric(t, "load_balancer_nodes", "sized"); there {
			t.Errorf("%f are shown before there is one", n)
		}
		lb := w.settled(s)
		w.counted(3, s)
		w.edit(s, with(settings.NodeCount, "5"))
		w.within(time.Minute, "five are shown", func() bool { n, _ := metric(t, "load_balancer_nodes", "sized"); return n == 5 })
		w.edit(s, with(settings.NodeCount, "2")) // which cannot be
		w.showsState("sized", "failing")
		w.later(20 * time.Minute)
		w.counted(5, s)

		// One that is gone is not paid for, also while no other one can be made.
		w.faulty("create_load_balancer", 400, "")
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.eventually("none is shown", func() bool { _, there := metric(t, "load_balancer_nodes", "sized"); return !there })
		w.later(20 * time.Minute)
		if n, there := metric(t, "load_balancer_nodes", "sized"); there {
			t.Errorf("%f are shown of what is gone", n)
		}
	})
}

// Where what somebody changes on the platform is left so, that is what is paid for.
func TestNodesMetricOfDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting, keepDrift)
		s := w.service("resized")
		lb := w.settled(s)
		w.counted(1, s)
		w.later(10 * time.Minute)
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Nodes: new(3)}); err != nil {
			t.Fatal(err)
		}
		w.counted(3, s)
		w.later(10 * time.Minute)
		if now := w.only(); now.Nodes != 3 {
			t.Errorf("it has %d nodes", now.Nodes)
		}
		w.counted(3, s)
		w.delete(s)
	})
}

// One that several share is counted once, at the oldest: the sum over all Services is what is paid for.
func TestNodesOfThoseWhoShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		host, young := w.service("counted-host", www, on(443, 30443)), w.service("counted-young", www, on(8080, 32080))
		w.share("443:30443 8080:32080", host, young)
		w.counted(1, host, young)

		// Who is older leads, though it comes later, and its faults change nothing.
		senior := w.service("counted-senior", www, on(80, 30080), aged(time.Hour), with(settings.NodeCount, "3"))
		w.share("443:30443 8080:32080 80:30080", host, young, senior)
		w.counted(3, senior, host, young)
		w.edit(senior, with(settings.Timeout, "-1"))
		w.showsState("counted-senior", "failing")
		w.later(20 * time.Minute)
		w.counted(3, senior, host, young)
		w.edit(senior, without(settings.Timeout))
		w.showsState("counted-senior", "ready")

		// The one that has it goes, then the one that leads takes its leave and gets one of its own.
		w.delete(host)
		w.share("8080:32080 80:30080", young, senior)
		w.counted(3, senior, host, young)
		w.edit(senior, with(settings.Label, "alone"))
		w.eventually("each has its own", func() bool { return len(w.all()) == 2 && w.entry(senior).Address != "" })
		w.counted(3, senior)
		w.counted(1, young)
		w.delete(senior)
		w.delete(young)
		w.later(time.Minute)
		if left := slices.Concat(series(t, "counted-host"), series(t, "counted-young"), series(t, "counted-senior")); len(left) > 0 {
			t.Errorf("there are still %v", left)
		}
	})
}
