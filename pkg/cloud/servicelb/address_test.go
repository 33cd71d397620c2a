package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// serving checks that the Service has the address of the only load balancer that there is.
func (w *world) serving(s *v1.Service) vultr.LoadBalancer {
	w.Helper()
	lb := w.only()
	ingress := w.fresh(s).Status.LoadBalancer.Ingress
	if len(ingress) != 1 || ingress[0].IP == "" || ingress[0].IP != lb.IPv4 {
		w.Errorf("the Service has %+v, the load balancer is %+v; events %q", ingress, lb, w.events())
	}
	return lb
}

// What is wrong with a Service or its certificate is no reason to keep the address of a load balancer that works from it.
func TestAddressDespiteFaults(t *testing.T) {
	faults := map[string]func(w *world, s *v1.Service){
		"the Secret goes": func(w *world, _ *v1.Service) {
			if err := w.client.CoreV1().Secrets("shop").Delete(w.Context(), "tls", metav1.DeleteOptions{}); err != nil {
				w.Fatal(err)
			}
		},
		"a bad annotation": func(w *world, s *v1.Service) { w.edit(s, with(settings.NodeCount, "2")) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.putSecret(certificate(t, time.Now().Add(100*time.Hour)))
				s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
				w.eventually("a load balancer is made", func() bool { return len(w.all()) == 1 })
				fault(w, s)
				w.later(20 * time.Minute)
				w.serving(s)
			})
		})
	}
}

// From LoadBalancer to ClusterIP and back, at any pace and however late reads are: the address is that of a load balancer that exists.
func TestThereAndBack(t *testing.T) {
	lags := map[string]simulator.ReadLags{
		"lists 120 s": {"load_balancers.list": 2 * time.Minute, "load_balancers.get": time.Millisecond},
		"gets 120 s":  {"load_balancers.list": time.Millisecond, "load_balancers.get": 2 * time.Minute},
		"all 60 s":    {"all": time.Minute},
		"none":        {"all": time.Millisecond},
	}
	for name, lag := range lags {
		for _, pause := range []time.Duration{0, 300 * time.Millisecond, 2 * time.Second, 20 * time.Second, 70 * time.Second, 130 * time.Second} {
			t.Run(name+", after "+pause.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, lagging(lag))
					s := w.service("web")
					w.settled(s)
					w.later(10 * time.Minute)
					w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
					w.later(pause)
					w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
					w.later(20 * time.Minute)
					w.serving(s)
					w.deleting(s)
					w.later(20 * time.Minute)
					w.none()
					if servicehelper.HasLBFinalizer(w.fresh(s)) {
						t.Error("the finalizer stays")
					}
				})
			})
		}
	}
}
