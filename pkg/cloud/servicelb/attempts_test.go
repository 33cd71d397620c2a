package servicelb_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// released are the ways in which another controller, which is being replaced, releases a Service for which it has no record.
var released = map[string]func(w *world, s *v1.Service){
	"deleted": func(w *world, s *v1.Service) {
		if err := w.client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("services"), s.Namespace, s.Name); err != nil {
			w.Error(err)
		}
	},
	"no longer a LoadBalancer": func(w *world, s *v1.Service) {
		resource := v1.SchemeGroupVersion.WithResource("services")
		object, err := w.client.Tracker().Get(resource, s.Namespace, s.Name)
		if err != nil {
			w.Error(err)
			return
		}
		now, ok := object.(*v1.Service)
		if !ok {
			w.Errorf("a %T", object)
			return
		}
		now = now.DeepCopy()
		now.Spec.Type, now.Finalizers = v1.ServiceTypeClusterIP, nil
		if err := w.client.Tracker().Update(resource, now, s.Namespace); err != nil {
			w.Error(err)
		}
	},
}

// A Service is released by another controller after this one has asked whether it wants a load balancer, and before the request
// leaves: none is made.
func TestReleasedBeforeTheRequest(t *testing.T) {
	for name, release := range released {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				s := w.service("web")
				var once sync.Once
				w.react("*", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
					if verb := action.GetVerb(); verb == "create" || verb == "patch" { // the record of the attempt
						once.Do(func() { release(w, s) })
					}
					return false, nil, nil
				})
				w.start()
				w.later(10 * time.Minute)
				if n := w.posts(); n != 0 {
					t.Errorf("%d requests to make one", n)
				}
				w.none()
				if entry := w.entry(s); entry != (ledger.Entry{}) {
					t.Errorf("the ledger has %+v", entry)
				}
			})
		})
	}
}

// during is the cloud's API, and something else that happens while a load balancer is made.
type during struct {
	servicelb.API
	happens func()
}

func (d during) CreateLoadBalancer(ctx context.Context, region string, settings vultr.LoadBalancerSettings) (vultr.LoadBalancer, error) {
	lb, err := d.API.CreateLoadBalancer(ctx, region, settings)
	d.happens()
	return lb, err
}

// A Service is released by another controller while the request is under way: what it has made is deleted, though nobody looks
// at the Service any more.
func TestReleasedDuringTheRequest(t *testing.T) {
	for name, release := range released {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t, drifting)
				s := w.service("web")
				w.startWith(during{w.newClient(w.cloud.Key), func() { release(w, s) }})
				w.within(11*time.Minute, "it is made and deleted", func() bool { return w.posts() == 1 && len(w.all()) == 0 })
				w.later(20 * time.Minute)
				if entry := w.entry(s); entry != (ledger.Entry{}) {
					t.Errorf("the ledger has %+v", entry)
				}
				if events := w.events(); has(events, "LoadBalancerOrphaned") {
					t.Errorf("events %q", events)
				}
			})
		})
	}
}

// So it is if the platform does not find what it has just made: it is looked for until reads must show it.
func TestReleasedDuringTheRequestAndNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, drifting)
		s := w.service("web")
		blank := true
		w.startWith(&tapped{
			API: w.newClient(w.cloud.Key),
			create: func(_ context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
				lb, err := do()
				released["deleted"](w, s)
				return lb, err
			},
			remove: func(_ string, do func() error) error {
				if blank {
					blank = false
					return &vultr.Error{Op: "delete", Status: http.StatusNotFound, Message: "injected"}
				}
				return do()
			},
		})
		w.within(20*time.Minute, "it is made and deleted", func() bool { return w.posts() == 1 && len(w.all()) == 0 })
		w.later(20 * time.Minute)
		if entry := w.entry(s); entry != (ledger.Entry{}) {
			t.Errorf("the ledger has %+v", entry)
		}
	})
}

// Where others share what is being made, they have it.
func TestHostIsReleasedDuringTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		host, guest := w.service("host", www, on(80, 30080)), w.service("guest", www, on(443, 30443))
		w.startWith(during{w.newClient(w.cloud.Key), func() { released["deleted"](w, host) }})
		w.share("443:30443", guest)
		w.later(20 * time.Minute)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
		w.delete(guest)
		w.none()
	})
}

// The record of an attempt whose Service vanished goes when it is proven that nothing came of it. What did come of it is an
// orphan, which has its record until it is deleted.
func TestAttemptOfAVanishedService(t *testing.T) {
	const uid, guest = "8f4c5a1e-43b6-4d94-b8f5-1c5c0e0a3c11", "7b4c5a1e-43b6-4d94-b8f5-1c5c0e0a3c11"
	for name, tt := range map[string]struct {
		change  func(*ledger.Entry)
		made    bool
		another bool // a Service of this name exists
	}{
		"tried":                        {},
		"tried again":                  {change: func(e *ledger.Entry) { e.Address, e.Late = "198.18.0.9", e.Tried }},
		"tried by a wrong clock":       {change: func(e *ledger.Entry) { e.Tried = e.Tried.AddDate(36, 0, 0) }},
		"refused, after another one":   {change: func(e *ledger.Entry) { e.Address, e.Tried = "198.18.0.9", time.Time{} }},
		"another Service of this name": {another: true},
		"with a guest that is gone":    {change: func(e *ledger.Entry) { e.Guests, e.Group = ledger.MembersOf(guest), "www" }},
		"one was made":                 {made: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t, drifting)
				gone, entry := w.attempt(uid, tt.change)
				var left vultr.LoadBalancer
				if tt.made {
					left = w.existing(cloudprovider.DefaultLoadBalancerName(gone), behind(w.ids...))
				}
				w.start()
				if tt.another {
					w.settled(w.service("gone"))
				}
				if tt.made {
					w.wantEvent("LoadBalancerOrphaned Load balancer " + left.ID)
					w.later(time.Hour)
					if now := w.entry(gone); now != entry {
						t.Errorf("the ledger has %+v", now)
					}
					if err := w.api.DeleteLoadBalancer(t.Context(), left.ID); err != nil {
						t.Fatal(err)
					}
				}
				w.later(20 * time.Minute)
				if now := w.entry(gone); now != (ledger.Entry{}) {
					t.Errorf("the ledger has %+v", now)
				}
			})
		})
	}
}

// attempt adds the record of an attempt for a Service that does not exist.
func (w *world) attempt(uid types.UID, change func(*ledger.Entry)) (*v1.Service, ledger.Entry) {
	w.Helper()
	entry := ledger.Entry{Service: "shop/gone", Tried: ledger.Second(time.Now())}
	if change != nil {
		change(&entry)
	}
	text, err := json.Marshal(entry)
	if err != nil {
		w.Fatal(err)
	}
	w.add(&v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name(uid)},
		Data:       map[string]string{string(uid): string(text)},
	})
	return &v1.Service{ObjectMeta: metav1.ObjectMeta{UID: uid}}, entry
}

// Before reads have to show what was made, that they show nothing proves nothing.
func TestAttemptIsNotForgottenTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, drifting, lagging(simulator.ReadLags{"load_balancers.list": 2 * time.Minute}))
		gone, _ := w.attempt("8f4c5a1e-43b6-4d94-b8f5-1c5c0e0a3c11", nil)
		settings := plan.Creation(plan.Read(w.service("other")).Desired)
		settings.Label = new(cloudprovider.DefaultLoadBalancerName(gone))
		lb, err := w.api.CreateLoadBalancer(t.Context(), "ewr", settings)
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		w.wantEvent("LoadBalancerOrphaned Load balancer " + lb.ID)
	})
}

// A request got lost, and before that is known its Service takes the label of another one: once it is known, both share.
func TestAttemptOfOneThatShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", www, on(80, 30080))
		w.settled(first)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetBefore, Times: 1})
		second := w.service("second", on(443, 30443))
		w.eventually("a request got lost", func() bool { return !w.entry(second).Tried.IsZero() })
		w.edit(second, www)
		w.share("443:30443 80:30080", first, second)
		if n := w.posts(); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}
