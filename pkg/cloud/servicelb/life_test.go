package servicelb_test

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		status := w.fresh(s).Status.LoadBalancer
		if len(status.Ingress) != 1 || status.Ingress[0].IP != lb.IPv4 || lb.IPv4 == "" || status.Ingress[0].Hostname != lb.Label {
			t.Errorf("status %+v of %+v", status, lb)
		}
		if lb.Label != cloudprovider.DefaultLoadBalancerName(s) || !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("label %q, instances %v", lb.Label, lb.Instances)
		}
		if fresh := w.fresh(s); fresh.Annotations[string(settings.ID)] != lb.ID || !servicehelper.HasLBFinalizer(fresh) {
			t.Errorf("annotations %v, finalizers %v", fresh.Annotations, fresh.Finalizers)
		}
		if entry := w.entry(s); entry.ID != lb.ID || entry.Service != "shop/web" || entry.Address != lb.IPv4 || !entry.Tried.IsZero() {
			t.Errorf("ledger: %+v", entry)
		}

		before := w.writes()
		w.start()
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes to a load balancer that is as asked for", n)
		}

		w.editNode("node-1", ready(false))
		w.shows(lb.ID, "has one backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 1 })
		w.wantEvent("UpdatedLoadBalancer")
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.shows(lb.ID, "admits one range", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 1 })
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.shows(lb.ID, "admits everybody", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 0 })
		if n := w.writes() - before; n != 3 {
			t.Errorf("%d writes for three changes", n)
		}

		w.delete(s)
		w.none()
		if entry := w.entry(s); entry.ID != "" {
			t.Errorf("the ledger keeps %+v", entry)
		}
	})
}

// The platform does the work, but the answer is lost, or comes as an error that says nothing.
func TestLostAnswer(t *testing.T) {
	faults := map[string]simulator.Fault{
		"answer lost":         {Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1},
		"work done, then 503": {Operation: "create_load_balancer", Action: simulator.FaultStatusAfter, Status: http.StatusServiceUnavailable, Times: 1},
		"request lost":        {Operation: "create_load_balancer", Action: simulator.FaultResetBefore, Times: 1},
		"500":                 {Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: http.StatusInternalServerError, Times: 1},
	}
	lags := map[string]simulator.ReadLags{
		"fresh reads":        nil,
		"reads a minute old": {"all": time.Minute},
	}
	for name, fault := range faults {
		for lag, readLags := range lags {
			t.Run(name+", "+lag, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, lagging(readLags))
					w.cloud.Fault(fault)
					s := w.service("web")
					w.wantEvent("CreateOutcomeUnknown")
					w.settled(s)
					w.only()
					made := fault.Action == simulator.FaultResetAfter || fault.Action == simulator.FaultStatusAfter
					if want := map[bool]int{true: 1, false: 2}[made]; w.posts() != want {
						t.Errorf("%d requests to make one, want %d", w.posts(), want)
					}
					w.delete(s)
					w.later(10 * time.Minute)
					w.none()
				})
			})
		}
	}
}

// One Service, one load balancer, however late reads show it.
func TestLateReads(t *testing.T) {
	tests := map[string]simulator.ReadLags{
		"lists 2 s":                 {"load_balancers.list": 2 * time.Second},
		"gets 2 s":                  {"load_balancers.get": 2 * time.Second},
		"all 1 s":                   {"all": time.Second},
		"all 10 s":                  {"all": 10 * time.Second},
		"all 60 s":                  {"all": time.Minute},
		"all 120 s":                 {"all": 2 * time.Minute},
		"gets 120 s, lists at once": {"load_balancers.get": 2 * time.Minute, "load_balancers.list": time.Millisecond},
		"lists 120 s, gets at once": {"load_balancers.list": 2 * time.Minute, "load_balancers.get": time.Millisecond},
	}
	for name, lags := range tests {
		for _, restarted := range []bool{false, true} {
			if restarted {
				name += ", another process takes over"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, lagging(lags))
					s := w.service("web")
					w.eventually("a load balancer is made", func() bool { return len(w.all()) == 1 })
					if restarted {
						w.start()
					}
					for i := range 60 { // every change wakes the sync up
						w.later(2 * time.Second)
						w.edit(s, with(settings.Timeout, strconv.Itoa(100+i)))
						if n := len(w.all()); n != 1 {
							t.Fatalf("%d load balancers", n)
						}
					}
					w.edit(s, with(settings.Timeout, "333"))
					lb := w.settled(s)
					w.later(10 * time.Minute)
					if got := w.only(); got.ID != lb.ID {
						t.Errorf("another load balancer %+v", got)
					}
					if n := w.posts(); n != 1 {
						t.Errorf("%d requests to make one", n)
					}
					w.delete(s)
					w.later(5 * time.Minute)
					w.none()
				})
			})
		}
	}
}

// A change that takes the last one back is sent, though reads still show the load balancer as it was before both.
func TestChangeAndBackUnderLateReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": 30 * time.Second}))
		s := w.service("web")
		lb := w.settled(s)
		w.later(5 * time.Minute)
		before := w.writes()
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.eventually("the range is sent", func() bool { return w.writes()-before == 1 })
		w.later(5 * time.Second)
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.eventually("its removal is sent", func() bool { return w.writes()-before == 2 })
		w.later(30 * time.Minute)
		if n := w.writes() - before; n != 2 {
			t.Errorf("%d writes for two changes", n)
		}
		if has(w.events(), "LoadBalancerDrifted") {
			t.Error("a read that lags is no drift")
		}
		if err := w.cloud.Sim.SetReadLags(simulator.NoReadLag()); err != nil {
			t.Fatal(err)
		}
		w.blind = false
		if lb := w.truth(lb.ID); len(lb.Firewall) > 0 {
			t.Errorf("firewall %v", lb.Firewall)
		}
	})
}

// What is wrong on the platform is mended, and told.
func TestDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.events()
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Rules: &[]vultr.ForwardingRule{}}); err != nil {
			t.Fatal(err)
		}
		w.within(6*time.Minute, "the rules come back", func() bool { return len(w.truth(lb.ID).Rules) == 1 })
		w.wantEvent("LoadBalancerDrifted")

		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.existing("takes the address that was set free")
		w.within(7*time.Minute, "another one is made", func() bool {
			all := w.all()
			return len(all) == 1 && all[0].ID != lb.ID
		})
		w.wantEvent(lb.ID + " (" + lb.IPv4 + ") does not exist any more")
		w.eventually("the Service has the new address", func() bool {
			ingress := w.fresh(s).Status.LoadBalancer.Ingress
			return len(ingress) == 1 && ingress[0].IP == w.only().IPv4
		})
		w.wantEvent("The address of the load balancer was " + lb.IPv4)
	})
}
