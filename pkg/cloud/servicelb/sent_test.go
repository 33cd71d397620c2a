package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
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

// A certificate is removed, but the process dies before it has written that down. The next one finds out that there is none, and
// a certificate that somebody else puts there later is not this Service's to remove.
func TestRemovedCertificateIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		secret := certificate(t, time.Now().Add(100*time.Hour))
		w.putSecret(secret)
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"), with(settings.BackendProtocol, "http"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.cloud.Fault(simulator.Fault{Operation: "delete_load_balancer_ssl", Action: simulator.FaultResetAfter, Times: 20})
		w.edit(s, without(settings.SSL), without(settings.HTTPSPorts), without(settings.BackendProtocol))
		w.within(time.Minute, "it is removed", func() bool { return !w.truth(lb.ID).HasSSL })
		w.stop() // before it can have any answer
		if w.truth(lb.ID).HasSSL || w.entry(s).Certificate == "" {
			t.Fatalf("it was not killed between the two: %+v", w.entry(s))
		}
		w.start()
		w.later(time.Minute)
		if w.entry(s).Certificate == "" {
			t.Error("what reads may not show yet is forgotten")
		}
		w.later(10 * time.Minute)
		if entry := w.entry(s); entry.Certificate != "" {
			t.Errorf("the ledger has %+v", entry)
		}
		others, err := plan.ReadCertificate(secret, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Certificate: &others.PEM}); err != nil {
			t.Fatal(err)
		}
		w.later(20 * time.Minute)
		if !w.truth(lb.ID).HasSSL {
			t.Error("somebody else's certificate was removed")
		}
	})
}
