package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What there is once for all stays as it is while the oldest Service has faults, the parts in other regions too: clients there have nothing
// else. When it asks for no more regions they go.
func TestFaultOfTheOldestKeepsTheRegions(t *testing.T) {
	refused := func(s vultr.LoadBalancerSettings) bool { return s.Timeout != nil && *s.Timeout == 77 }
	for name, slip := range map[string]func(*v1.Service){
		"a fault":                     with(settings.NodeCount, "2"),
		"what the platform refuses":   with(settings.Timeout, "77"),
		"a fault in the very regions": with(settings.GlobalRegions, "ams,amsterdam"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				w.pick(refused)
				first, second := w.service("first", www, on(80, 30080), with(settings.GlobalRegions, "ams"), aged(time.Hour)), w.service("second", www, on(443, 30443))
				lb := w.share("443:30443 80:30080", first, second)
				w.shows(lb.ID, "has a part", func(l vultr.LoadBalancer) bool { return regions(l) == "ams" })
				w.later(10 * time.Minute)
				w.edit(first, slip)
				w.wantEvent("SyncLoadBalancerFailed")
				w.later(20 * time.Minute)
				if now := regions(w.truth(lb.ID)); now != "ams" {
					t.Errorf("its parts are %q now", now)
				}
				w.edit(first, without(settings.NodeCount), without(settings.Timeout), without(settings.GlobalRegions))
				w.shows(lb.ID, "has no part any more", func(l vultr.LoadBalancer) bool { return regions(l) == "" })
			})
		})
	}
}

// So does the health check, where kube-proxy answers at another port than usual.
func TestFaultOfTheOldestKeepsTheHealthCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(_ *simtest.Options, c *servicelb.Config) { c.KubeProxyPort = 10356 })
		first := w.service("first", www, on(80, 30080), with(settings.HealthCheckKubeProxy, "true"), aged(time.Hour))
		second := w.service("second", www, on(443, 30443))
		lb := w.share("443:30443 80:30080", first, second)
		if lb.HealthCheck.Port != 10356 {
			t.Fatalf("%+v", lb.HealthCheck)
		}
		w.later(10 * time.Minute)
		w.edit(first, with(settings.NodeCount, "2"))
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(20 * time.Minute)
		if now := w.truth(lb.ID).HealthCheck; now != lb.HealthCheck {
			t.Errorf("it was %+v and is %+v", lb.HealthCheck, now)
		}
	})
}
