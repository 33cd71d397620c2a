package servicelb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// on gives a Service one port, on a node port of its own.
func on(port, nodePort int32) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Ports = []v1.ServicePort{{Name: fmt.Sprint(port), Port: port, NodePort: nodePort, Protocol: v1.ProtocolTCP}}
	}
}

// also gives it one more.
func also(port, nodePort int32) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: fmt.Sprint(port), Port: port, NodePort: nodePort, Protocol: v1.ProtocolTCP})
	}
}

// aged makes a Service this much older than one that is made now.
func aged(d time.Duration) func(*v1.Service) {
	return func(s *v1.Service) { s.CreationTimestamp = metav1.NewTime(time.Now().Add(-d)) }
}

var www = with(settings.Label, "www")

// leads returns where the ports of a load balancer lead: "80:30080 443:31443".
func leads(lb vultr.LoadBalancer) string {
	var all []string
	for _, rule := range lb.Rules {
		all = append(all, fmt.Sprintf("%d:%d", rule.FrontendPort, rule.BackendPort))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// share waits until the Services have the address of the one load balancer that there is, and until it leads where it should.
func (w *world) share(ports string, all ...*v1.Service) vultr.LoadBalancer {
	w.Helper()
	var lb vultr.LoadBalancer
	w.eventually("all have one load balancer that leads to "+ports, func() bool {
		lbs := w.all()
		if len(lbs) != 1 || leads(lbs[0]) != ports {
			return false
		}
		lb = lbs[0]
		return !slices.ContainsFunc(all, func(s *v1.Service) bool {
			ingress := w.fresh(s).Status.LoadBalancer.Ingress
			return len(ingress) != 1 || ingress[0].IP == "" || ingress[0].IP != lb.IPv4
		})
	})
	return lb
}

// pair returns two Services on one load balancer, the older one with port 80 and the younger one with 443.
func (w *world) pair() (first, second *v1.Service, lb vultr.LoadBalancer) {
	w.Helper()
	first, second = w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
	return first, second, w.share("443:30443 80:30080", first, second)
}

// Services with one label share a load balancer, which is made by one request, and cost nothing while nothing changes.
func TestGroupOneLoadBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var all []*v1.Service
		for i := range int32(5) {
			all = append(all, w.service(fmt.Sprintf("s%d", i), www, on(80+i, 30080+i)))
		}
		lb := w.share("80:30080 81:30081 82:30082 83:30083 84:30084", all...)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
		w.shows(lb.ID, "has the label", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
		w.later(time.Minute)
		entry := w.entry(all[0])
		if entry.ID != lb.ID || entry.Group != "www" || len(entry.Guests.List()) != 4 {
			t.Errorf("ledger %+v", entry)
		}
		for _, s := range all {
			fresh := w.fresh(s)
			if fresh.Annotations[string(settings.ID)] != lb.ID || !servicehelper.HasLBFinalizer(fresh) {
				t.Errorf("%s: annotations %v, finalizers %v", s.Name, fresh.Annotations, fresh.Finalizers)
			}
			if guest := w.entry(s); s.UID != all[0].UID && guest.ID != "" {
				t.Errorf("%s has an entry: %+v", s.Name, guest)
			}
		}
		if events := w.events(); count(events, "LoadBalancerShared") != 4 || count(events, "EnsuredLoadBalancer") != 5 || has(events, "Warning") {
			t.Errorf("events %q", events)
		}
		before := w.writes()
		w.later(time.Hour)
		w.start()
		w.later(time.Hour)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes though nothing changed", n)
		}
		if has(w.events(), "Warning") {
			t.Error("a Warning though nothing changed")
		}
	})
}

// One joins a load balancer that serves, and no connection is lost: rules only come.
func TestGuestJoinsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", www, on(80, 30080))
		lb := w.settled(first)
		w.later(10 * time.Minute)
		before := w.writes()
		second := w.service("second", www, on(443, 30443))
		if now := w.share("443:30443 80:30080", first, second); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
		if n := w.writes() - before; n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// Changes of several Services that come together are one change of the load balancer.
func TestBatchIsOnePatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		third := w.service("third", www, on(8080, 32080))
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		w.later(10 * time.Minute)
		before := w.writes()
		w.edit(first, also(81, 30081))
		w.edit(second, also(444, 30444), func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.edit(third, on(8081, 32081))
		w.shows(lb.ID, "has all ports", func(l vultr.LoadBalancer) bool {
			return leads(l) == "443:30443 444:30444 8081:32081 80:30080 81:30081"
		})
		w.later(10 * time.Minute)
		if n := w.writes() - before; n != 1 {
			t.Errorf("%d writes", n)
		}
	})
}

// Two want one port: it stays with whoever had it first, also if that is the younger one; the other one is told, and gets it
// when it is free.
func TestGroupPortConflict(t *testing.T) {
	for name, youngerFirst := range map[string]bool{"the older one has it": false, "the younger one has it": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second := w.service("first", www, on(80, 30080), aged(time.Hour)), w.service("second", www, on(443, 30443))
				w.share("443:30443 80:30080", first, second)
				winner, loser, stays := first, second, "443:30443 80:30080"
				add, taken := also(80, 31080), "80/TCP (Service shop/first has it)"
				if youngerFirst {
					winner, loser = second, first
					add, taken = also(443, 31443), "443/TCP (Service shop/second has it)"
				}
				w.edit(loser, add)
				w.wantEvent(taken)
				w.eventually("its status says which port is not forwarded", func() bool {
					ports := w.fresh(loser).Status.LoadBalancer.Ingress[0].Ports
					return len(ports) == 2 && ports[0].Error == nil && ports[1].Error != nil && *ports[1].Error == plan.PortError
				})
				w.start()
				w.later(time.Hour)
				w.share(stays, first, second)
				if n := count(w.events(), "LoadBalancerPortTaken"); n != 1 {
					t.Errorf("told %d times by the next process", n)
				}
				w.edit(winner, on(8080, 32080))
				if youngerFirst {
					w.share("443:31443 8080:32080 80:30080", first, second)
				} else {
					w.share("443:30443 8080:32080 80:31080", first, second)
				}
				w.eventually("its status has no fault any more", func() bool { return len(w.fresh(loser).Status.LoadBalancer.Ingress[0].Ports) == 0 })
			})
		})
	}
}

// A port too many is told to the owner of the Service that asks for it; all others stay.
func TestSixteenthPortOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		for i := range int32(13) {
			w.edit(first, also(100+i, 30100+i))
		}
		w.shows(lb.ID, "has 15 ports", func(l vultr.LoadBalancer) bool { return len(l.Rules) == 15 })
		w.later(time.Minute)
		w.events()
		w.edit(second, also(8443, 31443))
		w.wantEvent("8443/TCP (the load balancer forwards 15 ports already")
		w.later(10 * time.Minute)
		if now := w.truth(lb.ID); len(now.Rules) != 15 || !strings.Contains(leads(now), "443:30443") || strings.Contains(leads(now), "8443") {
			t.Errorf("it leads to %s", leads(now))
		}
	})
}

// The ranges of one Service do not close the ports of the other, and when they go, all is open as before.
func TestRangesOfOneDontCloseTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, second, lb := w.pair()
		w.edit(second, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		want := []vultr.FirewallRule{
			{Port: 80, Source: "0.0.0.0/0", IPType: "v4"}, {Port: 80, Source: "::/0", IPType: "v6"}, {Port: 443, Source: "10.0.0.0/8", IPType: "v4"},
		}
		w.shows(lb.ID, "admits everybody to the other's port", func(l vultr.LoadBalancer) bool {
			return len(l.Firewall) == 3 && !slices.ContainsFunc(want, func(rule vultr.FirewallRule) bool { return !slices.Contains(l.Firewall, rule) })
		})
		w.edit(second, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.shows(lb.ID, "admits everybody", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 0 })
	})
}

// The oldest Service says what the load balancer has once for all. When it goes, the next one does.
func TestLeaderOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", www, on(80, 30080), with(settings.Timeout, "30"))
		second := w.service("second", www, on(443, 30443), with(settings.Timeout, "40"))
		lb := w.share("443:30443 80:30080", first, second)
		if lb.Timeout != 30 || lb.HealthCheck.Port != 30080 {
			t.Errorf("%+v", lb)
		}
		w.wantEvent("LoadBalancerSharedSetting Load balancer " + lb.ID + ", which the Service shares, has these settings once for all, as Service shop/first asks for: timeout")
		w.delete(first)
		w.shows(lb.ID, "is as the second asks for", func(l vultr.LoadBalancer) bool { return l.Timeout == 40 && l.HealthCheck.Port == 30443 })
	})
}

// The one who has the load balancer goes, or wants none of it any more: the others keep it, with its address.
func TestHostLeaves(t *testing.T) {
	for name, leave := range map[string]func(w *world, s *v1.Service){
		"deleted": func(w *world, s *v1.Service) { w.delete(s) },
		"another type": func(w *world, s *v1.Service) {
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
			w.finalizerGone(s, time.Minute)
			if fresh := w.fresh(s); len(fresh.Status.LoadBalancer.Ingress) > 0 || fresh.Annotations[string(settings.ID)] != "" {
				w.Errorf("status %+v, annotations %v", fresh.Status, fresh.Annotations)
			}
		},
		"another type, without the finalizer": func(w *world, s *v1.Service) {
			w.edit(s, func(s *v1.Service) { s.Finalizers, s.Spec.Type = nil, v1.ServiceTypeClusterIP })
		},
		"given up": func(w *world, s *v1.Service) { w.edit(s, with(settings.Create, "false")) },
		"vanished": func(w *world, s *v1.Service) { w.vanish(s) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				third := w.service("third", www, on(8080, 32080))
				w.share("443:30443 8080:32080 80:30080", first, second, third)
				w.later(10 * time.Minute)
				leave(w, first)
				if now := w.share("443:30443 8080:32080", second, third); now.ID != lb.ID {
					t.Errorf("another load balancer: %+v", now)
				}
				w.later(time.Minute)
				if entry := w.entry(second); entry.ID != lb.ID || entry.Guests != ledger.MembersOf(third.UID) || w.entry(first).ID != "" {
					t.Errorf("ledger %+v, of the first %+v", entry, w.entry(first))
				}
				w.start()
				w.later(time.Hour)
				if has(w.events(), "LoadBalancerOrphaned") || w.posts() != 1 || w.cloud.Count("delete_load_balancer") != 0 {
					t.Errorf("%d made, %d deleted", w.posts(), w.cloud.Count("delete_load_balancer"))
				}
				w.delete(third)
				w.share("443:30443", second)
				w.delete(second)
				w.none()
			})
		})
	}
}

// Who leaves waits until its ports are gone from the load balancer; that the platform refuses changes holds it up.
func TestGuestLeavesAfterItsPorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		w.later(time.Minute)
		w.cloud.Fault(simulator.Fault{Operation: "update_load_balancer", Action: simulator.FaultStatus, Status: 503, Times: 3})
		w.deleting(second)
		w.finalizerGone(second, 10*time.Minute)
		if got := leads(w.truth(lb.ID)); got != "80:30080" {
			t.Errorf("the Service is let go while its port is served: %s", got)
		}
		w.gone(second)
		w.later(10 * time.Minute)
		w.share("80:30080", first)
		if entry := w.entry(first); entry.Guests != "" || entry.Group != "" {
			t.Errorf("ledger %+v", entry)
		}
	})
}

// All are deleted at the same moment: the load balancer goes with the last one, and nothing is made or left.
func TestParallelDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, _ := w.pair()
		third := w.service("third", www, on(8080, 32080))
		all := []*v1.Service{first, second, third}
		w.share("443:30443 8080:32080 80:30080", all...)
		for _, s := range all {
			w.deleting(s)
		}
		for _, s := range all {
			w.finalizerGone(s, 2*time.Minute)
			w.gone(s)
		}
		w.none()
		w.later(10 * time.Minute)
		w.none()
		for _, s := range all {
			if entry := w.entry(s); entry.ID != "" || entry.Guests != "" {
				t.Errorf("ledger %+v", entry)
			}
		}
		if w.posts() != 1 || has(w.events(), "LoadBalancerOrphaned") {
			t.Errorf("%d made", w.posts())
		}
	})
}

// Two begin at the same moment, in any order in which the controller hears of them, and with reads that lag: one is made.
func TestTwoCreatorsAtOnce(t *testing.T) {
	for _, lag := range []time.Duration{time.Millisecond, 30 * time.Second} {
		for name, older := range map[string]bool{"the older one is heard of first": true, "the younger one is heard of first": false} {
			t.Run(fmt.Sprintf("%s, lag %s", name, lag), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, lagging(simulator.ReadLags{"all": lag}))
					a, b := aged(0), aged(time.Second)
					if older {
						a, b = b, a
					}
					first := w.service("first", www, on(80, 30080), a)
					w.later(100 * time.Millisecond)
					second := w.service("second", www, on(443, 30443), b)
					w.settled(first)
					w.settled(second)
					w.later(10 * time.Minute)
					if n := w.posts(); n != 1 || len(w.all()) != 1 {
						t.Errorf("%d requests, %d load balancers", n, len(w.all()))
					}
				})
			})
		}
	}
}

// The answer to the request is lost, and one of the two goes meanwhile: there is one load balancer, for the other.
func TestGroupOfALostAnswer(t *testing.T) {
	for name, action := range map[string]simulator.FaultAction{"done": simulator.FaultResetAfter, "not done": simulator.FaultResetBefore} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: action, Times: 1})
				first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
				w.wantEvent("CreateOutcomeUnknown")
				w.start()
				w.deleting(first)
				w.finalizerGone(first, 10*time.Minute)
				w.gone(first)
				w.share("443:30443", second)
				w.later(10 * time.Minute)
				w.share("443:30443", second)
			})
		})
	}
}

// The load balancer is deleted on the platform: another one is made for all, and each is told its new address.
func TestGroupIsRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		first, second, lb := w.pair()
		w.later(10 * time.Minute)
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.existing("takes the address that was set free")
		w.eventually("another one is made", func() bool { all := w.all(); return len(all) == 1 && all[0].ID != lb.ID })
		now := w.share("443:30443 80:30080", first, second)
		told := 0
		w.eventually("both are told", func() bool {
			told += count(w.events(), "The address of the load balancer was "+lb.IPv4)
			return told == 2
		})
		w.later(time.Minute)
		if id := w.fresh(second).Annotations[string(settings.ID)]; id != now.ID {
			t.Errorf("the second names %s, not %s", id, now.ID)
		}
	})
}

// Who takes another label leaves and gets a load balancer of its own; the others keep theirs.
func TestMemberTakesAnotherLabel(t *testing.T) {
	for name, hostLeaves := range map[string]bool{"the host": true, "a guest": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				w.later(10 * time.Minute)
				leaver, stays, ports := second, first, "80:30080"
				if hostLeaves {
					leaver, stays, ports = first, second, "443:30443"
				}
				w.edit(leaver, with(settings.Label, "other"))
				w.eventually("it has one of its own", func() bool { return len(w.all()) == 2 && w.entry(leaver).ID != "" })
				w.eventually("with its address", func() bool {
					ingress := w.fresh(leaver).Status.LoadBalancer.Ingress
					return len(ingress) == 1 && ingress[0].IP == w.truth(w.entry(leaver).ID).IPv4
				})
				if now := w.truth(lb.ID); leads(now) != ports || w.entry(stays).ID != lb.ID {
					t.Errorf("it leads to %s; ledger %+v", leads(now), w.entry(stays))
				}
				w.shows(w.entry(leaver).ID, "has its label", func(l vultr.LoadBalancer) bool { return l.Label == "other" })
				w.delete(leaver)
				w.share(ports, stays)
			})
		})
	}
}

// A Service that has a load balancer keeps it, and so its address, when it takes the label of another one.
func TestOwnAddressIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", www, on(80, 30080))
		w.settled(first)
		second := w.service("second", on(443, 30443))
		own := w.settled(second)
		w.edit(second, www)
		w.wantEvent("LabelTaken")
		w.later(time.Hour)
		if entry := w.entry(second); entry.ID != own.ID || len(w.all()) != 2 || leads(w.truth(own.ID)) != "443:30443" {
			t.Errorf("ledger %+v", entry)
		}
	})
}
