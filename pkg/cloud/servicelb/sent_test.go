package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A load balancer is made, but the answer is lost, or the process dies. Before it is found its Service asks for no firewall and
// no certificate any more: what it was made with goes, as it came from the Service and from nobody else.
func TestMadeWithWhatIsNotAskedForAnyMore(t *testing.T) {
	for name, restart := range map[string]bool{"the answer is lost": false, "the process dies": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.putSecret(certificate(t, time.Now().Add(100*time.Hour)))
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultResetAfter, Times: 1})
				s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"), with(settings.BackendProtocol, "http"),
					func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
				w.wantEvent("CreateOutcomeUnknown")
				if restart {
					w.stop()
				}
				w.edit(s, without(settings.SSL), without(settings.HTTPSPorts), without(settings.BackendProtocol),
					func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
				if restart {
					w.start()
				}
				lb := w.settled(s)
				w.shows(lb.ID, "is open and has no certificate", func(l vultr.LoadBalancer) bool { return len(l.Firewall) == 0 && !l.HasSSL })
				w.later(time.Minute)
				if entry := w.entry(s); entry.Firewall || entry.Certificate != "" {
					t.Errorf("the ledger has %+v", entry)
				}
				if events := w.events(); has(events, "FirewallKept") {
					t.Errorf("events %q", events)
				}
			})
		})
	}
}

// A request that is refused leaves nothing behind that could have been sent.
func TestRefusedRequestHasSentNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.faulty("create_load_balancer", 400, "")
		s := w.service("web", func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.wantEvent("SyncLoadBalancerFailed")
		if entry := w.entry(s); entry.Firewall || entry.Service != "" {
			t.Errorf("the ledger has %+v", entry)
		}
	})
}
