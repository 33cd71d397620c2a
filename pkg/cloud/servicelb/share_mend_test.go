package servicelb_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The Service that has the load balancer is replaced by another one of its name, and label: the others keep the load balancer with
// its address, and the new one joins them, whether or not the old one was released as it should be.
func TestHostIsReplacedUnderItsName(t *testing.T) {
	for name, replace := range map[string]func(w *world, s *v1.Service, again func() *v1.Service) *v1.Service{
		"deleted": func(w *world, s *v1.Service, again func() *v1.Service) *v1.Service {
			w.delete(s)
			return again()
		},
		"without its finalizer": func(w *world, s *v1.Service, again func() *v1.Service) *v1.Service {
			w.vanish(s)
			return again()
		},
		"while a watch was broken, which shows one change": func(w *world, s *v1.Service, _ func() *v1.Service) *v1.Service {
			w.edit(s, on(80, 31080), without(settings.ID), func(s *v1.Service) {
				s.UID, s.Finalizers, s.Status = "99999999-43b6-4d94-b8f5-1c5c0e0a3c11", nil, v1.ServiceStatus{}
			})
			return w.fresh(s)
		},
		"while no controller ran": func(w *world, s *v1.Service, again func() *v1.Service) *v1.Service {
			w.stop()
			w.vanish(s)
			fresh := again()
			w.start()
			return fresh
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				w.later(10 * time.Minute)
				again := replace(w, first, func() *v1.Service { return w.service("first", www, on(80, 31080)) })
				if now := w.share("443:30443 80:31080", again, second); now.ID != lb.ID {
					t.Errorf("another load balancer: %+v", now)
				}
				w.later(10 * time.Minute)
				if entry := w.entry(second); entry.ID != lb.ID || entry.Guests != ledger.MembersOf(again.UID) || w.entry(first).ID != "" {
					t.Errorf("ledger %+v, of the first %+v", entry, w.entry(first))
				}
				w.addMachine("node-9")
				w.shows(lb.ID, "has the new backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 3 })
				w.delete(second)
				w.share("80:31080", again)
				w.delete(again)
				w.none()
				if w.posts() != 1 {
					t.Errorf("%d requests to make one", w.posts())
				}
			})
		})
	}
}

// The same while the load balancer is being made, when nothing but the record says whose it is: no second one is made.
func TestHostIsReplacedWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
		w.eventually("it is being made", func() bool { return w.entry(first).Guests.Has(second.UID) && w.entry(first).ID != "" })
		w.vanish(first)
		again := w.service("first", www, on(80, 31080))
		w.share("443:30443 80:31080", again, second)
		w.later(20 * time.Minute)
		w.share("443:30443 80:31080", again, second)
		if n := w.posts(); n != 1 || w.cloud.Count("delete_load_balancer") != 0 {
			t.Errorf("%d requests to make one", n)
		}
		w.delete(again)
		w.delete(second)
		w.none()
	})
}

// A process has died between the two records of a load balancer that was handed over, and the one who was about to leave stays after
// all. One of the two has it, both are served, and it is not changed back and forth.
func TestHalfHandedOverAndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var watch atomic.Bool
		tap := func() {
			w.startWith(&tapped{API: w.newClient(w.cloud.Key), update: func(_ context.Context, s vultr.LoadBalancerSettings, do func() error) error {
				if watch.Load() && s.Rules != nil && len(*s.Rules) < 3 {
					t.Errorf("a change takes rules away: %+v", *s.Rules)
				}
				return do()
			}})
		}
		tap()
		first, second, lb := w.pair()
		third := w.service("third", www, on(8080, 32080))
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		w.later(10 * time.Minute)
		w.stop()
		moved := w.entry(first)
		moved.Service, moved.Guests = "shop/second", ledger.MembersOf(first.UID, third.UID)
		w.writeEntry(second, moved)
		watch.Store(true)
		before := w.writes()
		tap()
		w.later(time.Hour)
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d changes though nobody has asked for any", n)
		}
		if entry := w.entry(first); entry.ID != lb.ID || entry.Guests != ledger.MembersOf(second.UID, third.UID) || w.entry(second).ID != "" {
			t.Errorf("ledger %+v, of the second %+v", entry, w.entry(second))
		}
		watch.Store(false)
		for _, s := range []*v1.Service{first, second, third} {
			w.delete(s)
		}
		w.none()
	})
}

// The same after the host had vanished: its record is left beside the one of the heir. Who leaves afterwards does not take the load
// balancer along by that, nor does the record outlive it.
func TestHalfInherited(t *testing.T) {
	for name, leave := range map[string]func(w *world, heir, s *v1.Service){
		"takes another label": func(w *world, _, s *v1.Service) { w.edit(s, with(settings.Label, "other")) },
		"had left before": func(w *world, heir, s *v1.Service) {
			entry := w.entry(heir)
			entry.Guests, entry.Group = "", ""
			w.writeEntry(heir, entry)
			w.edit(s, with(settings.Label, "other"), without(settings.ID), func(s *v1.Service) { s.Status = v1.ServiceStatus{} })
		},
		"is deleted": func(w *world, _, s *v1.Service) { w.deleting(s) },
		"stays":      func(*world, *v1.Service, *v1.Service) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				third := w.service("third", www, on(8080, 32080))
				w.share("443:30443 8080:32080 80:30080", first, second, third)
				w.later(10 * time.Minute)
				left := w.entry(first)
				w.vanish(first)
				w.share("443:30443 8080:32080", second, third)
				w.later(10 * time.Minute)
				w.stop()
				w.writeEntry(first, left) // what the first process had not come to take away
				leave(w, second, third)
				w.start()
				w.later(20 * time.Minute)
				ports, guests := "443:30443", ledger.Members("")
				if name == "stays" {
					ports, guests = "443:30443 8080:32080", ledger.MembersOf(third.UID)
				}
				if now := w.truth(lb.ID); leads(now) != ports {
					t.Errorf("it leads to %s", leads(now))
				}
				if entry := w.entry(second); entry.ID != lb.ID || entry.Guests != guests || w.entry(first).ID != "" {
					t.Errorf("ledger %+v, of the first %+v", entry, w.entry(first))
				}
				if ingress := w.fresh(second).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 {
					t.Errorf("the one who stays has %+v", ingress)
				}
				if name == "takes another label" || name == "had left before" {
					if own := w.entry(third); own.ID == "" || own.ID == lb.ID || own.Guests != "" {
						t.Errorf("the one who leaves has %+v", own)
					}
				}
				if name == "is deleted" {
					w.finalizerGone(third, time.Minute)
				}
				if w.cloud.Count("delete_load_balancer") != 0 {
					t.Error("one was deleted")
				}
			})
		})
	}
}

// The record of a load balancer that was handed over cannot be taken away for a while, and meanwhile its Service comes back to the
// label. Nobody loses a port.
func TestComesBackWhileItIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		w.later(10 * time.Minute)
		w.stop()
		moved := w.entry(first)
		moved.Service, moved.Guests = "shop/second", ledger.MembersOf(first.UID)
		w.writeEntry(second, moved)
		w.edit(first, with(settings.Label, "other"))
		w.start()
		w.later(700 * time.Millisecond) // in the middle of whatever follows
		w.edit(first, www)
		w.later(20 * time.Minute)
		if now := w.share("443:30443 80:30080", first, second); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
		if w.entry(first).ID == lb.ID && w.entry(second).ID == lb.ID {
			t.Error("it is written down for both")
		}
		for _, s := range []*v1.Service{first, second} {
			w.delete(s)
		}
		w.none()
	})
}

// Two controllers at once, without leader election, make one load balancer for those that share it, and let them join and leave
// without a second one, a loss or a deletion.
func TestTwoControllersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stopFirst := w.stop
		w.stop = func() {}
		w.start()
		stopSecond := w.stop
		w.stop = func() { stopFirst(); stopSecond() }
		w.later(10 * time.Minute)
		first, second, lb := w.pair()
		third := w.service("third", www, on(8080, 32080))
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		w.later(10 * time.Minute)
		w.delete(first)
		if now := w.share("443:30443 8080:32080", second, third); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
		w.edit(third, also(8081, 32081))
		w.share("443:30443 8080:32080 8081:32081", second, third)
		w.later(10 * time.Minute)
		if n := w.cloud.Count("delete_load_balancer"); w.posts() != 1 || n != 0 {
			t.Errorf("%d requests to make one, %d to delete one", w.posts(), n)
		}
		entries := []ledger.Entry{w.entry(first), w.entry(second), w.entry(third)}
		if entries[0].ID != "" || (entries[1].ID == "") == (entries[2].ID == "") {
			t.Errorf("ledger %+v", entries)
		}
		w.delete(second)
		w.delete(third)
		w.none()
	})
}

// All that share a load balancer take another label at once: they go on sharing it, and none loses its address, not even for a moment.
func TestGroupIsRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		third := w.service("third", www, on(8080, 32080))
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		w.later(10 * time.Minute)
		before := w.writes()
		for _, s := range []*v1.Service{first, second, third} {
			w.edit(s, with(settings.Label, "shop"))
		}
		for range 600 {
			w.later(250 * time.Millisecond)
			for _, s := range []*v1.Service{first, second, third} {
				if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 {
					t.Fatalf("%s has %+v", s.Name, ingress)
				}
			}
		}
		if now := w.truth(lb.ID); now.Label != "shop" || leads(now) != "443:30443 8080:32080 80:30080" {
			t.Errorf("%q leads to %s", now.Label, leads(now))
		}
		if n := w.writes() - before; n != 1 {
			t.Errorf("%d changes, want the one of the name", n)
		}
		if entry := w.entry(first); entry.Group != "shop" || entry.Guests != ledger.MembersOf(second.UID, third.UID) {
			t.Errorf("ledger %+v", entry)
		}
	})
}

// The load balancer was deleted on the platform, which makes no other one. Who leaves does not wait for that.
func TestGuestLeavesWhileNoneIsMade(t *testing.T) {
	for name, leave := range map[string]func(w *world, s *v1.Service){
		"deleted": func(w *world, s *v1.Service) { w.deleting(s) },
		"another type": func(w *world, s *v1.Service) {
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, drifting)
				first, second, lb := w.pair()
				w.later(10 * time.Minute)
				w.faulty("create_load_balancer", http.StatusBadRequest, `{"error":"Your account has reached its limit of load balancers.","status":400}`)
				if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
					t.Fatal(err)
				}
				w.wantEvent("has reached its limit of load balancers")
				third := w.service("third", www, on(444, 30444))
				leave(w, second)
				w.finalizerGone(second, 20*time.Minute)
				if fresh := w.fresh(second); fresh.DeletionTimestamp == nil && len(fresh.Status.LoadBalancer.Ingress) > 0 {
					t.Errorf("it still has the address of nothing: %+v", fresh.Status)
				}
				w.cloud.Sim.ClearFaults()
				lb = w.share("444:30444 80:30080", first, third)
				if entry := w.entry(first); entry.Guests != ledger.MembersOf(third.UID) {
					t.Errorf("ledger %+v", entry)
				}
				w.eventually("who came meanwhile is told what it shares", func() bool { return w.fresh(third).Annotations[string(settings.ID)] == lb.ID })
			})
		})
	}
}

// A controller that was replaced in the middle of a request writes down what its load balancer is shared by when another one has read
// the record already. That one learns of it before it releases anybody: the load balancer stays with those that are left.
func TestSharedByTheControllerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(10 * time.Minute) // whatever was made before this process began is shown
		lb := w.existing("www", behind(w.ids...), func(s *vultr.LoadBalancerSettings) {
			s.Rules = &[]vultr.ForwardingRule{
				{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080},
				{FrontendProtocol: "tcp", FrontendPort: 443, BackendProtocol: "tcp", BackendPort: 30443},
			}
		})
		delete(w.ignored, lb.ID)
		first := w.service("first", www, on(80, 30080), with(settings.Create, "false"))
		second := w.service("second", www, on(443, 30443), with(settings.Create, "false"))
		text, err := json.Marshal(ledger.Entry{Service: "shop/first", ID: lb.ID, Shown: true, Guests: ledger.MembersOf(second.UID), Group: "www"})
		if err != nil {
			t.Fatal(err)
		}
		w.add(&v1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(first.UID)},
			Data:       map[string]string{string(first.UID): string(text), "writer": "another/1"},
		})
		theirs := func(s *v1.Service) {
			delete(s.Annotations, string(settings.Create))
			s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4}}
		}
		w.edit(first, theirs, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.edit(second, theirs)
		w.finalizerGone(first, 20*time.Minute)
		w.share("443:30443", second)
		if n := w.cloud.Count("delete_load_balancer"); n != 0 {
			t.Errorf("%d requests to delete one", n)
		}
		if entry := w.entry(second); entry.ID != lb.ID {
			t.Errorf("ledger %+v", entry)
		}
	})
}

// A Service leaves it to another one to make the load balancer, which becomes the guest of a third one that this one was not to share
// with, for the ID that it names. It is not forgotten: nothing has that ID, so it joins them.
func TestWhoWasLeftOutLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var refuses atomic.Bool
		refuses.Store(true)
		w.startWith(&tapped{API: w.newClient(w.cloud.Key), create: func(_ context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
			if refuses.Load() {
				return vultr.LoadBalancer{}, &vultr.Error{Op: "make load balancer", Status: http.StatusBadRequest, Message: "Out of stock."}
			}
			return do()
		}})
		first := w.service("first", www, on(80, 30080), aged(3*time.Hour), with(settings.ID, "dddddddd-66fd-4dfb-b839-443f2e6c0b60"))
		second := w.service("second", www, on(81, 30081), aged(2*time.Hour))
		third := w.service("third", www, on(82, 30082), aged(time.Hour), with(settings.ID, "dddddddd-66fd-4dfb-b839-443f2e6c0b61"))
		w.later(time.Minute)
		refuses.Store(false)
		w.later(20 * time.Minute)
		w.share("80:30080 81:30081 82:30082", first, second, third)
		if w.posts() != 1 {
			t.Errorf("%d requests to make one", w.posts())
		}
	})
}
