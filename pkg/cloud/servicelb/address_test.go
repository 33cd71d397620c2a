package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
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
		"the Secret goes": func(w *world, s *v1.Service) {
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
