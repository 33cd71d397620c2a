package servicelb_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Two looks that miss a load balancer prove nothing when one in between has shown it.
func TestMissedTwiceButSeenBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		for _, timeout := range []string{"31", "32", "33"} {
			api.hidden.Store(true)
			w.edit(s, with(settings.Timeout, timeout))
			w.later(5 * time.Second)
			api.hidden.Store(false)
			w.later(3 * time.Minute)
		}
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
		if got := w.only(); got.ID != lb.ID || got.Timeout != 33 {
			t.Errorf("%+v", got)
		}
		if has(w.events(), "Warning") {
			t.Error("a look that missed it is told")
		}
	})
}

// Services of other types cost nothing.
func TestIdleServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.later(10 * time.Second)
		before := w.calls()
		w.client.ClearActions()
		for _, name := range []string{"a", "b"} {
			s := w.service(name, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
			w.edit(s, func(s *v1.Service) { s.Spec.Ports[0].Port = 81 })
		}
		w.later(10 * time.Minute)
		if n := w.calls() - before; n != 0 {
			t.Errorf("%d calls", n)
		}
		if n := len(w.patches("")) + len(w.patches("status")); n != 0 {
			t.Errorf("%d patches", n)
		}
	})
}

// An attempt whose load balancer is found is over.
func TestFoundAttemptIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1})
		s := w.service("web")
		lb := w.settled(s)
		w.later(time.Second)
		if entry := w.entry(s); entry.ID != lb.ID || !entry.Tried.IsZero() || !entry.Shown || entry.Adopted {
			t.Errorf("ledger %+v", entry)
		}
		w.deleting(s)
		w.finalizerGone(s, 5*time.Second)
		w.none()
	})
}

// A Service that the controller before this one served is released without a wait: what it has is known.
func TestReleasedSoonAfterTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		s := w.service("web", old, func(s *v1.Service) { s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer} })
		w.existing(cloudprovider.DefaultLoadBalancerName(s), behind(w.ids...))
		w.start()
		w.eventually("it is known", func() bool { return w.entry(s).ID != "" })
		w.deleting(s)
		w.finalizerGone(s, 10*time.Second)
		if n := len(w.cloud.Sim.View().LoadBalancers); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}

// As long as the ledger cannot be written, the finalizer stays: an entry that outlives its Service is an orphan.
func TestReleasedOnlyWithItsEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Create, "true"))
		w.settled(s)
		w.later(time.Minute)
		down := w.refuse("patch", "configmaps", apierrors.NewServiceUnavailable("down"))
		w.edit(s, with(settings.Create, "false"))
		w.later(time.Second)
		down.Store(true)
		w.deleting(s)
		w.later(time.Minute)
		if !servicehelper.HasLBFinalizer(w.fresh(s)) {
			t.Error("the finalizer is gone, the entry is not")
		}
		down.Store(false)
		w.finalizerGone(s, 5*time.Minute)
		if entry := w.entry(s); entry != (ledger.Entry{}) {
			t.Errorf("ledger %+v", entry)
		}
	})
}

// The ID by which a Service adopted a load balancer is its owner's: it stays when the Service has none any more.
func TestAdoptedIDStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID))
		w.eventually("it is adopted", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.finalizerGone(s, time.Minute)
		if id := w.fresh(s).Annotations[string(settings.ID)]; id != lb.ID {
			t.Errorf("the annotation is %q", id)
		}
		w.truth(lb.ID)
	})
}

// A Service that another one of its name has replaced is released; the other one keeps its finalizer and status.
func TestReplacedWhileReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(time.Minute)
		var replaced atomic.Bool
		w.react("get", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
			object, err := w.client.Tracker().Get(action.GetResource(), action.GetNamespace(), "web")
			service, ok := object.(*v1.Service)
			if replaced.Load() && ok {
				service.UID = "ffffffff-43b6-4d94-b8f5-1c5c0e0a3c11"
			}
			return true, object, err
		})
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		replaced.Store(true)
		w.client.ClearActions()
		w.eventually("its entry names none", func() bool { return w.entry(s).ID == "" })
		w.none()
		for _, patch := range w.patches("status") {
			if has([]string{string(patch)}, "finalizers") {
				t.Errorf("the other one's finalizers are written: %s", patch)
			}
		}
	})
}

// Of each end of a Service's load balancer there are Events, also of the second one.
func TestEveryEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		var events []string
		for range 2 {
			w.settled(s)
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
			w.finalizerGone(s, time.Minute)
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
			events = append(events, w.events()...)
		}
		for _, part := range []string{"DeletingLoadBalancer", "DeletedLoadBalancer", "EnsuredLoadBalancer"} {
			if n := count(events, part); n != 2 {
				t.Errorf("%s %d times: %q", part, n, events)
			}
		}
	})
}

// An unmanaged Service is not looked at, whatever changes; what it had is neither changed nor deleted.
func TestUnmanagedIsNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.edit(s, with(settings.Create, "false"), with(settings.Timeout, "30"))
		before := w.writes()
		w.later(20 * time.Minute)
		w.editNode("node-1", ready(false))
		w.later(20 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes", n)
		}
		if now := w.truth(lb.ID); now.Timeout != 600 || !servicehelper.HasLBFinalizer(w.fresh(s)) {
			t.Errorf("%+v, finalizers %v", now, w.fresh(s).Finalizers)
		}
		w.edit(s, without(settings.Create))
		w.shows(lb.ID, "is served again", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 && len(l.Instances) == 1 })
	})
}

// Many changes of a Service that names somebody else's load balancer cost one judgement a minute.
func TestRefusalIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		foreign := w.existing("machines", behind(w.cloud.AddInstance(simulator.NewServer{Label: "other"})))
		s := w.service("web")
		w.settled(s)
		w.edit(s, with(settings.ID, foreign.ID), with(settings.Timeout, "29"))
		w.wantEvent("LoadBalancerNotAdopted")
		w.client.ClearActions()
		for i := range 10 {
			w.edit(s, with(settings.Timeout, "3"+string(rune('0'+i))))
			w.later(3 * time.Second)
		}
		n := 0
		for _, action := range w.client.Actions() {
			if action.GetResource().Resource == "namespaces" {
				n++
			}
		}
		if n > 1 { // the timer's look at the administrator's word
			t.Errorf("judged %d times again in half a minute", n)
		}
	})
}

// What may mean less open than a load balancer would be stops its making, and nothing that there is.
func TestUnknownKeyStopsTheMaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		internal := with(settings.Prefix+"internal", "true")
		s := w.service("web", internal)
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(20 * time.Minute)
		if n := w.posts(); n != 0 {
			t.Errorf("%d requests to make one", n)
		}
		w.edit(s, without(settings.Prefix+"internal"))
		lb := w.settled(s)
		w.edit(s, internal, with(settings.Timeout, "30"))
		w.shows(lb.ID, "goes on serving", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
	})
}

// A status that cannot be written is told and tried again.
func TestStatusThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var down atomic.Bool
		down.Store(true)
		w.react("patch", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
			patch, ok := action.(clienttesting.PatchAction)
			return down.Load() && ok && has([]string{string(patch.GetPatch())}, "loadBalancer"), nil, apierrors.NewServiceUnavailable("down")
		})
		s := w.service("web")
		w.wantEvent("failed to update load balancer status")
		down.Store(false)
		w.settled(s)
	})
}

// An attempt whose outcome is not known is not repeated at once without the instances that do not exist.
func TestUnknownOutcomeIsNotRepeatedWithoutAGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		w.later(10 * time.Second)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: 503, Times: 1})
		s := w.service("web")
		w.later(time.Minute)
		if n := w.posts(); n != 1 {
			t.Errorf("%d requests to make one", n)
		}
		w.settled(s)
	})
}

// A load balancer that somebody else deleted at the same time is deleted.
func TestDeletionOfOneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		s := w.service("web")
		lb := w.settled(s)
		w.later(5 * time.Minute) // or reads may not show it yet
		api.remove = func(_ string, do func() error) error {
			if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
				return err
			}
			return do()
		}
		w.deleting(s)
		w.finalizerGone(s, 30*time.Second) // later reads have to agree
		if events := w.events(); has(events, "Warning") {
			t.Errorf("events %q", events)
		}
	})
}
