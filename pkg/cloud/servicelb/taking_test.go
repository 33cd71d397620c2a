package servicelb_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// allowAdoption writes into a Namespace which load balancer its Services may take over.
func (w *world) allowAdoption(namespace, id string) {
	w.Helper()
	object := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Annotations: map[string]string{string(settings.AllowAdoption): id}}}
	if _, err := w.client.CoreV1().Namespaces().Update(w.Context(), object, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// Two Services that share nothing name one load balancer at the same time, and both may take it over. One of them has it; the other one
// is told, and changes nothing.
func TestTwoTakeOneOverAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var leaves atomic.Bool
		goOn := make(chan struct{})
		w.startWith(&tapped{API: w.newClient(w.cloud.Key), update: func(_ context.Context, s vultr.LoadBalancerSettings, do func() error) error {
			if s.Label != nil && len(*s.Label) == 32 { // the last thing before the other one is written down
				leaves.Store(true)
				<-goOn
			}
			return do()
		}})
		w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
		first := w.service("first", with(settings.Label, "one"), on(80, 30080))
		own := w.settled(first)
		w.shows(own.ID, "has its name", func(lb vultr.LoadBalancer) bool { return lb.Label == "one" })
		both := w.existing("both", behind(w.ids...))
		w.allowAdoption("shop", both.ID)
		w.allowAdoption("bank", both.ID)
		w.edit(first, with(settings.ID, both.ID))
		w.eventually("the first is about to have it", leaves.Load)
		second := w.service("second", on(443, 30443), in("bank"), with(settings.ID, both.ID))
		w.later(20 * time.Second)
		close(goOn)
		var events []string
		w.eventually("the other one is told", func() bool {
			events = append(events, w.events()...)
			return has(events, "it belongs to another Service")
		})
		w.later(10 * time.Minute)
		if events = append(events, w.events()...); count(events, "LoadBalancerAdopted") != 1 || has(events, "it stays with the other one") {
			t.Errorf("both had it: %q", events)
		}
		if a, b := w.entry(first), w.entry(second); a.ID != both.ID || b.ID == both.ID {
			t.Errorf("ledger %+v and %+v", a, b)
		}
		if now := w.truth(both.ID); leads(now) != "80:30080" {
			t.Errorf("it leads to %s", leads(now))
		}
		before := w.writes()
		w.later(time.Hour)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d changes though nothing has changed", n)
		}
	})
}

// One load balancer is written down for two Services that share nothing, as two controllers may have done that worked at the same time. It
// stays with one of them, and is not changed back and forth.
func TestOneIsWrittenDownForTwo(t *testing.T) {
	for name, tt := range map[string]struct {
		adopted bool // by the first one, too
		keeps   bool // whether it does
		ports   string
	}{
		"made for the younger": {keeps: true, ports: "80:30080"},
		"taken over by both":   {adopted: true, ports: "443:30443"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.service("first", on(80, 30080), aged(time.Hour))
				lb := w.settled(first)
				w.later(10 * time.Minute)
				w.stop()
				entry := w.entry(first)
				entry.Adopted = tt.adopted
				w.writeEntry(first, entry)
				second := w.service("second", on(443, 30443), aged(2*time.Hour), func(s *v1.Service) {
					s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
				})
				entry.Service, entry.Adopted = "shop/second", true
				w.writeEntry(second, entry)
				w.start()
				w.wantEvent("it stays with the other one")
				w.later(20 * time.Minute)
				loser := first
				if tt.keeps {
					loser = second
				}
				if has := w.entry(first).ID == lb.ID; has != tt.keeps || w.entry(loser).ID == lb.ID || !tt.keeps && w.entry(second).ID != lb.ID {
					t.Errorf("ledger %+v and %+v", w.entry(first), w.entry(second))
				}
				if now := w.truth(lb.ID); leads(now) != tt.ports {
					t.Errorf("it leads to %s", leads(now))
				}
				if ingress := w.fresh(loser).Status.LoadBalancer.Ingress; len(ingress) > 0 && ingress[0].IP == lb.IPv4 {
					t.Errorf("the other one still has its address")
				}
				before := w.writes()
				w.later(time.Hour)
				if n := w.writes() - before; n != 0 {
					t.Errorf("%d changes though nothing has changed", n)
				}
			})
		})
	}
}

// The same with those that have it through the one who gives it up: they are released with it.
func TestOneIsWrittenDownForAGroupAndAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, _ := w.pair()
		other := w.service("other", on(8080, 32080))
		w.settled(other)
		w.later(10 * time.Minute)
		own := w.entry(other).ID
		w.stop()
		entry := w.entry(first)
		entry.ID, entry.Adopted = own, true // beside the record of the one for which it was made
		w.writeEntry(first, entry)
		w.start()
		w.wantEvent("it stays with the other one")
		w.later(20 * time.Minute)
		if now := w.truth(own); leads(now) != "8080:32080" || w.entry(other).ID != own {
			t.Errorf("it leads to %s; ledger %+v", leads(now), w.entry(other))
		}
		for _, s := range []*v1.Service{first, second} {
			if entry := w.entry(s); entry.ID == own || entry.Guests.Has(other.UID) {
				t.Errorf("ledger %+v", entry)
			}
			if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) > 0 && ingress[0].IP == w.truth(own).IPv4 {
				t.Errorf("%s still has its address", s.Name)
			}
		}
	})
}
