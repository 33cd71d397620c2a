package servicelb_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// finalizerGone waits until the controller has released a Service.
func (w *world) finalizerGone(s *v1.Service, limit time.Duration) {
	w.Helper()
	w.within(limit, "the finalizer goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
}

// That a deletion was accepted is not its end: the finalizer stays until the load balancer is gone.
func TestDeletionThatIsAcceptedButNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		s := w.service("web")
		w.settled(s)
		accepted := 0
		api.remove = func(_ string, do func() error) error {
			if accepted++; accepted <= 5 {
				return nil
			}
			return do()
		}
		w.deleting(s)
		w.later(10 * time.Second)
		if !servicehelper.HasLBFinalizer(w.fresh(s)) || w.entry(s).ID == "" || w.entry(s).Deleted.IsZero() {
			t.Errorf("finalizers %v, ledger %+v", w.fresh(s).Finalizers, w.entry(s))
		}
		w.only()
		w.finalizerGone(s, 30*time.Second)
		w.none()
		if events := w.events(); count(events, "DeletingLoadBalancer") != 1 || count(events, "DeletedLoadBalancer") != 1 || has(events, "Warning") {
			t.Errorf("events %q", events)
		}
	})
}

// A load balancer that goes some time after its deletion was accepted is not waited for any longer than that, even if it
// was just made.
func TestDeletionThatIsDoneLater(t *testing.T) {
	for name, restarted := range map[string]bool{"one process": false, "another process takes over": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				api := w.tap()
				s := w.service("web")
				lb := w.settled(s)
				var accepted atomic.Bool
				api.remove = func(string, func() error) error { accepted.Store(true); return nil }
				w.deleting(s)
				w.eventually("the deletion is accepted", accepted.Load)
				w.later(100 * time.Millisecond)
				if restarted {
					w.stop()
				}
				if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
					t.Fatal(err)
				}
				if restarted {
					w.start()
				}
				w.finalizerGone(s, 4*time.Second)
			})
		})
	}
}

// An attempt whose outcome is not known is waited for, also when its Service is deleted meanwhile.
func TestDeletedWhileAnAttemptIsNotKnown(t *testing.T) {
	for name, restarted := range map[string]bool{"one process": false, "another process takes over": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, lagging(simulator.ReadLags{"all": time.Minute}))
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1})
				s := w.service("web")
				w.wantEvent("CreateOutcomeUnknown")
				if restarted {
					w.start()
				}
				w.delete(s)
				w.none()
			})
		})
	}
}

// Everything that bears the label with the Service's UID was made for it, and goes with it.
func TestStraysGoWithTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		s := w.service("web", with(settings.Label, "www"))
		lb := w.settled(s)
		w.later(time.Hour)
		stray := w.existing(cloudprovider.DefaultLoadBalancerName(s))
		w.wantEvent("DuplicateLoadBalancer Load balancers with the label of this Service exist beside " + lb.ID + ", which serves it: " + stray.ID)
		w.later(time.Hour)
		w.truth(stray.ID)
		if has(w.events(), "DuplicateLoadBalancer") {
			t.Error("told again")
		}
		w.delete(s)
		if n := len(w.cloud.Sim.View().LoadBalancers); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// A load balancer that was not made for the Service is kept, and that is told; nothing is waited for if it is gone.
func TestAdoptedOneIsKept(t *testing.T) {
	for name, gone := range map[string]bool{"there": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				lb := w.existing("www", behind(w.ids...))
				s := w.service("web", with(settings.ID, lb.ID))
				w.eventually("it is adopted", func() bool { return w.entry(s).Adopted })
				w.later(time.Minute)
				if gone {
					if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
						t.Fatal(err)
					}
					w.later(3 * time.Second)
				}
				w.deleting(s)
				w.finalizerGone(s, 2*time.Second)
				w.wantEvent("Load balancer " + lb.ID + " is left as it is, because it was not made for this Service")
				if n := w.cloud.Count("delete_load_balancer"); n != map[bool]int{true: 1}[gone] {
					t.Errorf("%d deletions", n)
				}
				if entry := w.entry(s); entry != (ledger.Entry{}) {
					t.Errorf("ledger %+v", entry)
				}
			})
		})
	}
}

// What a Service adopted is nobody's orphan when the Service is gone: it was there before.
func TestAdoptedOneIsNoOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID))
		w.eventually("it is adopted", func() bool { return w.entry(s).Adopted })
		if err := w.client.CoreV1().Services(s.Namespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.later(time.Hour)
		if has(w.events(), "LoadBalancerOrphaned") {
			t.Error("told as an orphan")
		}
	})
}

// An orphan that somebody deleted is none any more.
func TestOrphanThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.stop()
		if err := w.client.CoreV1().Services(s.Namespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.later(time.Hour)
		if has(w.events(), "LoadBalancerOrphaned") {
			t.Error("told though it is gone")
		}
	})
}

// A finalizer that cannot be taken off is tried again; the load balancer is deleted once, and its end told once.
func TestFinalizerThatCannotBeTakenOff(t *testing.T) {
	for name, err := range map[string]error{
		"conflict":    apierrors.NewConflict(v1.Resource("services"), "web", nil),
		"unavailable": apierrors.NewServiceUnavailable("down"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web")
				w.settled(s)
				w.events()
				down := w.refuse("patch", "services", err)
				w.deleting(s)
				down.Store(true)
				w.later(30 * time.Second)
				w.none()
				down.Store(false)
				w.finalizerGone(s, time.Minute)
				w.later(time.Second)
				events := w.events()
				if count(events, "DeletedLoadBalancer") != 1 || has(events, "Warning") != apierrors.IsServiceUnavailable(err) {
					t.Errorf("events %q", events)
				}
			})
		})
	}
}

// A deletion that fails for good is told and tried again; nothing is released.
func TestDeletionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.cloud.Fault(simulator.Fault{Operation: "delete_load_balancer", Action: simulator.FaultStatus, Status: http.StatusForbidden})
		w.deleting(s)
		w.wantEvent("DeleteLoadBalancerFailed")
		w.later(time.Hour)
		w.only()
		if !servicehelper.HasLBFinalizer(w.fresh(s)) || !w.entry(s).Deleted.IsZero() {
			t.Errorf("finalizers %v, ledger %+v", w.fresh(s).Finalizers, w.entry(s))
		}
		if n := w.cloud.Count("delete_load_balancer"); n > 30 {
			t.Errorf("%d requests in an hour", n)
		}
		w.cloud.Sim.ClearFaults()
		w.finalizerGone(s, 10*time.Minute)
		w.none()
	})
}

// A load balancer whose deletion was accepted is not the Service's any more if the Service wants one again.
func TestWantedAgainAfterDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		first := w.settled(s)
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.eventually("its load balancer goes", func() bool { return len(w.all()) == 0 && !servicehelper.HasLBFinalizer(w.fresh(s)) })
		if entry := w.entry(s); entry.ID != "" || !entry.Tried.IsZero() {
			t.Errorf("ledger %+v", entry)
		}
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
		lb := w.settled(s)
		if events := w.events(); has(events, "LoadBalancerRecreated") || has(events, "LoadBalancerAddressChanged") {
			t.Errorf("events %q", events)
		}
		if lb.ID == first.ID || w.fresh(s).Annotations[string(settings.ID)] != lb.ID {
			t.Errorf("%+v, annotations %v", lb, w.fresh(s).Annotations)
		}
		if _, err := w.truthOf(first.ID); !vultr.IsNotFound(err) {
			t.Errorf("the first one: %v", err)
		}
	})
}
