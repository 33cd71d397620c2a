package servicelb_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// leavesPort checks that the status of a Service says of a port that it is not forwarded, and that no node brings connections to it to the
// Service's pods. kube-proxy takes all ports of a Service for those of each address with ipMode VIP, whatever the status says of single ports
// (isVIPMode in pkg/proxy).
func (w *world) leavesPort(s *v1.Service, port int32) {
	w.Helper()
	ingress := w.fresh(s).Status.LoadBalancer.Ingress
	if len(ingress) != 1 {
		w.Fatalf("%s has the status %+v", s.Name, ingress)
	}
	told := func(is v1.PortStatus) bool { return is.Port == port && is.Error != nil && *is.Error == plan.PortError }
	if !slices.ContainsFunc(ingress[0].Ports, told) {
		w.Errorf("the status of %s does not say that port %d is not forwarded: %+v", s.Name, port, ingress[0].Ports)
	}
	if mode := ingress[0].IPMode; mode == nil || *mode != v1.LoadBalancerIPModeProxy {
		w.Errorf("all nodes bring %s:%d, which is another one's, to the pods of %s", ingress[0].IP, port, s.Name)
	}
}

// A Service that does not get a port, which another one has on the shared address, does not get it inside the cluster either, whatever it
// asks for and whatever else is wrong with it.
func TestRefusedPortIsNotTakenInTheCluster(t *testing.T) {
	fault := with(settings.NodeCount, "2")
	moved := func(s *v1.Service) { s.Spec.Ports[0].Port = 80 } // and the same node port
	for name, asks := range map[string][]func(*v1.Service){
		"it asks for the port":                 {also(80, 31080)},
		"it asks for VIP":                      {also(80, 31080), with(settings.IPMode, "vip")},
		"it has a fault":                       {also(80, 31080), fault},
		"it has a fault, and its port changes": {moved, fault},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
				w.allowSharing("shop", "www")
				w.allowSharing("bank", "www")
				first := w.service("first", www, on(80, 30080), with(settings.Protocol, "http"), aged(time.Hour)) // ipMode Proxy
				second := w.service("second", www, on(8080, 32080), in("bank"))
				lb := w.share("8080:32080 80:30080", first, second)
				w.later(10 * time.Minute)
				w.edit(second, asks...)
				w.later(10 * time.Minute)
				w.leavesPort(second, 80)
				if now := leads(w.truth(lb.ID)); now != "8080:32080 80:30080" {
					t.Errorf("it leads to %s", now)
				}
				w.start()
				w.later(10 * time.Minute)
				w.leavesPort(second, 80)
				w.edit(second, on(8080, 32080), without(settings.NodeCount), without(settings.IPMode))
				w.eventually("nothing is wrong any more", func() bool {
					ingress := w.fresh(second).Status.LoadBalancer.Ingress[0]
					return ingress.Ports == nil && *ingress.IPMode == v1.LoadBalancerIPModeVIP
				})
			})
		})
	}
}

// So it is with the one that has the load balancer, also while its certificate is missing.
func TestRefusedPortOfTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first", www, on(8080, 32080), aged(time.Hour))
		w.settled(first)
		second := w.service("second", www, on(80, 30080))
		w.share("8080:32080 80:30080", first, second)
		w.later(10 * time.Minute)
		w.edit(first, also(80, 31080), also(8443, 31443), with(settings.HTTPSPorts, "8443"), with(settings.SSL, "none"))
		w.wantEvent(`there is no Secret "none"`)
		w.later(10 * time.Minute)
		w.leavesPort(first, 80)
		writes := len(w.patches("status"))
		w.later(time.Hour)
		if n := len(w.patches("status")) - writes; n != 0 {
			t.Errorf("its status is written %d times in an hour", n)
		}
	})
}

// One that had the address and is refused all of its ports is told so in its status, as one that is refused some.
func TestAllPortsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second, _ := w.pair()
		w.later(10 * time.Minute)
		w.edit(second, on(80, 31080))
		w.wantEvent("80/TCP (Service shop/first has it)")
		w.share("80:30080", first)
		w.later(20 * time.Minute)
		w.leavesPort(second, 80)
		w.edit(second, on(443, 30443))
		w.share("443:30443 80:30080", first, second)
	})
}
