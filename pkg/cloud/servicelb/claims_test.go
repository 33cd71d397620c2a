package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
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

func withoutDrift(_ *simtest.Options, c *servicelb.Config) { c.DriftPeriod = 0 }

// The ID of another load balancer in the annotation is looked at when it is written, not when something else happens.
func TestNamingAnotherWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, withoutDrift)
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
		w := newWorld(t, withoutDrift)
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
