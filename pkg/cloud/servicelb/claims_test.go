package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"
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
