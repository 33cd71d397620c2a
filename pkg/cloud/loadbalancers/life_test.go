package loadbalancers_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/loadbalancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		if _, err := w.ensure(s); !isWait(err) {
			t.Fatalf("a load balancer that is being made is a reason to wait: %v", err)
		}
		status := w.settled(s)
		lb := w.only()
		if len(status.Ingress) != 1 || status.Ingress[0].IP != lb.IPv4 || lb.IPv4 == "" || status.Ingress[0].Hostname != lb.Label {
			t.Errorf("status %+v of %+v", status, lb)
		}
		if lb.Label != cloudprovider.DefaultLoadBalancerName(s) || !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("label %q, instances %v", lb.Label, lb.Instances)
		}
		notes := w.fresh(s).Annotations
		if notes[string(settings.ID)] != lb.ID || notes[string(settings.Owned)] != lb.ID {
			t.Errorf("annotations %v", notes)
		}

		before := w.writes()
		w.settled(s)
		w.restart()
		w.settled(s)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes to a load balancer that is as asked for", n)
		}

		w.nodes = w.nodes[:1]
		if err := w.lbs.UpdateLoadBalancer(t.Context(), "", s, w.nodes); err != nil {
			t.Fatal(err)
		}
		if lb = w.only(); len(lb.Instances) != 1 || w.writes()-before != 1 {
			t.Errorf("instances %v after %d writes", lb.Instances, w.writes()-before)
		}

		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.settled(s)
		if lb = w.only(); len(lb.Firewall) != 1 {
			t.Errorf("firewall %v", lb.Firewall)
		}
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.settled(s)
		if lb = w.only(); len(lb.Firewall) != 0 {
			t.Errorf("the last source range must really go: %v", lb.Firewall)
		}

		w.gone(s)
		if all := w.balancers(); len(all) > 0 {
			t.Errorf("left behind: %+v", all)
		}
		for operation, counter := range w.cloud.Sim.Counters() {
			t.Logf("%s: %d", operation, counter.Total)
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
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.cloud.Fault(fault)
				s := w.service("web")
				w.settled(s)
				w.only()
				w.wantEvent("CreateOutcomeUnknown")
				w.gone(s)
				if all := w.balancers(); len(all) > 0 {
					t.Errorf("left behind: %+v", all)
				}
			})
		})
	}
}

// The process dies while the platform has done the work and the answer is on its way; the next one knows nothing.
func TestKilledInCreate(t *testing.T) {
	for name, action := range map[string]simulator.FaultAction{"after the work": simulator.FaultHoldAfter, "before the work": simulator.FaultHoldBefore} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web")
				w.eventually("the guard trusts lists", func() bool {
					return w.config.Guard.Absent("x", timeNow()) == nil
				})
				hold := w.cloud.Hold("create_load_balancer", action)
				ctx, kill := context.WithCancel(t.Context())
				var died sync.WaitGroup
				dying := w.lbs
				died.Go(func() {
					if _, err := dying.EnsureLoadBalancer(ctx, "", s, w.nodes); err == nil {
						t.Error("a killed process finished")
					}
				})
				hold.Wait()
				kill()
				died.Wait()
				if action == simulator.FaultHoldBefore {
					hold.Release() // the platform goes on with the request although nobody waits for the answer
				}
				w.restart()
				w.settled(s)
				lb := w.only()
				if notes := w.fresh(s).Annotations; notes[string(settings.Owned)] != lb.ID {
					t.Errorf("annotations %v", notes)
				}
				w.gone(s)
				if all := w.balancers(); len(all) > 0 {
					t.Errorf("left behind: %+v", all)
				}
			})
		})
	}
}

// The Service is deleted before the next process has found what the last one made.
func TestKilledInCreateAndDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.eventually("the guard trusts lists", func() bool { return w.config.Guard.Absent("x", timeNow()) == nil })
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1})
		if _, err := w.ensure(s); err == nil {
			t.Fatal("a lost answer is no success")
		}
		w.restart()
		w.gone(s)
		if all := w.balancers(); len(all) > 0 {
			t.Errorf("left behind: %+v", all)
		}
	})
}

// Whatever goes wrong with reading: nothing is made, nothing is believed gone.
func TestFailureIsNotAbsence(t *testing.T) {
	for _, status := range []int{401, 403, 422, 500, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				made, fresh := w.service("made"), w.service("fresh")
				w.settled(made)
				lb := w.only()
				before := w.writes()
				w.cloud.Fault(simulator.Fault{Method: http.MethodGet, Path: "/load-balancers", Action: simulator.FaultStatus, Status: status})
				for _, s := range []*v1.Service{made, fresh} {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // reads are repeated until then
					if _, err := w.lbs.EnsureLoadBalancer(ctx, "", w.fresh(s), w.nodes); err == nil || isWait(err) {
						t.Errorf("ensure %s: %v", s.Name, err)
					}
					if _, exists, err := w.lbs.GetLoadBalancer(ctx, "", w.fresh(s)); err == nil {
						t.Errorf("get %s: exists %v", s.Name, exists)
					}
					if err := w.lbs.EnsureLoadBalancerDeleted(ctx, "", w.fresh(s)); err == nil {
						t.Errorf("delete %s: no error", s.Name)
					}
					cancel()
				}
				if n := w.writes() - before; n != 0 {
					t.Errorf("%d writes", n)
				}
				w.cloud.Sim.ClearFaults()
				if again := w.only(); again.ID != lb.ID {
					t.Errorf("another load balancer: %+v", again)
				}
			})
		})
	}
}

func TestDeletedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		old := w.only()
		if err := w.api.DeleteLoadBalancer(t.Context(), old.ID); err != nil {
			t.Fatal(err)
		}
		w.events()
		w.settled(s)
		if lb := w.only(); lb.ID == old.ID || w.fresh(s).Annotations[string(settings.ID)] != lb.ID {
			t.Errorf("%s, annotations %v", lb.ID, w.fresh(s).Annotations)
		}
		w.wantEvent(old.ID + " does not exist any more")
	})
}

// A Service that stays loses its notes with its load balancer, and may get another one later.
func TestNoLongerALoadBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Timeout, "30"))
		w.settled(s)
		first := w.only()
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		if err := w.lbs.EnsureLoadBalancerDeleted(t.Context(), "", w.fresh(s)); err != nil {
			t.Fatal(err)
		}
		if notes := w.fresh(s).Annotations; len(notes) != 1 || len(w.balancers()) != 0 {
			t.Errorf("annotations %v, load balancers %v", notes, w.balancers())
		}
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
		w.events()
		w.settled(s)
		if lb := w.only(); lb.ID == first.ID {
			t.Errorf("%+v", lb)
		}
		w.wantEvent("CreatingLoadBalancer")
	})
}

// Rules that somebody made by hand must not vanish because the Service does not name them.
func TestFirewallOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		rules := []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}
		if err := w.api.UpdateLoadBalancer(t.Context(), w.only().ID, vultr.LoadBalancerSettings{Firewall: &rules}); err != nil {
			t.Fatal(err)
		}
		w.events()
		w.settled(s)
		w.settled(s)
		if lb := w.only(); len(lb.Firewall) != 1 {
			t.Errorf("opened: %+v", lb.Firewall)
		}
		if all := w.events(); len(all) != 1 || !strings.Contains(all[0], "FirewallKept") {
			t.Errorf("events %q", all)
		}
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"} })
		w.settled(s)
		w.restart()
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.settled(s)
		if lb := w.only(); len(lb.Firewall) != 0 || w.fresh(s).Annotations[string(settings.FirewallManaged)] != "" {
			t.Errorf("the Service's own rules must go: %+v, %v", lb.Firewall, w.fresh(s).Annotations)
		}
	})
}

func TestDeleteUntilGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.cloud.Fault(simulator.Fault{
			Operation: "delete_load_balancer", Action: simulator.FaultStatus, Status: 400,
			Body: `{"error":"Load balancer is not ready.","status":400}`, Times: 2,
		})
		w.gone(s)
		if all := w.balancers(); len(all) > 0 {
			t.Errorf("left behind: %+v", all)
		}
		if n := w.cloud.Count("delete_load_balancer"); n != 3 {
			t.Errorf("%d attempts", n)
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.edit(s, with(settings.NodeCount, "3"))
		w.settled(s)
		w.edit(s, with(settings.Timeout, "30"))
		if _, err := w.ensure(s); err != nil && !isWait(err) { // the platform is still busy with the nodes
			t.Errorf("busy is a reason to wait: %v", err)
		}
		w.settled(s)
		if lb := w.only(); lb.Nodes != 3 || lb.Timeout != 30 {
			t.Errorf("%+v", lb)
		}
	})
}

// The library changes backends beside its queue: both ways at once must not fight.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := w.lbs.EnsureLoadBalancer(t.Context(), "", s, w.nodes); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := w.lbs.UpdateLoadBalancer(t.Context(), "", s, w.nodes[:1]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		w.only()
	})
}

func TestUnmanaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Create, "false"))
		if _, err := w.ensure(s); !errors.Is(err, cloudprovider.ImplementedElsewhere) {
			t.Errorf("ensure: %v", err)
		}
		if err := w.lbs.UpdateLoadBalancer(t.Context(), "", s, w.nodes); !errors.Is(err, cloudprovider.ImplementedElsewhere) {
			t.Errorf("update: %v", err)
		}
		w.gone(s)
		if n := len(w.cloud.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestManyOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		name := cloudprovider.DefaultLoadBalancerName(s)
		a, b := w.existing(name), w.existing(name)
		before := w.writes()
		_, err := w.ensure(s)
		if _, many := errors.AsType[*loadbalancers.ManyError](err); !many {
			t.Errorf("ensure: %v", err)
		}
		wantText(t, err, a.ID, b.ID, string(settings.ID))
		if err := w.lbs.EnsureLoadBalancerDeleted(t.Context(), "", s); err == nil {
			t.Error("one of two must not be deleted")
		}
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes", n)
		}
		w.edit(s, with(settings.ID, b.ID))
		w.settled(s)
		if lb, err := w.api.LoadBalancer(t.Context(), b.ID); err != nil || !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("%+v, %v", lb, err)
		}
	})
}

// A Service with faults still gets the backends that it needs.
func TestFaultsKeepServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.edit(s, with(settings.NodeCount, "many"), with(settings.Protocol, "gopher"), with(settings.Timeout, "30"))
		w.nodes = w.nodes[:1]
		_, err := w.ensure(s)
		wantText(t, err, `"many" must be a number`, `"gopher" must be one of`)
		if lb := w.only(); len(lb.Instances) != 1 || lb.Timeout != 600 {
			t.Errorf("%+v", lb)
		}
		fresh := w.service("new", with(settings.Protocol, "gopher"))
		_, err = w.ensure(fresh)
		for isWait(err) {
			_, err = w.ensure(fresh)
		}
		wantText(t, err, `"gopher" must be one of`)
		w.only()
	})
}

func TestNoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.events()
		w.nodes = nil
		w.edit(s, with(settings.Timeout, "30"))
		if _, err := w.ensure(s); !isWait(err) {
			t.Errorf("it must come back when the grace is over: %v", err)
		}
		if lb := w.only(); !slices.Equal(lb.Instances, w.ids) || lb.Timeout != 30 {
			t.Errorf("the last backends must be kept and the rest changed: %+v", lb)
		}
		w.wantEvent("NoBackends")
	})
}

// One machine that was just destroyed must not keep the others from being served.
func TestDestroyedBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		id := w.cloud.AddInstance(simulator.NewServer{Label: "node-9"})
		w.addNode("node-9", "vultr://"+id)
		w.addNode("young", "")
		w.addNode("stranger", "aws:///i-1")
		w.settled(s)
		want := slices.Sorted(slices.Values(append(slices.Clone(w.ids), id)))
		if lb := w.only(); !slices.Equal(lb.Instances, want) {
			t.Errorf("instances %v, want %v", lb.Instances, want)
		}
		w.wantEvent("stranger (not an instance of this cloud")
	})
}

func TestRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.cloud.Fault(simulator.Fault{Path: "/load-balancers", Action: simulator.FaultStatus, Status: 429, RetryAfter: 1, Times: 2})
		w.settled(s)
		w.only()
	})
}

var _ loadbalancers.API = (*vultr.Client)(nil)
