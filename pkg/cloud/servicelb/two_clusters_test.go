package servicelb_test

import (
	"context"
	"slices"
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

// neighbour returns another cluster in the same account, with machines of its own.
func (w *world) neighbour() *world {
	w.Helper()
	near := newCluster(w.T)
	near.cloud, near.api = w.cloud, w.api
	for _, name := range []string{"node-0", "node-1"} {
		near.removeNode(name)
	}
	near.ids = nil
	near.addMachine("near-0")
	near.addMachine("near-1")
	return near
}

// Two clusters in one account give their load balancers the same name. Each keeps to its own, also when it has lost that.
func TestTwoClustersGiveOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, drifting)
		near := w.neighbour()
		first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
		theirs := near.service("first", www, on(80, 30080))
		w.start()
		near.start()
		own := w.settled(first)
		other := near.settled(theirs)
		if own.ID == other.ID {
			t.Fatal("they have one load balancer")
		}
		w.ignored[other.ID], near.ignored[own.ID] = true, true
		w.share("443:30443 80:30080", first, second)
		w.shows(own.ID, "has the name", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
		w.shows(other.ID, "has the same name", func(l vultr.LoadBalancer) bool { return l.Label == "www" })
		w.later(10 * time.Minute)
		other = w.truth(other.ID)

		w.start()
		near.start()
		w.later(20 * time.Minute)
		w.untouched(other)
		w.share("443:30443 80:30080", first, second)

		if err := w.api.DeleteLoadBalancer(t.Context(), own.ID); err != nil {
			t.Fatal(err)
		}
		w.eventually("it is made again", func() bool { all := w.all(); return len(all) == 1 && all[0].ID != own.ID })
		w.share("443:30443 80:30080", first, second)
		w.later(20 * time.Minute)
		w.untouched(other)
		w.delete(first)
		w.delete(second)
		w.none()
		w.untouched(other)
		if ingress := near.fresh(theirs).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != other.IPv4 {
			t.Errorf("the other cluster's Service has %+v", ingress)
		}
	})
}

// A cluster that comes later does not take what has the name already, and says so; it gets its own by another name.
func TestNameOfAnotherCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, _, lb := w.pair()
		w.later(10 * time.Minute)
		lb = w.truth(lb.ID)
		near := w.neighbour()
		near.start()
		late, later := near.service("late", www, on(80, 30080)), near.service("later", www, on(443, 30443))
		near.wantEvent("which is left alone")
		near.later(time.Hour)
		w.untouched(lb)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
		near.ignored[lb.ID] = true
		near.edit(late, with(settings.Label, "near"))
		near.edit(later, with(settings.Label, "near"))
		near.share("443:30443 80:30080", late, later)
		near.delete(late)
		near.delete(later)
		near.none()
		w.untouched(lb)
	})
}

// A cluster that was restored from another one's backup, with Services that share a load balancer, neither changes nor deletes that,
// whatever is done to the Services; and it can be given up.
func TestRestoredClusterOfAGroup(t *testing.T) {
	for name, do := range map[string]func(clone *world, first, second *v1.Service){
		"nothing":              func(*world, *v1.Service, *v1.Service) {},
		"a node comes":         func(clone *world, _, _ *v1.Service) { clone.addMachine("clone-2") },
		"another port":         func(clone *world, _, second *v1.Service) { clone.edit(second, on(444, 30443)) },
		"the guest is deleted": func(clone *world, _, second *v1.Service) { clone.deleting(second) },
		"the host is deleted":  func(clone *world, first, _ *v1.Service) { clone.deleting(first) },
		"both are deleted": func(clone *world, first, second *v1.Service) {
			clone.deleting(first)
			clone.deleting(second)
		},
		"the host takes another label": func(clone *world, first, _ *v1.Service) { clone.edit(first, with(settings.Label, "other")) },
		"the host has vanished":        func(clone *world, first, _ *v1.Service) { clone.vanish(first) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				w.later(10 * time.Minute)
				lb = w.truth(lb.ID)
				clone := w.restored(first, second)
				before := w.writes()
				do(clone, first, second)
				clone.start()
				clone.wantEvent("as if this cluster was restored from another one's backup")
				w.later(time.Hour)
				if n := w.writes() - before; n > 0 {
					t.Errorf("%d writes", n)
				}
				w.untouched(lb)
				w.share("443:30443 80:30080", first, second)
				w.stop()
				var all []*v1.Service
				for _, s := range []*v1.Service{first, second} {
					if name != "the host has vanished" || s != first {
						clone.edit(s, with(settings.Create, "false"))
						all = append(all, s)
					}
				}
				clone.later(10 * time.Minute)
				for _, s := range all {
					if clone.fresh(s).DeletionTimestamp == nil {
						clone.deleting(s)
					}
				}
				for _, s := range all {
					clone.finalizerGone(s, 10*time.Minute)
				}
				if n := w.writes() - before; n > 0 {
					t.Errorf("%d writes when it was given up", n)
				}
				w.untouched(lb)
			})
		})
	}
}

// The key is of another account, in which nothing is of what Services share. Nothing is made there, nobody is released, and all is well
// with the right key.
func TestGroupAndAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		third := w.service("third", www, on(8080, 32080))
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		w.later(10 * time.Minute)
		other := newWorldOf(t, "another account")
		w.startWith(other.api)
		w.later(time.Minute)
		w.deleting(first)
		w.deleting(second)
		late := w.service("late", www, on(8081, 32081))
		w.later(time.Hour)
		if n := other.posts(); n != 0 || len(other.all()) != 0 {
			t.Errorf("%d made in the other account", n)
		}
		for _, s := range []*v1.Service{first, second} {
			if !servicehelper.HasLBFinalizer(w.fresh(s)) {
				t.Errorf("%s is let go, its ports are still forwarded", s.Name)
			}
		}
		if now := w.truth(lb.ID); leads(now) != "443:30443 8080:32080 80:30080" {
			t.Errorf("it leads to %s", leads(now))
		}
		w.start()
		w.finalizerGone(first, 20*time.Minute)
		w.finalizerGone(second, 20*time.Minute)
		w.gone(first)
		w.gone(second)
		if now := w.share("8080:32080 8081:32081", third, late); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
	})
}

// backup remembers what the API server has of these Services, and of load balancers. It returns what brings all of that back, and
// takes away what came since, while no controller runs.
func (w *world) backup(services ...*v1.Service) (restore func()) {
	w.Helper()
	maps := w.client.CoreV1().ConfigMaps(ledger.Namespace)
	ledgers, err := maps.List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	var copies []*v1.Service
	for _, s := range services {
		copies = append(copies, w.fresh(s).DeepCopy())
	}
	return func() {
		w.stop()
		now, err := maps.List(w.Context(), metav1.ListOptions{})
		if err != nil {
			w.Fatal(err)
		}
		for i := range now.Items {
			if err := maps.Delete(w.Context(), now.Items[i].Name, metav1.DeleteOptions{}); err != nil {
				w.Fatal(err)
			}
		}
		all, err := w.client.CoreV1().Services("").List(w.Context(), metav1.ListOptions{})
		if err != nil {
			w.Fatal(err)
		}
		for i := range all.Items {
			w.gone(&all.Items[i])
		}
		for i := range ledgers.Items {
			w.add(&ledgers.Items[i])
		}
		for _, s := range copies {
			w.add(s)
		}
	}
}

// The cluster's own API server is set back by some time: what Services share is found again, with its address, and nothing is made or
// deleted for it.
func TestClusterIsSetBack(t *testing.T) {
	for name, tt := range map[string]struct {
		// until is what happened before the backup, and since is what happened after it.
		until, since func(w *world, first, second *v1.Service)
		ports        string
	}{
		"to before the first sync": {
			until: func(*world, *v1.Service, *v1.Service) {},
			since: func(w *world, first, second *v1.Service) { w.start(); w.share("443:30443 80:30080", first, second) },
			ports: "443:30443 80:30080",
		},
		"to before a port came": {
			until: func(w *world, first, second *v1.Service) { w.start(); w.share("443:30443 80:30080", first, second) },
			since: func(w *world, first, second *v1.Service) {
				w.edit(second, on(443, 30443), also(444, 30444))
				w.share("443:30443 444:30444 80:30080", first, second)
			},
			ports: "443:30443 80:30080",
		},
		"to before the host left": {
			until: func(w *world, first, second *v1.Service) { w.start(); w.share("443:30443 80:30080", first, second) },
			since: func(w *world, first, second *v1.Service) { w.delete(first); w.share("443:30443", second) },
			ports: "443:30443 80:30080",
		},
		"to before the guest left": {
			until: func(w *world, first, second *v1.Service) { w.start(); w.share("443:30443 80:30080", first, second) },
			since: func(w *world, first, second *v1.Service) { w.delete(second); w.share("80:30080", first) },
			ports: "443:30443 80:30080",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
				tt.until(w, first, second)
				w.later(10 * time.Minute)
				restore := w.backup(first, second)
				tt.since(w, first, second)
				w.later(10 * time.Minute)
				lb := w.only()
				restore()
				w.start()
				if now := w.share(tt.ports, first, second); now.ID != lb.ID {
					t.Errorf("another load balancer: %+v", now)
				}
				w.later(20 * time.Minute)
				w.share(tt.ports, first, second)
				if w.posts() != 1 || w.cloud.Count("delete_load_balancer") != 0 {
					t.Errorf("%d made, %d deleted", w.posts(), w.cloud.Count("delete_load_balancer"))
				}
			})
		})
	}
}

// All Services are recreated under their names while the finalizers of the old ones were of no use. What the old ones shared is not
// taken without the administrator's word, since the new ones may be anybody's; by that word all of them have it.
func TestServicesOfAGroupAreRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		w.later(10 * time.Minute)
		lb = w.truth(lb.ID)
		w.stop()
		w.vanish(first)
		w.vanish(second)
		all := []*v1.Service{w.service("second", www, on(443, 30443)), w.service("first", www, on(80, 30080))}
		w.start()
		var events []string
		w.eventually("both things are told", func() bool {
			events = append(events, w.events()...)
			return has(events, "it belongs to another Service") && has(events, "LoadBalancerOrphaned")
		})
		w.later(time.Hour)
		w.untouched(lb)
		w.say(settings.AllowAdoption, lb.ID)
		if now := w.share("443:30443 80:30080", all...); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
		if w.entry(first).ID != "" || w.entry(second).ID != "" || w.posts() != 1 {
			t.Errorf("the old ones have %+v and %+v; %d made", w.entry(first), w.entry(second), w.posts())
		}
		holds := func(s *v1.Service) bool { return w.entry(s).ID == lb.ID }
		if i := slices.IndexFunc(all, holds); i < 0 || !w.entry(all[i]).Guests.Has(all[1-i].UID) {
			t.Errorf("ledger %+v and %+v", w.entry(all[0]), w.entry(all[1]))
		}
	})
}

// Nothing is written down any more of a load balancer that Services share, while no controller ran. It is found by what is in their
// status, which nobody but controllers can write, and no port goes, not even for a moment. It counts as taken over: nothing proves
// that it was made for one of them, so it is kept when they go.
func TestGroupLosesItsLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		third := w.service("third", www, on(8080, 32080))
		w.share("443:30443 8080:32080 80:30080", first, second, third)
		w.later(10 * time.Minute)
		w.stop()
		maps := w.client.CoreV1().ConfigMaps(ledger.Namespace)
		shards, err := maps.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range shards.Items {
			if err := maps.Delete(t.Context(), shards.Items[i].Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		w.startWith(&tapped{API: w.newClient(w.cloud.Key), update: func(_ context.Context, s vultr.LoadBalancerSettings, do func() error) error {
			if s.Rules != nil && len(*s.Rules) < 3 {
				t.Errorf("a change takes rules away: %+v", *s.Rules)
			}
			return do()
		}})
		w.eventually("it is written down again", func() bool {
			entry := w.entry(first)
			return entry.ID == lb.ID && entry.Guests == ledger.MembersOf(second.UID, third.UID)
		})
		w.later(20 * time.Minute)
		if now := w.share("443:30443 8080:32080 80:30080", first, second, third); now.ID != lb.ID || w.posts() != 1 {
			t.Errorf("%d made; %+v", w.posts(), now)
		}
		w.start()
		for _, s := range []*v1.Service{first, second, third} {
			w.delete(s)
		}
		w.truth(lb.ID)
		w.wantEvent("Load balancer " + lb.ID + " is left as it is")
	})
}
