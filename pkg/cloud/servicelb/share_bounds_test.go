package servicelb_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// However many Services have one label, a load balancer serves a bounded number of them, so that its record and its syncs stay small. Who
// comes too late is told, costs nothing, and gets the place of one who leaves.
func TestTooManyShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var all []*v1.Service
		for i := range int32(53) {
			all = append(all, w.service(fmt.Sprintf("s%d", i), www, on(80+i, 30080+i), aged(time.Hour-time.Duration(i)*time.Second)))
		}
		w.eventually("as many as may share one", func() bool { return len(w.entry(all[0]).Guests.List()) == 49 })
		w.wantEvent("50 Services share the load balancer with the label")
		w.later(20 * time.Minute)
		entry := w.entry(all[0])
		for i, s := range all[1:] {
			if entry.Guests.Has(s.UID) != (i < 49) || servicehelper.HasLBFinalizer(w.fresh(s)) != (i < 49) {
				t.Errorf("%s: a guest %t, finalizers %v", s.Name, entry.Guests.Has(s.UID), w.fresh(s).Finalizers)
			}
		}
		if now := w.only(); len(now.Rules) != 15 {
			t.Errorf("it leads to %s", leads(now))
		}
		writes, lists := w.writes(), w.cloud.Count("list_load_balancers")
		w.later(time.Hour)
		if n, looks := w.writes()-writes, w.cloud.Count("list_load_balancers")-lists; n != 0 || looks > 60 {
			t.Errorf("%d changes and %d looks in an hour in which nothing changed", n, looks)
		}
		w.delete(all[30])
		w.within(time.Minute, "the next one comes", func() bool { return w.entry(all[0]).Guests.Has(all[50].UID) })
		w.delete(all[5])
		w.within(time.Minute, "its port is another one's, and the next one comes", func() bool {
			return leads(w.only()) != "" && w.entry(all[0]).Guests.Has(all[51].UID) && len(w.only().Rules) == 15
		})
		w.edit(all[52], with(settings.Label, "mine"), on(80, 32100))
		w.settled(all[52])
	})
}

// What is wrong with one Service names Secrets of its Namespace. The owners of Services of another Namespace that share the load balancer
// are told whose it is, no more.
func TestFaultsOfOtherNamespaces(t *testing.T) {
	for _, certifier := range []string{"shop", "bank"} {
		t.Run(certifier, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
				w.allowSharing("shop", "www")
				w.allowSharing("bank", "www")
				secret := func(s *v1.Service) {
					if s.Namespace == certifier {
						with(settings.SSL, "vault")(s)
						with(settings.HTTPSPorts, fmt.Sprint(s.Spec.Ports[0].Port))(s)
					}
				}
				first := w.service("first", www, on(80, 30080), also(81, 30081), secret)
				second := w.service("second", www, on(443, 30443), also(444, 30444), in("bank"), secret)
				w.eventually("both are served", func() bool {
					return len(w.fresh(first).Status.LoadBalancer.Ingress) > 0 && len(w.fresh(second).Status.LoadBalancer.Ingress) > 0
				})
				w.later(10 * time.Minute)
				events := w.events()
				named := slices.DeleteFunc(slices.Clone(events), func(event string) bool { return !strings.Contains(event, "vault") })
				slices.Sort(named)
				if len(named) == 0 || len(slices.Compact(slices.Clone(named))) != len(named) { // each was told to one
					t.Errorf("these Events name the Secret: %q", named)
				}
				if !has(events, "something is wrong with what Service "+certifier+"/") {
					t.Errorf("the other one is not told: %q", events)
				}
			})
		})
	}
}

// What people write into a label is written down where the records of others are, so there is no sharing by one without end.
func TestLongLabelIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		long := with(settings.Label, strings.Repeat("w", 256))
		first := w.service("first", long, on(80, 30080))
		w.settled(first)
		second := w.service("second", long, on(443, 30443))
		w.wantEvent("they share no load balancer")
		w.later(time.Minute)
		if entry := w.entry(first); entry.Guests != "" || entry.Group != "" || w.entry(second).ID != "" {
			t.Errorf("ledger %+v", entry)
		}
	})
}

// The API server refuses whatever is to be written into one of those that share, as a policy of its Namespace may have it. Its owner is
// told; the others are served, changed and let go all the same.
func TestWritesToOneAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var refuses atomic.Bool
		refuses.Store(true)
		w.react("patch", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
			patch, ok := action.(clienttesting.PatchAction)
			if !ok || patch.GetName() != "second" || !refuses.Load() {
				return false, nil, nil
			}
			return true, nil, apierrors.NewForbidden(v1.Resource("services"), "second", errors.New("denied by a policy"))
		})
		first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
		lb := w.share("80:30080", first)
		w.wantEvent("denied by a policy")
		if w.entry(first).Guests != "" {
			t.Errorf("ledger %+v", w.entry(first))
		}
		refuses.Store(false)
		w.share("443:30443 80:30080", first, second)
		w.later(10 * time.Minute)

		refuses.Store(true)
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.edit(first, also(81, 30081))
		lb = w.share("443:30443 80:30080 81:30081", first)
		w.edit(first, also(82, 30082))
		w.share("443:30443 80:30080 81:30081 82:30082", first)
		w.later(10 * time.Minute)
		if n := w.posts(); n != 2 {
			t.Errorf("%d were made", n)
		}
		w.edit(second, with(settings.Label, "mine"))
		w.shows(lb.ID, "leads to the first alone", func(l vultr.LoadBalancer) bool { return leads(l) == "80:30080 81:30081 82:30082" })
		w.eventually("it is let go", func() bool { return w.entry(first).Guests == "" })
		w.delete(first)
		w.eventually("the first one's is deleted", func() bool {
			return !slices.ContainsFunc(w.all(), func(other vultr.LoadBalancer) bool { return other.ID == lb.ID })
		})
	})
}
