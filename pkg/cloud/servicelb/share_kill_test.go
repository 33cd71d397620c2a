package servicelb_test

import (
	"encoding/json"
	"fmt"
	"slices"
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

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testpoints"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// A process that is killed at any step of sharing and leaving leaves one load balancer for those that are there, and none in the end.
func TestGroupKilledAtAnyStep(t *testing.T) {
	for _, late := range []bool{false, true} {
		for n := range testpoints.All(t) {
			steps := int64(0)
			t.Run(fmt.Sprintf("step %d, late %t", n, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { steps = groupKilledAt(t, n, late) })
			})
			if steps < n || t.Failed() {
				break
			}
		}
	}
}

func groupKilledAt(t *testing.T, n int64, late bool) int64 {
	w := newCluster(t)
	l := &life{API: w.newClient(w.cloud.Key), ends: n, late: late}
	l.react(w)
	w.startWith(l)
	until := func(what string, done func() bool) {
		w.eventually(what, func() bool {
			if l.dead.Load() {
				w.later(2 * time.Second)
				w.stop()
				l.dead.Store(false)
				w.start()
			}
			return done()
		})
	}
	shared := func(ports string, all ...*v1.Service) func() bool {
		return func() bool {
			lbs := w.all()
			return len(lbs) == 1 && leads(lbs[0]) == ports && !slices.ContainsFunc(all, func(s *v1.Service) bool {
				ingress := w.fresh(s).Status.LoadBalancer.Ingress
				return len(ingress) != 1 || ingress[0].IP != lbs[0].IPv4
			})
		}
	}
	first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
	until("both share", shared("443:30443 80:30080", first, second))
	third := w.service("third", www, on(8080, 32080))
	until("all three do", shared("443:30443 8080:32080 80:30080", first, second, third))
	w.deleting(first)
	until("the first goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(first)) })
	w.gone(first)
	until("two are left", shared("443:30443 8080:32080", second, third))
	w.deleting(second)
	w.deleting(third)
	until("all go", func() bool {
		return !servicehelper.HasLBFinalizer(w.fresh(second)) && !servicehelper.HasLBFinalizer(w.fresh(third))
	})
	w.none()
	if w.posts() != 1 {
		t.Errorf("%d requests to make one", w.posts())
	}
	return l.steps.Load()
}

// A process has died between the two records of a load balancer that was handed over. Whoever is looked at first, the one who
// goes on has it in the end, and the one who leaves is released.
func TestHalfHandedOver(t *testing.T) {
	for name, leave := range map[string]func(*v1.Service){
		"the host is deleted":          func(s *v1.Service) { now := metav1.Now(); s.DeletionTimestamp = &now },
		"the host takes another label": with(settings.Label, "other"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first, second, lb := w.pair()
				third := w.service("third", www, on(8080, 32080))
				w.share("443:30443 8080:32080 80:30080", first, second, third)
				w.later(10 * time.Minute)
				w.stop()
				moved := w.entry(first)
				moved.Service, moved.Guests = "shop/second", ledger.MembersOf(first.UID, third.UID)
				w.writeEntry(second, moved)
				w.edit(first, leave)
				w.start()
				w.eventually("the others are served alone", func() bool { return leads(w.truth(lb.ID)) == "443:30443 8080:32080" })
				w.eventually("the first has nothing of it any more", func() bool {
					fresh := w.fresh(first)
					let := fresh.DeletionTimestamp != nil && !servicehelper.HasLBFinalizer(fresh)
					return w.entry(first).ID != lb.ID && (let || fresh.Annotations[string(settings.ID)] != lb.ID)
				})
				w.later(10 * time.Minute)
				if entry := w.entry(second); entry.ID != lb.ID || entry.Guests != ledger.MembersOf(third.UID) {
					t.Errorf("ledger %+v", entry)
				}
				if w.cloud.Count("delete_load_balancer") != 0 {
					t.Error("one was deleted")
				}
			})
		})
	}
}

// Two controllers were at work at once: one has made a load balancer for a Service, the other has written the Service down as a guest of
// another one and has put that one's ID into its annotation. It keeps its own one, and names it.
func TestGuestWithALoadBalancerOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.service("first", www, on(80, 30080)), w.service("second", on(443, 30443))
		host, own := w.settled(first), w.settled(second)
		w.later(10 * time.Minute)
		w.stop()
		entry := w.entry(first)
		entry.Guests, entry.Group = ledger.MembersOf(second.UID), "www"
		w.writeEntry(first, entry)
		w.edit(second, www, with(settings.ID, host.ID))
		w.start()
		w.eventually("the second names its own one", func() bool { return w.fresh(second).Annotations[string(settings.ID)] == own.ID })
		w.later(10 * time.Minute)
		if entry := w.entry(first); entry.ID != host.ID || entry.Guests != "" {
			t.Errorf("ledger of the first: %+v", entry)
		}
		if entry := w.entry(second); entry.ID != own.ID {
			t.Errorf("ledger of the second: %+v", entry)
		}
		if ingress := w.fresh(second).Status.LoadBalancer.Ingress; len(ingress) != 1 || ingress[0].IP != own.IPv4 {
			t.Errorf("the second has %+v, not %s", ingress, own.IPv4)
		}
	})
}

// A process ends after it has made another load balancer for those that share a lost one, and before the guest names it. The next
// process goes by the record: it does not know of the lost one by itself.
func TestGuestIsToldByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		first, second, lb := w.pair()
		w.later(10 * time.Minute)
		var refuses atomic.Bool
		refuses.Store(true)
		w.react("patch", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
			patch, ok := action.(clienttesting.PatchAction)
			mine := ok && patch.GetName() == second.Name && patch.GetSubresource() == ""
			return mine && refuses.Load(), nil, apierrors.NewServiceUnavailable("this process is about to end")
		})
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.eventually("another one is made", func() bool { id := w.entry(first).ID; return id != "" && id != lb.ID })
		w.stop()
		refuses.Store(false)
		w.start()
		w.eventually("the guest names it", func() bool {
			return w.fresh(second).Annotations[string(settings.ID)] == w.entry(first).ID
		})
	})
}

// writeEntry writes what the ledger's ConfigMap says of a Service, while no controller runs.
func (w *world) writeEntry(s *v1.Service, entry ledger.Entry) {
	w.Helper()
	text, err := json.Marshal(entry)
	if err != nil {
		w.Fatal(err)
	}
	maps := w.client.CoreV1().ConfigMaps(ledger.Namespace)
	found, err := maps.Get(w.Context(), ledger.Name(s.UID), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		w.add(&v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(s.UID)}, Data: map[string]string{string(s.UID): string(text)}})
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	found.Data[string(s.UID)] = string(text)
	if _, err := maps.Update(w.Context(), found, metav1.UpdateOptions{}); err != nil {
		w.Fatal(err)
	}
}
