package servicelb_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Services are deleted while a Node joins: nothing is made for them, nothing is left.
func TestDeletedWhileANodeJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var all []*v1.Service
		for i := range 30 {
			all = append(all, w.service(fmt.Sprintf("s%d", i)))
		}
		for _, s := range all {
			w.settled(s)
		}
		w.later(time.Minute)
		before := w.writes()
		w.addMachine("node-9")
		for _, s := range all[:10] {
			w.deleting(s)
		}
		for _, s := range all[:10] {
			w.delete(s)
		}
		w.later(10 * time.Minute)
		if n := len(w.all()); n != 20 {
			t.Errorf("%d load balancers for 20 Services", n)
		}
		for _, lb := range w.all() {
			if len(lb.Instances) != 3 {
				t.Errorf("instances %v", lb.Instances)
			}
		}
		if n := w.writes() - before; n > 40 {
			t.Errorf("%d writes for 10 deletions and one Node at 20 load balancers", n)
		}
	})
}

// Many Nodes that join cost each load balancer a write or two, not one a Node; one that fails is out at once.
func TestWaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		var all []*v1.Service
		for i := range 10 {
			all = append(all, w.service(fmt.Sprintf("s%d", i)))
		}
		for _, s := range all {
			w.settled(s)
		}
		w.later(5 * time.Minute) // all have been looked at once more
		w.scaleOut(len(all))
		w.editNode("new-7", ready(false))
		w.within(5*time.Second, "it is out of all", w.backends(51))
		w.editNode("new-8", func(n *v1.Node) { n.Labels[v1.LabelNodeExcludeBalancers] = "true" })
		w.within(5*time.Second, "so is the excluded one", w.backends(50))
	})
}

// scaleOut adds 50 Nodes, one after the other, and checks that they cost one write a load balancer.
func (w *world) scaleOut(loadBalancers int) {
	w.Helper()
	// A look for drift that begins just before the first Node may see some of them, so it begins just after one.
	quiet := w.calls()
	w.eventually("drift is looked for", func() bool { return w.calls() > quiet })
	w.later(5 * time.Second)
	if n := w.join50(); n != loadBalancers {
		w.Errorf("%d writes for 50 Nodes and %d load balancers", n, loadBalancers)
	}
}

// join50 adds 50 Nodes and returns the number of writes that it took until all were backends.
func (w *world) join50() int {
	w.Helper()
	before := w.writes()
	for i := range 50 {
		w.addMachine(fmt.Sprintf("new-%d", i))
		w.later(200 * time.Millisecond)
	}
	w.eventually("all are backends", w.backends(52))
	return w.writes() - before
}

// TestDriftInAWave: of the looks for drift in the middle of a wave of Nodes none costs a write.
func TestDriftInAWave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(_ *simtest.Options, c *servicelb.Config) { c.DriftPeriod = 3 * time.Second })
		w.settled(w.service("a"))
		w.settled(w.service("b"))
		if n := w.join50(); n > 2*2 { // one look may have begun before the wave
			t.Errorf("%d writes for 2 load balancers", n)
		}
	})
}

// backends returns whether every load balancer has this many.
func (w *world) backends(want int) func() bool {
	return func() bool {
		for _, lb := range w.cloud.Sim.View().LoadBalancers {
			if len(lb.Instances) != want {
				return false
			}
		}
		return true
	}
}

// A platform that cannot make load balancers is not asked without end.
func TestFailingCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: 500})
		var all []*v1.Service
		for i := range 20 {
			all = append(all, w.service(fmt.Sprintf("s%d", i)))
		}
		w.later(time.Hour)
		if n := w.posts(); n < 3 || n > 40 {
			t.Errorf("%d requests in an hour for 20 Services", n)
		}
		w.cloud.Sim.ClearFaults()
		for _, s := range all {
			w.settled(s)
		}
		if n := len(w.all()); n != 20 {
			t.Errorf("%d load balancers", n)
		}
	})
}

// A Node whose instance is gone is left out, at making as at changing, and told at both; the refusal is paid for once.
func TestMissingInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		first := w.service("first")
		lb := w.settled(first)
		if !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("instances %v", lb.Instances)
		}
		events := w.events()
		if !has(events, "BackendNotFound") || !has(events, "NodesLeftOut") {
			t.Errorf("events %q", events)
		}
		posts := w.posts()
		if posts != 2 {
			t.Errorf("%d requests: one refused, one without it", posts)
		}
		second := w.service("second")
		w.settled(second)
		if n := w.posts() - posts; n != 1 {
			t.Errorf("the second load balancer cost %d requests", n)
		}
		before := w.writes()
		w.edit(first, with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the new timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.later(5 * time.Minute)
		if n := w.writes() - before; n != 1 {
			t.Errorf("%d writes for one change", n)
		}
		id := w.cloud.AddInstance(simulator.NewServer{Label: "node-9"})
		w.addNode("node-9", "vultr://"+id)
		w.addNode("young", "")
		w.addNode("stranger", "aws:///i-1")
		w.eventually("the new machine is a backend", func() bool { return len(w.truth(lb.ID).Instances) == 3 })
		w.wantEvent("stranger (not an instance of this cloud")
	})
}

// One request that the network delivered twice: one load balancer is left.
func TestDeliveredTwice(t *testing.T) {
	for _, answer := range []simulator.FaultAnswer{simulator.FaultAnswerFirst, simulator.FaultAnswerSecond} {
		t.Run(string(answer), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1, Answer: answer})
				s := w.service("web")
				w.eventually("the Service has its address", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
				w.eventually("one load balancer is left", func() bool { return len(w.all()) == 1 })
				w.wantEvent("DuplicateLoadBalancerDeleted")
				if ip := w.fresh(s).Status.LoadBalancer.Ingress[0].IP; w.only().IPv4 != ip {
					t.Errorf("the Service has %s, left is %+v", ip, w.only())
				}
				w.delete(s)
				w.later(5 * time.Minute)
				w.none()
			})
		})
	}
}

// A finalizer that was taken off by hand leaves a load balancer: it is told, not deleted.
func TestOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("web")
		lb := w.settled(s)
		if err := w.client.CoreV1().Services(s.Namespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wantEvent("LoadBalancerOrphaned Load balancer " + lb.ID + " was made for Service shop/web")
		w.later(time.Hour)
		w.only()
		if has(w.events(), "LoadBalancerOrphaned") {
			t.Error("told twice")
		}
	})
}

// Whatever goes wrong with reading: nothing is made, nothing is believed gone.
func TestFailureIsNotAbsence(t *testing.T) {
	faults := map[string]simulator.Fault{
		"429, Retry-After": {Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 3},
		"no connection":    {Action: simulator.FaultResetBefore},
		"no answer":        {Action: simulator.FaultHang},
		"cut JSON":         {Action: simulator.FaultTruncate},
		"a page of HTML":   {Action: simulator.FaultNotJSON},
	}
	for _, status := range []int{401, 403, 422, 429, 500, 503} {
		faults[http.StatusText(status)] = simulator.Fault{Action: simulator.FaultStatus, Status: status}
	}
	for name, fault := range faults {
		fault.Method, fault.Path = http.MethodGet, "/load-balancers"
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				made := w.service("made")
				lb := w.settled(made)
				w.later(time.Minute) // a list that was read before the fault is good for a moment
				before := w.writes()
				w.blind = true
				w.cloud.Fault(fault)
				fresh := w.service("fresh")
				w.edit(made, with(settings.Timeout, "30"))
				w.later(time.Hour)
				w.deleting(made)
				w.later(time.Hour)
				if n := w.writes() - before; n != 0 {
					t.Errorf("%d writes", n)
				}
				if !servicehelper.HasLBFinalizer(w.fresh(made)) {
					t.Error("the finalizer is gone, the load balancer is not")
				}
				if again := w.only(); again.ID != lb.ID {
					t.Errorf("another load balancer: %+v", again)
				}
				w.cloud.Sim.ClearFaults()
				w.settled(fresh)
				w.eventually("the deleted one goes", func() bool { return len(w.all()) == 1 })
			})
		})
	}
}

// A Service that stays loses its notes with its load balancer, and may get another one later.
func TestNoLongerALoadBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Timeout, "30"))
		first := w.settled(s)
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.eventually("its load balancer goes", func() bool { return len(w.all()) == 0 && !servicehelper.HasLBFinalizer(w.fresh(s)) })
		if fresh := w.fresh(s); len(fresh.Annotations) != 1 || len(fresh.Status.LoadBalancer.Ingress) != 0 {
			t.Errorf("annotations %v, status %v", fresh.Annotations, fresh.Status)
		}
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
		if lb := w.settled(s); lb.ID == first.ID {
			t.Errorf("%+v", lb)
		}
	})
}

// Rules that somebody made by hand must not vanish because the Service does not name them.
func TestFirewallOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		rules := []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Firewall: &rules}); err != nil {
			t.Fatal(err)
		}
		w.events()
		w.later(20 * time.Minute)
		if lb := w.only(); len(lb.Firewall) != 1 {
			t.Errorf("opened: %+v", lb.Firewall)
		}
		if all := w.events(); len(all) != 1 || !strings.Contains(all[0], "FirewallKept") {
			t.Errorf("events %q", all)
		}
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"} })
		w.shows(lb.ID, "has the Service's range", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 1 && l.Firewall[0].Source == "192.0.2.0/24" })
		w.later(time.Second)
		w.start()
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.shows(lb.ID, "has no range any more", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 0 })
	})
}

// The platform refuses for a while: that is a reason to wait, and no Warning.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.edit(s, with(settings.NodeCount, "3"))
		w.shows(lb.ID, "has three nodes", func(l vultr.LoadBalancer) bool { return l.Nodes == 3 })
		w.edit(s, with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.cloud.Fault(simulator.Fault{
			Operation: "delete_load_balancer", Action: simulator.FaultStatus, Status: 400,
			Body: `{"error":"Load balancer is not ready.","status":400}`, Times: 2,
		})
		w.delete(s)
		w.none()
		if n := w.cloud.Count("delete_load_balancer"); n != 3 {
			t.Errorf("%d attempts", n)
		}
		for _, event := range w.events() {
			if strings.HasPrefix(event, "Warning") {
				t.Error(event)
			}
		}
	})
}

func TestUnmanaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(10 * time.Second)
		before := w.calls()
		s := w.service("web", with(settings.Create, "false"))
		w.later(10 * time.Second)
		if fresh := w.fresh(s); len(fresh.Finalizers) != 0 || w.calls() != before {
			t.Errorf("finalizers %v, %d requests", fresh.Finalizers, w.calls()-before)
		}
		w.edit(s, without(settings.Create))
		lb := w.settled(s)
		w.edit(s, with(settings.Create, "false"))
		w.delete(s)
		w.wantEvent("Load balancer " + lb.ID + " is left as it is")
		w.only()
	})
}

// A Service with faults still gets the backends that it needs.
func TestFaultsKeepServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.edit(s, with(settings.NodeCount, "2"), with(settings.ProxyProtocol, "perhaps"), with(settings.Timeout, "30"))
		w.wantEvent(string(settings.NodeCount))
		w.editNode("node-1", ready(false))
		w.shows(lb.ID, "has one backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 1 && l.Timeout == 600 })
		w.service("new", with(settings.NodeCount, "2"))
		w.later(10 * time.Minute)
		w.only()
	})
}

func TestNoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		for _, name := range []string{"node-0", "node-1"} {
			w.editNode(name, ready(false))
		}
		w.later(time.Hour)
		if lb := w.truth(lb.ID); !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("no Node is ready: the news of them is what is broken, but the backends are %v", lb.Instances)
		}
		for _, name := range []string{"node-0", "node-1"} {
			w.editNode(name, func(n *v1.Node) { n.Labels[v1.LabelNodeExcludeBalancers] = "" })
		}
		w.wantEvent("UnAvailableLoadBalancer")
		w.edit(s, with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		if lb := w.truth(lb.ID); !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("the last backends are kept for a while: %v", lb.Instances)
		}
		w.within(6*time.Minute, "the grace ends", func() bool { return len(w.truth(lb.ID).Instances) == 0 })
		w.editNode("node-0", func(n *v1.Node) { delete(n.Labels, v1.LabelNodeExcludeBalancers) })
		w.shows(lb.ID, "has one backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 1 })
	})
}

// A load balancer that never becomes active costs little, and people are told.
func TestPendingForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *simtest.Options, _ *servicelb.Config) { o.Config.Delays.LoadBalancer = 48 * time.Hour })
		w.service("web")
		w.wantEvent("LoadBalancerLate")
		before := w.calls()
		w.later(24 * time.Hour)
		if n := w.calls() - before; n > 2200 {
			t.Errorf("%d requests in a day", n)
		}
		if has(w.events(), "LoadBalancerLate") {
			t.Error("told again")
		}
	})
}

// A look by its ID that fails says nothing about a load balancer that lists do not show.
func TestFailedLookIsNotAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"load_balancers.list": time.Hour, "load_balancers.get": time.Millisecond}))
		s := w.service("web")
		w.settled(s)
		w.later(5 * time.Minute)
		w.cloud.Fault(simulator.Fault{Operation: "get_load_balancer", Action: simulator.FaultStatus, Status: http.StatusInternalServerError})
		w.edit(s, with(settings.Timeout, "30"))
		w.later(15 * time.Minute)
		w.deleting(s)
		w.later(15 * time.Minute)
		if !servicehelper.HasLBFinalizer(w.fresh(s)) {
			t.Error("the finalizer is gone, the load balancer is not")
		}
		w.only()
		w.cloud.Sim.ClearFaults()
		w.eventually("it is deleted", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
		w.none()
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
	})
}
