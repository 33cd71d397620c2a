package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// docs/annotations.md: "while there is [a fault], the load balancer keeps its settings and still follows the nodes". That holds for what
// is found here, and for what the platform refuses where several share (TestRefusedSettingHoldsUpNoBackends). For a Service alone, whose
// region only the platform knows not to exist, or whose firewall rules are too many for it, a node that fails stays a backend for ever.
func TestRefusedSettingOfOneAlone(t *testing.T) {
	for name, slip := range map[string]func(*v1.Service){
		"a region that there is not": with(settings.GlobalRegions, "zzz"),
		"too many rules":             ranges("10.9.0.0/16"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				w.pick(opensTo("10.9.0.0/16"))
				s := w.service("web")
				lb := w.settled(s)
				w.later(10 * time.Minute)
				w.edit(s, slip)
				w.wantEvent("SyncLoadBalancerFailed")
				w.addMachine("node-2")
				w.later(20 * time.Minute)
				if !w.on(lb.ID, "node-0", "node-1", "node-2")() {
					t.Errorf("a new node is no backend: %v", w.backendsOf(lb.ID))
				}
				w.editNode("node-0", ready(false))
				w.editNode("node-1", ready(false))
				w.later(20 * time.Minute)
				if !w.on(lb.ID, "node-2")() {
					t.Errorf("backends are nodes that have failed, and the one that works is none: %v", w.backendsOf(lb.ID))
				}
			})
		})
	}
}

// A Service that asks for such a thing from the beginning has a load balancer that works and is paid for, and never gets its address, as
// it does with a fault that is found here.
func TestRefusedSettingOfANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.GlobalRegions, "zzz"))
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(time.Hour)
		lb := w.only()
		if ingress := w.fresh(s).Status.LoadBalancer.Ingress; len(ingress) == 0 {
			t.Errorf("load balancer %s (%s) serves the Service, whose status has no address", lb.ID, lb.IPv4)
		}
		w.shows(lb.ID, "serves", func(l vultr.LoadBalancer) bool { return len(l.Rules) == 1 && len(l.Instances) == 2 })
	})
}
