package servicelb_test

import (
	"context"
	"errors"
	"net/http"
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

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The process dies when the platform has made the load balancer, before anything more can be written down, and reads
// lag: the next process knows of the attempt.
func TestDeathBetweenCreateAndLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, lagging(simulator.ReadLags{"all": 100 * time.Second}))
		dead := w.refuse("patch", "configmaps", apierrors.NewServiceUnavailable("this process is dead"))
		made := make(chan struct{})
		w.tap().create = func(ctx context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
			lb, err := do()
			dead.Store(true)
			select {
			case <-made: // the dead process makes another one: the count of requests tells
			default:
				close(made)
			}
			<-ctx.Done()
			return lb, err
		}
		s := w.service("web")
		<-made
		w.stop()
		dead.Store(false)
		w.start()
		w.settled(s)
		w.later(10 * time.Minute)
		w.only()
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
	})
}

// Without the note of an attempt no request leaves.
func TestNoAttemptWithoutItsNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(time.Second)
		down := w.refuse("create", "configmaps", apierrors.NewServiceUnavailable("down"))
		down.Store(true)
		s := w.service("web")
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(time.Hour)
		if n := w.posts(); n != 0 {
			t.Errorf("%d requests to make one", n)
		}
		down.Store(false)
		w.settled(s)
	})
}

// An attempt that lasts long may have had its effect at its very end: the wait for reads that show it begins then.
func TestAttemptThatLastsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, lagging(simulator.ReadLags{"all": 2 * time.Minute}))
		first := true
		w.tap().create = func(_ context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
			if !first {
				return do()
			}
			first = false
			time.Sleep(100 * time.Second) // fake time: how long the platform takes
			if _, err := do(); err != nil {
				t.Error(err)
			}
			return vultr.LoadBalancer{}, lost()
		}
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		w.only()
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
	})
}

// A request that the platform refused made nothing: it is repeated with growing pauses, and the ledger keeps no attempt.
func TestRefusedCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(10 * time.Second) // the Nodes have been looked at
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Out of stock.","status":400}`})
		s := w.service("web")
		w.later(4 * time.Second)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests in the first seconds", n)
		}
		if events := w.events(); !has(events, "Out of stock") {
			t.Errorf("events %q", events)
		}
		if entry := w.entry(s); entry != (ledger.Entry{}) {
			t.Errorf("ledger: %+v", entry)
		}
		w.later(2 * time.Second)
		if n := w.posts(); n != 2 {
			t.Errorf("%d requests after the first pause", n)
		}
		w.later(time.Minute)
		if n := w.posts(); n != 4 {
			t.Errorf("%d requests in a minute", n)
		}
		if has(w.events(), "Out of stock") {
			t.Error("told again")
		}
		w.cloud.Sim.ClearFaults()
		w.settled(s)
	})
}

// The address that a lost load balancer had is told, also when the first request for another one is refused.
func TestRefusedRecreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("web")
		lb := w.settled(s)
		w.later(5 * time.Minute)
		w.existing("takes the address that is set free next", func(*vultr.LoadBalancerSettings) {
			if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
				t.Fatal(err)
			}
		})
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Out of stock.","status":400}`})
		w.wantEvent("Out of stock")
		w.eventually("the address is written down, and no request", func() bool { // between two requests, which are repeated
			entry := w.entry(s)
			return entry.Address == lb.IPv4 && entry.ID == "" && entry.Tried.IsZero()
		})
		w.cloud.Sim.ClearFaults()
		w.wantEvent("The address of the load balancer was " + lb.IPv4)
	})
}

// What a Service names when its load balancer is made is known to come from it, though the Service changes its mind
// before the load balancer is ready.
func TestFirewallIsWithdrawnWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.eventually("it is asked for", func() bool { return w.entry(s).ID != "" })
		if len(w.only().Firewall) != 1 {
			t.Errorf("made as %+v", w.only())
		}
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		lb := w.settled(s)
		w.shows(lb.ID, "admits everybody", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 0 })
	})
}

// A certificate that was sent when the load balancer was made is not sent again when it is ready.
func TestCertificateIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.settled(s)
		w.later(20 * time.Minute)
		if n := w.cloud.Count("update_load_balancer"); n != 0 {
			t.Errorf("%d changes", n)
		}
	})
}

// What the informer shows may be old: the API server itself is asked before anything is made.
func TestNothingIsMadeForAServiceThatIsGone(t *testing.T) {
	now := metav1.Now()
	for name, change := range map[string]func(*v1.Service){
		"another one of its name": func(s *v1.Service) { s.UID = "ffffffff-43b6-4d94-b8f5-1c5c0e0a3c11" },
		"being deleted":           func(s *v1.Service) { s.DeletionTimestamp = &now },
		"of another type":         func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeNodePort },
		"of another class":        func(s *v1.Service) { s.Spec.LoadBalancerClass = new("example.com/other") },
		"without the finalizer":   func(s *v1.Service) { s.Finalizers = nil },
		"not found":               nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.later(time.Second)
				var stale atomic.Bool
				stale.Store(true)
				w.react("get", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
					get, _ := action.(clienttesting.GetAction)
					object, err := w.client.Tracker().Get(action.GetResource(), action.GetNamespace(), get.GetName())
					service, ok := object.(*v1.Service)
					if !stale.Load() || !ok {
						return true, object, err
					}
					if change == nil {
						return true, nil, apierrors.NewNotFound(v1.Resource("services"), get.GetName())
					}
					change(service)
					return true, service, err
				})
				s := w.service("web")
				w.later(time.Minute)
				if n := w.posts(); n != 0 {
					t.Errorf("%d requests to make one", n)
				}
				if events := w.events(); has(events, "Warning") {
					t.Errorf("events %q", events)
				}
				stale.Store(false)
				w.settled(s)
			})
		})
	}
	t.Run("not known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.later(time.Second)
			down := w.refuse("get", "services", errors.New("the API server is down"))
			down.Store(true)
			w.service("web")
			w.wantEvent("the API server is down")
			w.later(time.Hour)
			if n := w.posts(); n != 0 {
				t.Errorf("%d requests to make one", n)
			}
		})
	})
}

// While its own load balancer, which was just made, is not shown yet, a Service takes no other one: it would have two.
func TestNoOtherOneWhileItsOwnIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": time.Minute}))
		other := w.existing("www", behind(w.ids...))
		w.later(2 * time.Minute)
		s := w.service("web")
		w.eventually("one is made", func() bool { return w.entry(s).ID != "" })
		own := w.entry(s).ID
		w.edit(s, with(settings.Label, "www"))
		w.later(5 * time.Second)
		w.edit(s, with(settings.Label, "www"), with(settings.ID, "dddddddd-66fd-4dfb-b839-443f2e6c0b60"))
		w.settled(s)
		if events := w.events(); has(events, "SyncLoadBalancerFailed") || has(events, "LoadBalancerAdopted") {
			t.Errorf("events %q", events)
		}
		if entry := w.entry(s); entry.ID != own || entry.ID == other.ID {
			t.Errorf("it has %+v, its own is %s", entry, own)
		}
	})
}

// A look that comes before the platform shows what was just made, as every change of the Service may bring one, does not keep the
// address back for as long as reads can lag.
func TestLooksAgainSoonForWhatWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": 30 * time.Second}))
		began := time.Now()
		w.settled(w.service("web"))
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// The request says in which region, and a refusal that is not about backends leaves them.
func TestCreateKeepsTheBackendsThatExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Out of stock.","status":400}`, Times: 2})
		s := w.service("web")
		lb := w.settled(s)
		if n := w.posts(); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		if strings.Join(lb.Instances, " ") != strings.Join(w.ids, " ") {
			t.Errorf("backends %v", lb.Instances)
		}
	})
}

// Of two Services in Namespaces that do not share, which want one label and have nothing yet, the older one gets a load balancer.
func TestTwoServicesWantOneLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		older := w.service("older", with(settings.Label, "www"), func(s *v1.Service) { s.CreationTimestamp = metav1.NewTime(time.Now()) })
		w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
		younger := w.service("younger", with(settings.Label, "www"), func(s *v1.Service) { s.Namespace = "bank" })
		w.start()
		w.settled(older)
		w.later(10 * time.Minute)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
		if !has(w.events(), "SyncLoadBalancerFailed") {
			t.Error("the younger one's owner is not told")
		}
		w.edit(younger, with(settings.Label, "www2"))
		w.settled(younger)
	})
}

// Nodes whose instances are gone do not fail a create: they are left out of the very same attempt.
func TestMissingInstanceIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		w.later(10 * time.Second)
		s := w.service("web")
		w.settled(s)
		events := w.events()
		if has(events, "SyncLoadBalancerFailed") || count(events, "BackendNotFound") != 1 || count(events, "NodesLeftOut") != 1 {
			t.Errorf("events %q", events)
		}
	})
}
