package servicelb_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// An older Service, which has a load balancer of its own, takes the label of others. What those have is deleted on the platform: they get
// another one, also if the first request for it is refused.
func TestLostBesideAnOlderOneOfItsLabel(t *testing.T) {
	elsewhere := func(s *v1.Service) { s.Namespace = "bank" }
	for name, c := range map[string]struct {
		older   func(*v1.Service)
		guest   bool
		refused bool
	}{
		"alone":                              {},
		"alone, the older one elsewhere":     {older: elsewhere},
		"with a guest":                       {guest: true},
		"refused, with a guest":              {guest: true, refused: true},
		"refused, and the older elsewhere":   {older: elsewhere, refused: true},
		"refused, and may share the other's": {refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, drifting)
				all := []*v1.Service{w.service("younger", www)}
				lb := w.settled(all[0])
				if c.guest {
					all = append(all, w.service("guest", www, on(443, 30443)))
					w.share("443:30443 80:30080", all...)
				}
				where := c.older
				if where == nil {
					where = func(*v1.Service) {}
				}
				older := w.service("older", old, on(8080, 31080), where)
				own := w.settled(older)
				w.edit(older, www)
				w.later(20 * time.Minute)
				if w.entry(all[0]).ID != lb.ID || w.entry(older).ID != own.ID {
					t.Fatalf("they have %+v and %+v", w.entry(all[0]), w.entry(older))
				}
				if c.refused {
					w.cloud.Fault(simulator.Fault{
						Operation: "create_load_balancer", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Out of stock.","status":400}`,
					})
				}
				if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
					t.Fatal(err)
				}
				if c.refused {
					w.wantEvent("Out of stock")
					w.cloud.Sim.ClearFaults()
				}
				for _, s := range all {
					w.eventually(s.Name+" is served again", func() bool {
						ingress := w.fresh(s).Status.LoadBalancer.Ingress
						for _, now := range w.all() {
							if len(ingress) == 1 && ingress[0].IP == now.IPv4 && now.ID != lb.ID && leadsTo(now, s) {
								return true
							}
						}
						return false
					})
				}
				if now := w.truth(own.ID); !leadsTo(now, older) {
					t.Errorf("the older one's leads to %s", leads(now))
				}
			})
		})
	}
}

// leadsTo reports whether a rule leads to the Service's first port.
func leadsTo(lb vultr.LoadBalancer, s *v1.Service) bool {
	return slices.ContainsFunc(lb.Rules, func(rule vultr.ForwardingRule) bool { return rule.BackendPort == int(s.Spec.Ports[0].NodePort) })
}
