package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A Service of a class belongs to another controller, which may use the same finalizer: neither that nor the status is touched.
func TestOtherClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		class := "example.com/other"
		s := w.service("web", func(s *v1.Service) {
			s.Spec.LoadBalancerClass = &class
			s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
			s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		})
		w.later(20 * time.Minute)
		fresh := w.fresh(s)
		if !servicehelper.HasLBFinalizer(fresh) || len(fresh.Status.LoadBalancer.Ingress) != 1 {
			t.Errorf("finalizers %v, status %+v", fresh.Finalizers, fresh.Status)
		}
		w.start()
		w.later(20 * time.Minute)
		if fresh := w.fresh(s); !servicehelper.HasLBFinalizer(fresh) {
			t.Errorf("finalizers %v", fresh.Finalizers)
		}
	})
}

// A Service that gets a class on the way through another type loses the load balancer that it had here.
func TestClassIsSetLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		class := "example.com/other"
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerClass = &class })
		w.eventually("it is let go", func() bool { return len(w.all()) == 0 && !servicehelper.HasLBFinalizer(w.fresh(s)) })
	})
}

// The ID of another load balancer in the annotation is looked at when it is written, not when something else happens.
func TestNamingAnotherWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		other := w.existing("www", behind(w.ids...))
		w.later(10 * time.Minute)
		w.edit(s, with(settings.ID, other.ID))
		w.within(10*time.Second, "it is adopted", func() bool { return w.entry(s).ID == other.ID })
	})
}

// What was just sent to the load balancer that a Service had is not taken for what the one has that it takes over.
func TestNamingAnotherSoonAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.Label, "mine"))
		own := w.settled(s)
		w.edit(s, with(settings.Timeout, "30"))
		w.shows(own.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.edit(s, with(settings.ID, other.ID))
		w.later(time.Minute)
		if lb := w.truth(other.ID); lb.Timeout != 30 || lb.Rules[0].FrontendPort != 80 {
			t.Errorf("it is not brought to what the Service asks for: %+v", lb)
		}
		if has(w.events(), "LoadBalancerDrifted") {
			t.Error("that nobody had brought it there before is no drift")
		}
	})
}

// A label that is the proof of another Service's claim is given to no load balancer: it would go with that Service.
func TestLabelOfAnothersProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		victim := w.service("victim")
		theirs := w.settled(victim)
		s := w.service("web", with(settings.Label, cloudprovider.DefaultLoadBalancerName(victim)))
		late := w.service("late", with(settings.Label, "a0123456789abcdef0123456789abcde"))
		w.later(10 * time.Minute)
		own := w.entry(late)
		if own.ID != "" && w.truth(own.ID).Label == "a0123456789abcdef0123456789abcde" {
			t.Error("it has the label of a Service that may come, or of another cluster")
		}
		if entry := w.entry(victim); entry.ID != theirs.ID {
			t.Errorf("the victim has %+v", entry)
		}
		w.delete(victim)
		w.later(time.Minute)
		for _, service := range []*v1.Service{s, late} {
			if entry := w.entry(service); entry.ID != "" {
				w.truth(entry.ID)
			}
		}
	})
}

// A load balancer that was taken over is kept, also when its Service gives it the label that is a proof.
func TestAdoptedIsKeptWhateverItsLabel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID))
		w.eventually("it is adopted", func() bool { return w.entry(s).Adopted })
		w.edit(s, with(settings.Label, cloudprovider.DefaultLoadBalancerName(s)))
		w.later(10 * time.Minute)
		w.delete(s)
		w.truth(lb.ID)
	})
}

// A load balancer that the ledger gives to another Service is not taken, and not deleted as a second one, for its label.
func TestLabelIsForgedOnThePlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.service("a"), w.service("b")
		first, second := w.settled(a), w.settled(b)
		forged := second.Label
		if err := w.api.UpdateLoadBalancer(t.Context(), first.ID, vultr.LoadBalancerSettings{Label: &forged}); err != nil {
			t.Fatal(err)
		}
		w.edit(b, with(settings.Timeout, "30"))
		w.shows(second.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.later(10 * time.Second)
		w.delete(b)
		w.later(10 * time.Minute)
		if lb := w.serving(a); lb.ID != first.ID {
			t.Errorf("it has another one: %+v", lb)
		}
	})
}

// The Service's own load balancer does not vanish from sight when it takes over another one, also if the platform does not find it in a bad
// moment.
func TestOwnOneIsReplacedByAnAdoptedOne(t *testing.T) {
	for name, blank := range map[string]int{"at once": 0, "in a bad moment": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web", with(settings.Label, "mine"))
				own := w.settled(s)
				w.shows(own.ID, "has its name", func(l vultr.LoadBalancer) bool { return l.Label == "mine" })
				other := w.existing("www", behind(w.ids...))
				w.later(10 * time.Minute)
				if blank > 0 {
					w.cloud.Fault(simulator.Fault{Operation: "update_load_balancer", Action: simulator.FaultStatus, Status: 404, Times: blank})
				}
				w.edit(s, with(settings.ID, other.ID), with(settings.Timeout, "30"))
				w.eventually("it is adopted", func() bool { return w.entry(s).ID == other.ID })
				w.wantEvent(own.ID)
				w.delete(s)
				w.truth(other.ID)
				w.none()
			})
		})
	}
}
