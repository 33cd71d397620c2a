package servicelb_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// Two controllers at once, for example without leader election, make one load balancer for a Service, and tell.
func TestTwoControllersMakeOne(t *testing.T) {
	for _, lag := range []time.Duration{0, 5 * time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lags simulator.ReadLags
				if lag > 0 {
					lags = simulator.ReadLags{"all": lag}
				}
				w := newWorld(t, lagging(lags))
				stopFirst, first := w.stop, w.recorder
				w.stop = func() {}
				w.start()
				stopSecond := w.stop
				w.stop = func() { stopFirst(); stopSecond() }
				w.later(10 * time.Minute)
				s := w.service("web")
				w.settled(s)
				lb := w.only()
				for i := range 5 {
					w.later(time.Minute)
					w.edit(s, with(settings.Timeout, fmt.Sprint(100+i)))
				}
				w.later(10 * time.Minute)
				events := w.events()
				w.recorder = first
				events = append(events, w.events()...)
				if w.posts() != 1 || w.cloud.Count("delete_load_balancer") != 0 || has(events, "LoadBalancerAdopted") || !has(events, "leader election") {
					t.Errorf("%d requests to make one, %d to delete one; events %q", w.posts(), w.cloud.Count("delete_load_balancer"), events)
				}
				if e := w.entry(s); e.ID != lb.ID || e.Adopted || !e.Shown || e.Address != lb.IPv4 || e.Noted != lb.ID {
					t.Errorf("ledger %+v", e)
				}
				w.delete(s)
				w.none()
			})
		})
	}
}

// Another controller that has begun to work makes a load balancer in the moment in which this one does not know yet that it is
// replaced. When the Service goes in that moment, its finalizer does not go before the load balancer.
func TestReplacedControllerReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(10 * time.Minute) // whatever was made before this process began is shown
		lb := w.existing("shop")
		delete(w.ignored, lb.ID)
		s := w.service("web", with(settings.Create, "false"))
		text, err := json.Marshal(ledger.Entry{Service: "shop/web", ID: lb.ID, Shown: true})
		if err != nil {
			t.Fatal(err)
		}
		w.add(&v1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(s.UID)},
			Data:       map[string]string{string(s.UID): string(text), "writer": "another/1"},
		})
		w.edit(s, without(settings.Create), func(s *v1.Service) {
			s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
			s.Spec.Type = v1.ServiceTypeClusterIP
		})
		w.eventually("the finalizer goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
		w.none()
		if e := w.entry(s); e.ID != "" {
			t.Errorf("ledger %+v", e)
		}
	})
}

// What the controller before this one wrote down in its last moments, after this one had read the record, is known here soon.
func TestWrittenAfterTheRecordWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		w.later(time.Minute)
		gone := &v1.Service{ObjectMeta: metav1.ObjectMeta{UID: "8f4c5a1e-43b6-4d94-b8f5-1c5c0e0a3c11"}}
		text, err := json.Marshal(ledger.Entry{Service: "shop/gone", Late: ledger.Second(time.Now())})
		if err != nil {
			t.Fatal(err)
		}
		w.add(&v1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(gone.UID), Labels: map[string]string{"app": "vultr-ccm"}},
			Data:       map[string]string{string(gone.UID): string(text), "writer": "another/1"},
		})
		w.later(20 * time.Minute)
		if e := w.entry(gone); e != (ledger.Entry{}) {
			t.Errorf("nobody has looked whether anything is left: %+v", e)
		}
	})
}

// Another controller lets a guest go, and ends before it has taken the finalizer off. Who meets its record looks at that Service by its own
// name, and not when all records are read the next time.
func TestAnotherHasLetAGuestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, _ := w.pair()
		w.later(time.Second)
		entry := w.entry(first)
		entry.Guests, entry.Group = "", ""
		text, err := json.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		maps := w.client.CoreV1().ConfigMaps(ledger.Namespace)
		found, err := maps.Get(t.Context(), ledger.Name(first.UID), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found.Data[string(first.UID)], found.Data["writer"] = string(text), "another/1"
		if _, err := maps.Update(t.Context(), found, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.edit(second, without(settings.ID), func(s *v1.Service) { s.Spec.Type, s.Status = v1.ServiceTypeClusterIP, v1.ServiceStatus{} })
		w.within(time.Minute, "the finalizer goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(second)) })
		if e := w.entry(first); e.Guests != "" || e.ID == "" {
			t.Errorf("the other one has %+v", e)
		}
	})
}

// What a process with a wrong clock wrote down delays a Service, and the end of one, by minutes and not for years.
func TestLedgerOfAWrongClock(t *testing.T) {
	ahead := ledger.Second(time.Now().AddDate(36, 0, 0)) // the bubble's clock starts in 2000
	for name, entry := range map[string]ledger.Entry{
		"tried":   {Service: "shop/web", Tried: ahead},
		"made":    {Service: "shop/web", ID: "7b0cbf4b-8c1e-4a45-9a54-2a6a0e0b0d11", Made: ahead},
		"deleted": {Service: "shop/web", ID: "7b0cbf4b-8c1e-4a45-9a54-2a6a0e0b0d11", Made: ahead, Deleted: ahead},
	} {
		for _, goes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deleted %t", name, goes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newCluster(t)
					s := w.service("web", old, func(s *v1.Service) { s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer} })
					text, err := json.Marshal(entry)
					if err != nil {
						t.Fatal(err)
					}
					w.add(&v1.ConfigMap{
						ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(s.UID)},
						Data:       map[string]string{string(s.UID): string(text)},
					})
					if goes {
						w.deleting(s)
					}
					w.start()
					w.later(6 * time.Minute)
					switch {
					case goes && servicehelper.HasLBFinalizer(w.fresh(s)):
						t.Errorf("the finalizer is still there; events %q", w.events())
					case !goes && len(w.fresh(s).Status.LoadBalancer.Ingress) == 0:
						t.Errorf("no load balancer; requests to make one %d, events %q", w.posts(), w.events())
					}
				})
			})
		}
	}
}

// The life of a Service costs few writes of the ledger: the attempt, its outcome, the address with all that was seen; then
// the deletion, and its end.
func TestWritesOfALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var writes atomic.Int64
		for _, verb := range []string{"create", "patch"} {
			w.react(verb, "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
				writes.Add(1)
				return false, nil, nil
			})
		}
		w.start()
		s := w.service("web")
		lb := w.settled(s)
		w.later(time.Minute)
		if n := writes.Load(); n != 3 {
			t.Errorf("%d writes until it serves", n)
		}
		if e := w.entry(s); e.ID != lb.ID || !e.Shown || e.Noted != lb.ID || e.Address != lb.IPv4 || !e.Tried.IsZero() {
			t.Errorf("ledger %+v", e)
		}
		w.delete(s)
		if n := writes.Load(); n != 5 {
			t.Errorf("%d writes in all", n)
		}
	})
}

// What is left to be written with the address is written without one, too, when the Service has faults.
func TestNothingIsLeftUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.eventually("it is being made", func() bool { return w.posts() == 1 })
		w.edit(s, with(settings.Algorithm, "nonsense"))
		w.settled(s)
		w.later(time.Minute)
		if e := w.entry(s); !e.Shown || e.Noted != e.ID {
			t.Errorf("ledger %+v", e)
		}
	})
}

// A Service that stops to want a load balancer while it is being made loses the note of it.
func TestNoteOfOneThatIsBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.eventually("it is noted", func() bool { return w.fresh(s).Annotations[string(settings.ID)] != "" })
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.eventually("the finalizer goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
		w.none()
		if id := w.fresh(s).Annotations[string(settings.ID)]; id != "" {
			t.Errorf("the Service still names %s", id)
		}
	})
}
