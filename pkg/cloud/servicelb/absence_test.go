package servicelb_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A Service that is deleted while reads show no load balancer leaves none behind: the request is sent all the same.
func TestDeletedWhileReadsAreBlank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		api.hidden.Store(true)
		w.deleting(s)
		w.finalizerGone(s, time.Minute)
		w.none()
	})
}

// One bad moment, in which what was just shown is not found by its deletion and a look, is no proof that it is gone.
func TestOneBadMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		for _, operation := range []string{"delete_load_balancer", "get_load_balancer"} {
			w.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStatus, Status: 404, Times: 1})
		}
		w.deleting(s)
		w.finalizerGone(s, time.Minute)
		w.none()
	})
}

// A load balancer that was deleted by hand before its Service holds up nothing for long.
func TestDeletedByHandBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.later(10 * time.Second)
		w.deleting(s)
		w.finalizerGone(s, 30*time.Second)
	})
}

// A cluster without Nodes has its load balancers to tell its account by, and concludes nothing from the absence of all.
func TestClusterWithoutNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s, second := w.service("web"), w.service("second")
		w.settled(s)
		lb := w.settled(second)
		for _, name := range []string{"node-0", "node-1"} {
			if err := w.client.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		w.later(10 * time.Minute)
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.within(10*time.Minute, "it is made anew, since the other one is a witness", func() bool { return len(w.all()) == 2 })
		w.settled(second)
		other := newWorldOf(t, "another account")
		w.startWith(other.api)
		w.later(10 * time.Minute)
		w.deleting(s)
		w.later(time.Hour)
		if !servicehelper.HasLBFinalizer(w.fresh(s)) || w.entry(s).ID == "" || other.posts() > 0 {
			t.Errorf("finalizers %v, ledger %+v, %d made in the other account", w.fresh(s).Finalizers, w.entry(s), other.posts())
		}
	})
}

// Nobody keeps a Service from the load balancer that it has by proof, or that it named first, by naming it too.
func TestMigrationIsNotBlocked(t *testing.T) {
	published := func(lb vultr.LoadBalancer) func(*v1.Service) {
		return func(s *v1.Service) { s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4}} }
	}
	for name, tt := range map[string]struct {
		mine    func(lb vultr.LoadBalancer) func(*v1.Service)
		others  []func(*v1.Service)
		adopted bool
	}{
		"the address is published, by an older one": {published, []func(*v1.Service){ancient}, true},
		"by one that has none":                      {nil, []func(*v1.Service){ancient, with(settings.Create, "false")}, true},
		"by a younger one":                          {nil, nil, true},
		"by an older one":                           {nil, []func(*v1.Service){ancient}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				lb := w.existing("www", behind(w.ids...))
				changes := []func(*v1.Service){old, with(settings.ID, lb.ID), with(settings.Label, "www")}
				if tt.mine != nil {
					changes = append(changes, tt.mine(lb))
				}
				s := w.service("web", changes...)
				w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}}) // in one Namespace they would share it
				w.service("other", append(tt.others, in("bank"), with(settings.Label, "www"), func(s *v1.Service) { s.Spec.Ports[0].NodePort = 31999 })...)
				w.start()
				w.later(10 * time.Minute)
				if adopted := w.entry(s).ID == lb.ID; adopted != tt.adopted {
					t.Errorf("adopted: %v; events %q", adopted, w.events())
				}
			})
		})
	}
}

// ancient makes a Service older than one that is old.
func ancient(s *v1.Service) { s.CreationTimestamp = metav1.NewTime(time.Now().Add(-2 * time.Hour)) }

// A Service that goes to another load balancer and back has its own again, which goes with it.
func TestBackToItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		own := w.settled(s)
		other := w.existing("www", behind(w.ids...))
		w.edit(s, with(settings.ID, other.ID))
		w.eventually("it has the other one", func() bool { return w.entry(s).ID == other.ID })
		w.edit(s, with(settings.ID, own.ID), func(s *v1.Service) { s.Spec.Ports[0].NodePort = 32000 })
		w.eventually("it has its own", func() bool { return w.entry(s).ID == own.ID })
		if w.entry(s).Adopted {
			t.Errorf("its own is adopted: %+v", w.entry(s))
		}
		w.delete(s)
		w.none()
		w.truth(other.ID)
	})
}

// Changes that hang hold a worker for seconds, so that other load balancers follow.
func TestHungNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var lbs []vultr.LoadBalancer
		for i := range 12 {
			lbs = append(lbs, w.settled(w.service(fmt.Sprintf("s%d", i))))
		}
		w.later(10 * time.Minute)
		hung, healthy := lbs[:6], lbs[6:]
		for _, lb := range hung {
			w.cloud.Fault(simulator.Fault{Method: "PATCH", Path: "/load-balancers/" + lb.ID, Action: simulator.FaultHang})
		}
		w.editNode("node-1", ready(false))
		w.within(time.Minute, "the healthy ones lose the node", func() bool {
			for _, lb := range healthy {
				if len(w.truth(lb.ID).Instances) != 1 {
					return false
				}
			}
			return true
		})
	})
}

// The pause that proves an absence is counted from its beginning, however often the Service is changed meanwhile.
func TestAbsenceWhileTheServiceChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			w.edit(s, with(settings.Timeout, fmt.Sprint(40+i)))
			w.later(4 * time.Second)
		}
		if n := w.posts(); n != 2 {
			t.Errorf("%d requests to make one, want a second one", n)
		}
	})
}

// A twin that could not be deleted before its Service went to another load balancer is no twin of that one.
func TestTwinOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		api.remove = func(string, func() error) error {
			return &vultr.Error{Op: "delete", Status: http.StatusConflict, Message: "injected"}
		}
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
		s := w.service("web")
		w.settled(s)
		other := w.existing("www", behind(w.ids...))
		w.later(time.Minute)
		w.events()
		synctest.Wait()
		api.remove = nil
		w.edit(s, with(settings.ID, other.ID))
		w.eventually("it is adopted", func() bool { return w.entry(s).ID == other.ID })
		w.later(time.Hour)
		if events := w.events(); has(events, "DuplicateLoadBalancerDeleted") || w.cloud.Count("delete_load_balancer") > 0 {
			t.Errorf("events %q", events)
		}
	})
}

// How long a slow platform takes is learnt, once it took as long twice in a row: the next one is looked at rarely before.
func TestSlowPlatformIsLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *simtest.Options, _ *servicelb.Config) { o.Config.Delays.LoadBalancer = 3 * time.Minute })
		var looks []int
		for i := range 3 {
			s := w.service(fmt.Sprintf("s%d", i))
			w.later(time.Second)
			before := w.cloud.Count("list_load_balancers")
			w.eventually("it has its address", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
			looks = append(looks, w.cloud.Count("list_load_balancers")-before)
			w.later(10 * time.Minute)
		}
		if looks[2]*2 > looks[0] {
			t.Errorf("%d looks at the first, the second and the third", looks)
		}
	})
}

// A create whose answer was lost is not repeated, also not without a backend that the platform does not know.
func TestLostAnswerIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		n := 0
		w.tap().create = func(context.Context, func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
			n++
			return vultr.LoadBalancer{}, lost()
		}
		w.service("web")
		w.later(2 * time.Minute)
		if n != 1 {
			t.Errorf("%d requests to make one", n)
		}
	})
}

// Before a request leaves it is written down that one may be under way, whatever becomes of this process and of the finalizer.
func TestAttemptIsWrittenDownFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		var tried time.Time
		w.tap().create = func(_ context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
			list, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Error(err)
			}
			for i := range list.Items {
				for uid := range list.Items[i].Data {
					if entry := w.entry(&v1.Service{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}}); !entry.Tried.IsZero() {
						tried = entry.Tried
					}
				}
			}
			return do()
		}
		w.settled(w.service("web"))
		if tried.IsZero() {
			t.Error("nothing was written down")
		}
	})
}

// A twin that can't be deleted holds up nothing, and is tried again when nothing else happens.
func TestTwinThatStays(t *testing.T) {
	for name, status := range map[string]int{"busy": http.StatusConflict, "forbidden": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				api := w.tap()
				began := time.Now()
				api.remove = func(_ string, do func() error) error {
					if time.Since(began) < 20*time.Minute {
						return &vultr.Error{Op: "delete", Status: status, Message: "injected"}
					}
					return do()
				}
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
				s := w.service("web")
				w.within(2*time.Minute, "it has its address", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
				w.later(30 * time.Minute)
				w.only()
			})
		})
	}
}
