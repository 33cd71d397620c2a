package servicelb_test

import (
	"context"
	"errors"
	"slices"
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

// allowSharing writes into a Namespace which labels its Services may share with others.
func (w *world) allowSharing(namespace, labels string) {
	w.Helper()
	object := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Annotations: map[string]string{string(settings.AllowSharing): labels}}}
	if _, err := w.client.CoreV1().Namespaces().Update(w.Context(), object, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}

func in(namespace string) func(*v1.Service) {
	return func(s *v1.Service) { s.Namespace = namespace }
}

// Services of two Namespaces share a load balancer as long as the administrators of both say so. The word of one is not enough,
// and who loses it loses the address with it.
func TestGuestOfAnotherNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
		first := w.service("first", www, on(80, 30080))
		second := w.service("second", www, on(443, 30443), in("bank"))
		lb := w.settled(first)
		w.wantEvent("they share no load balancer")
		w.allowSharing("shop", "other, www")
		w.later(20 * time.Minute)
		if now := w.only(); leads(now) != "80:30080" || w.entry(second).ID != "" {
			t.Errorf("it leads to %s by the word of one", leads(now))
		}
		w.allowSharing("bank", "www")
		w.within(time.Minute, "both share", func() bool { return leads(w.truth(lb.ID)) == "443:30443 80:30080" })
		w.share("443:30443 80:30080", first, second)
		w.start()
		w.later(20 * time.Minute)
		w.share("443:30443 80:30080", first, second)
		w.allowSharing("bank", "")
		w.within(time.Minute, "the second is out", func() bool { return leads(w.truth(lb.ID)) == "80:30080" })
		w.eventually("it has no address any more", func() bool { return len(w.fresh(second).Status.LoadBalancer.Ingress) == 0 })
		w.later(20 * time.Minute)
		if entry := w.entry(first); entry.Guests != "" || len(w.all()) != 1 {
			t.Errorf("ledger %+v", entry)
		}
		w.edit(second, with(settings.Label, "mine"))
		w.settled(second)
		w.delete(second)
		w.delete(first)
		w.none()
	})
}

// The host goes right after the administrators have taken their word back, and before a guest of another Namespace was released for that:
// who must not share any more does not get the load balancer, and who may keeps its address.
func TestHeirOfANamespaceThatMustNot(t *testing.T) {
	for _, withdraws := range []string{"shop", "bank"} {
		t.Run(withdraws, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
				w.allowSharing("shop", "www")
				w.allowSharing("bank", "www")
				first := w.service("first", www, on(80, 30080), aged(3*time.Hour))
				lb := w.settled(first)
				second := w.service("second", www, on(443, 30443), aged(2*time.Hour), in("bank"))
				third := w.service("third", www, on(8080, 32080), aged(time.Hour))
				w.share("443:30443 8080:32080 80:30080", first, second, third)
				w.later(10 * time.Minute)
				w.stop()
				w.allowSharing(withdraws, "")
				w.deleting(first)
				w.start()
				w.shows(lb.ID, "leads to the third alone", func(l vultr.LoadBalancer) bool { return leads(l) == "8080:32080" })
				w.eventually("the second has lost the address", func() bool {
					ingress := w.fresh(second).Status.LoadBalancer.Ingress
					return len(ingress) == 0 || ingress[0].IP != lb.IPv4
				})
				w.eventually("the first is let go", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(first)) })
				if entry := w.entry(third); entry.ID != lb.ID || entry.Guests != "" || w.entry(second).ID == lb.ID {
					t.Errorf("ledger %+v", entry)
				}
				if ingress := w.fresh(third).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 {
					t.Errorf("the third has %+v", ingress)
				}
			})
		})
	}
}

// Whoever writes the label of another Namespace's Services, and may not share with them, does not keep them waiting while the platform
// does not answer about its own load balancer.
func TestLabelOfAnotherNamespaceHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var hangs atomic.Bool
		w.startWith(&tapped{API: w.newClient(w.cloud.Key), update: func(ctx context.Context, s vultr.LoadBalancerSettings, do func() error) error {
			if s.Timeout != nil && *s.Timeout == 77 {
				hangs.Store(true)
				<-ctx.Done()
				return ctx.Err() //nolint:wrapcheck // it stands for what the client returns
			}
			return do()
		}})
		w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
		first := w.service("first", www, on(80, 30080))
		lb := w.settled(first)
		theirs := w.service("theirs", with(settings.Label, "theirs"), on(443, 30443), in("bank"))
		w.settled(theirs)
		w.edit(theirs, www)
		w.wantEvent("LabelTaken")
		w.edit(theirs, with(settings.Timeout, "77"))
		w.eventually("the platform does not answer", hangs.Load)
		w.edit(first, with(settings.Timeout, "30"))
		w.within(5*time.Second, "the other one is changed", func() bool { return w.truth(lb.ID).Timeout == 30 })
	})
}

// That a Namespace can't be read says nothing: nobody is put out for it.
func TestNamespaceCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
		w.allowSharing("shop", "www")
		w.allowSharing("bank", "www")
		down := w.refuse("get", "namespaces", errors.New("the API server is down"))
		w.start()
		first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443), in("bank"))
		w.share("443:30443 80:30080", first, second)
		down.Store(true)
		w.edit(first, with(settings.Timeout, "30"))
		w.later(20 * time.Minute)
		w.start()
		w.later(20 * time.Minute)
		w.share("443:30443 80:30080", first, second)
		down.Store(false)
		w.eventually("the change is made", func() bool { return w.only().Timeout == 30 })
		w.share("443:30443 80:30080", first, second)
	})
}

// A Service that names somebody else's load balancer by its ID does not share the one that its label is of.
func TestLabelAndAnotherID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", www, on(80, 30080))
		lb := w.settled(first)
		other := w.existing("theirs", behind(w.ids...))
		w.later(time.Minute)
		second := w.service("second", www, on(443, 30443), with(settings.ID, other.ID))
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(10 * time.Minute)
		w.untouched(other)
		if now := leads(w.truth(lb.ID)); now != "80:30080" {
			t.Errorf("it leads to %s", now)
		}
		w.edit(second, without(settings.ID))
		w.share("443:30443 80:30080", first, second)
	})
}

// What the official controller shared between Services is taken over by all of them together: no rule goes, not even for a
// moment and not even if one of them has faults, Nodes reach it again, and it is kept when the last one goes.
func TestOfficialSharedIsTakenOver(t *testing.T) {
	fault := with(settings.NodeCount, "2")
	for name, faults := range map[string][2]bool{"as it is": {}, "the older has faults": {true, false}, "the younger has faults": {false, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				lb := w.existing("www", behind(w.ids...), func(s *vultr.LoadBalancerSettings) {
					s.Rules = &[]vultr.ForwardingRule{
						{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080},
						{FrontendProtocol: "tcp", FrontendPort: 443, BackendProtocol: "tcp", BackendPort: 30443},
					}
				})
				official := func(s *v1.Service) {
					s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
					s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4, Hostname: "www"}}
				}
				var all []*v1.Service
				for i, s := range []*v1.Service{
					w.service("first", www, on(80, 30080), aged(2*time.Hour), official, with(settings.ID, lb.ID)),
					w.service("second", www, on(443, 30443), aged(time.Hour), official, with(settings.ID, lb.ID)),
				} {
					if faults[i] {
						w.edit(s, fault)
					}
					all = append(all, s)
				}
				w.startWith(&tapped{API: w.newClient(w.cloud.Key), update: func(_ context.Context, s vultr.LoadBalancerSettings, do func() error) error {
					if s.Rules != nil && leads(vultr.LoadBalancer{Rules: *s.Rules}) != "443:30443 80:30080" {
						t.Errorf("a change takes rules away: %+v", *s.Rules)
					}
					return do()
				}})
				host, guest := all[0], all[1]
				if faults[0] {
					host, guest = guest, host
				}
				w.eventually("it is taken over", func() bool {
					entry := w.entry(host)
					return entry.ID == lb.ID && entry.Adopted && entry.Guests == ledger.MembersOf(guest.UID)
				})
				w.addMachine("node-9")
				w.shows(lb.ID, "has the new backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 3 })
				w.later(time.Hour)
				if now := w.truth(lb.ID); leads(now) != "443:30443 80:30080" || len(now.Firewall) != 0 || now.Label != "www" {
					t.Errorf("%+v", now)
				}
				for _, s := range all {
					if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != lb.IPv4 {
						t.Errorf("%s has %+v", s.Name, ingress)
					}
				}
				if w.posts() != 1 || slices.ContainsFunc(w.events(), func(event string) bool { return has([]string{event}, "LabelTaken") }) {
					t.Errorf("%d were made", w.posts())
				}
			})
		})
	}
}

// The last one that goes leaves what was taken over, and the one before leaves its ports only.
func TestSharedOneIsKeptIfTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		first := w.service("first", www, on(80, 30080), with(settings.ID, lb.ID))
		w.eventually("it is adopted", func() bool { return w.entry(first).Adopted })
		second := w.service("second", www, on(443, 30443))
		w.shows(lb.ID, "serves both", func(l vultr.LoadBalancer) bool { return leads(l) == "443:30443 80:30080" })
		w.delete(first)
		w.shows(lb.ID, "serves one", func(l vultr.LoadBalancer) bool { return leads(l) == "443:30443" })
		if entry := w.entry(second); !entry.Adopted || entry.ID != lb.ID {
			t.Errorf("ledger %+v", entry)
		}
		w.delete(second)
		w.wantEvent("Load balancer " + lb.ID + " is left as it is")
		w.truth(lb.ID)
		w.none()
	})
}

// Whoever has the load balancer that others share takes over another one only when it has left them: they keep their address.
func TestHostNamesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, lb := w.pair()
		other := w.existing("theirs", behind(w.ids...))
		w.later(10 * time.Minute)
		w.edit(first, with(settings.ID, other.ID))
		w.wantEvent("would lose their address with it")
		w.later(20 * time.Minute)
		w.untouched(other)
		if now := w.share("443:30443 80:30080", first, second); now.ID != lb.ID {
			t.Errorf("another load balancer: %+v", now)
		}
		w.edit(first, with(settings.Label, "alone"))
		w.eventually("it is taken over", func() bool { entry := w.entry(first); return entry.ID == other.ID && entry.Adopted })
		w.eventually("it leads to the Service", func() bool { return leads(w.truth(other.ID)) == "80:30080" })
		w.share("443:30443", second)
		if entry := w.entry(second); entry.ID != lb.ID || entry.Guests != "" {
			t.Errorf("ledger %+v", entry)
		}
	})
}
