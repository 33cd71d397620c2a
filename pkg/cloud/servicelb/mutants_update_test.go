package servicelb_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func exclude(n *v1.Node) { n.Labels[v1.LabelNodeExcludeBalancers] = "" }
func include(n *v1.Node) { delete(n.Labels, v1.LabelNodeExcludeBalancers) }

// The time for which the last backends are kept begins again each time that no node can be one.
func TestEveryLossOfAllNodesHasItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		lose := func() {
			for _, name := range []string{"node-0", "node-1"} {
				w.editNode(name, exclude)
			}
		}
		for range 3 {
			lose()
			w.wantEvent("UnAvailableLoadBalancer")
			w.later(4 * time.Minute)
			if lb := w.truth(lb.ID); !slices.Equal(lb.Instances, w.ids) {
				t.Fatalf("backends %v", lb.Instances)
			}
			w.editNode("node-0", include)
			w.shows(lb.ID, "has one backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 1 })
			w.editNode("node-1", include)
			w.shows(lb.ID, "has both", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 2 })
		}
		lose()
		began := time.Now()
		w.within(6*time.Minute, "the grace ends", func() bool { return len(w.truth(lb.ID).Instances) == 0 })
		if took := time.Since(began); took < 5*time.Minute {
			t.Errorf("after %s", took)
		}
		if n := count(w.events(), "UnAvailableLoadBalancer"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// A platform that knows none of the instances does not take all backends away: something else is wrong.
func TestRefusedBackendsAreNotAllTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		for i, name := range []string{"node-0", "node-1"} {
			w.editNode(name, func(n *v1.Node) {
				n.Spec.ProviderID = "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b6" + string(rune('0'+i))
			})
		}
		w.wantEvent("SyncLoadBalancerFailed")
		w.later(time.Hour)
		if lb := w.truth(lb.ID); !slices.Equal(lb.Instances, w.ids) {
			t.Errorf("backends %v", lb.Instances)
		}
	})
}

// A certificate that cannot be used stops everything but the backends where there is no TLS yet; nothing is told of an
// old certificate.
func TestBadSecretWithoutTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.edit(s, with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"), with(settings.Timeout, "30"))
		w.editNode("node-1", ready(false))
		w.shows(lb.ID, "has one backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 1 })
		w.later(time.Minute)
		if lb := w.truth(lb.ID); lb.Timeout != 600 || lb.Rules[0].FrontendProtocol != "tcp" {
			t.Errorf("%+v", lb)
		}
		events := w.events()
		if !has(events, `there is no Secret "tls"`) || has(events, "old certificate stays") {
			t.Errorf("events %q", events)
		}
		w.putSecret(certificate(t, time.Now().Add(100*time.Hour)))
		w.shows(lb.ID, "has TLS", func(l vultr.LoadBalancer) bool { return l.HasSSL && l.Timeout == 30 })
	})
}

// A change whose answer was lost may show late, when its opposite is asked for already: it is looked at once more.
func TestLostChangeIsLookedAtOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, lagging(simulator.ReadLags{"all": 60 * time.Second}))
		api := w.tap()
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		first := true
		api.update = func(_ context.Context, _ vultr.LoadBalancerSettings, do func() error) error {
			if !first {
				return do()
			}
			first = false
			if err := do(); err != nil {
				t.Error(err)
			}
			return lost()
		}
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		w.later(time.Second)
		w.edit(s, func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.later(30 * time.Minute)
		if err := w.cloud.Sim.SetReadLags(simulator.NoReadLag()); err != nil {
			t.Fatal(err)
		}
		w.blind = false
		if lb := w.only(); len(lb.Firewall) > 0 {
			t.Errorf("firewall %v", lb.Firewall)
		}
		if entry := w.entry(s); entry.Firewall {
			t.Errorf("rules of others are taken for the Service's: %+v", entry)
		}
		before := w.calls()
		w.later(time.Hour)
		if n := w.calls() - before; n > 1 { // orphans are looked for
			t.Errorf("%d calls when all is settled and the timer is off", n)
		}
	})
}

// A certificate that may have been sent, though the answer was lost, goes when the Service names none any more.
func TestCertificateWhoseAnswerWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		var lose atomic.Bool
		lose.Store(true)
		api.update = func(_ context.Context, settings vultr.LoadBalancerSettings, do func() error) error {
			losing := lose.Load() && settings.Certificate != nil // before it shows, which ends the test's wait
			if err := do(); err != nil || !losing {
				return err
			}
			return lost()
		}
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		w.edit(s, with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.shows(lb.ID, "has TLS", func(l vultr.LoadBalancer) bool { return l.HasSSL })
		w.edit(s, without(settings.SSL), without(settings.HTTPSPorts))
		w.shows(lb.ID, "has none", func(l vultr.LoadBalancer) bool { return !l.HasSSL })

		before := w.writes()
		w.edit(s, with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.shows(lb.ID, "has TLS", func(l vultr.LoadBalancer) bool { return l.HasSSL })
		lose.Store(false)
		w.later(10 * time.Minute)
		if n := w.writes() - before; n < 2 {
			t.Errorf("a certificate whose answer was lost is sent once more: %d writes in all", n)
		}
		before = w.writes()
		w.later(10 * time.Minute)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d writes after an answer", n)
		}
	})
}

// A change that the Service's owner asked for is no drift, nor is one of the backends.
func TestOwnChangesAreNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.edit(s, with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.editNode("node-1", ready(false))
		w.shows(lb.ID, "has one backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 1 })
		w.edit(s, func(s *v1.Service) { s.Spec.Ports[0].NodePort = 32000 })
		w.shows(lb.ID, "has the port", func(l vultr.LoadBalancer) bool { return l.Rules[0].BackendPort == 32000 })
		w.start()
		w.edit(s, with(settings.Timeout, "40"))
		w.shows(lb.ID, "has the new timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 40 })
		w.later(20 * time.Minute)
		if events := w.events(); has(events, "LoadBalancerDrifted") {
			t.Errorf("events %q", events)
		}
	})
}

// How long the last load balancer took is learnt once, from it alone.
func TestPaceIsLearntOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.service("first")
		w.settled(first)
		w.later(2 * time.Hour)
		w.edit(first, with(settings.Timeout, "30"))
		w.later(time.Minute)
		before := w.calls()
		second := w.service("second")
		w.within(24*time.Second, "it has its address", func() bool { return len(w.fresh(second).Status.LoadBalancer.Ingress) == 1 })
		if n := w.calls() - before; n > 10 {
			t.Errorf("%d calls", n)
		}
	})
}

// Waiting must not hide what is wrong with a Service.
func TestFaultsAreToldWhileItIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *simtest.Options, _ *servicelb.Config) { o.Config.Delays.LoadBalancer = time.Hour })
		s := w.service("web")
		w.eventually("one is asked for", func() bool { return w.entry(s).ID != "" })
		w.edit(s, with(settings.NodeCount, "2"))
		w.within(20*time.Second, "the owner is told", func() bool { return has(w.events(), string(settings.NodeCount)) })
	})
}

// The label that another Service has is not taken: the load balancer keeps its name, and the owner is told once.
func TestTakenLabelIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		older := w.service("older", old, with(settings.Label, "www"))
		w.settled(older)
		younger := w.service("younger")
		lb := w.settled(younger)
		w.edit(younger, with(settings.Label, "www"), with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
		w.later(20 * time.Minute)
		if now := w.truth(lb.ID); now.Label != lb.Label {
			t.Errorf("its label is %q", now.Label)
		}
		if events := w.events(); count(events, "LabelTaken") != 1 {
			t.Errorf("events %q", events)
		}
		w.edit(younger, with(settings.Label, "www2"))
		w.shows(lb.ID, "has its own label", func(l vultr.LoadBalancer) bool { return l.Label == "www2" })
	})
}

// A certificate is removed only after the rules that need it are gone, and again after a conflict.
func TestCertificateIsRemovedWhenThePlatformIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		lb := w.settled(s)
		w.cloud.Fault(simulator.Fault{
			Operation: "delete_load_balancer_ssl", Action: simulator.FaultStatus, Status: http.StatusBadRequest,
			Body: `{"error":"Load balancer is not ready.","status":400}`, Times: 2,
		})
		w.edit(s, without(settings.SSL), without(settings.HTTPSPorts))
		w.shows(lb.ID, "has no certificate", func(l vultr.LoadBalancer) bool { return !l.HasSSL })
		w.later(20 * time.Minute)
		if n := w.cloud.Count("delete_load_balancer_ssl"); n != 3 {
			t.Errorf("%d requests", n)
		}
		for _, event := range w.events() {
			if strings.HasPrefix(event, "Warning") {
				t.Error(event)
			}
		}
		if c := w.entry(s).Certificate; c != "" {
			t.Errorf("the ledger says %q", c)
		}
	})
}

// A certificate that somebody put there by hand stays when the Service names none.
func TestCertificateOfOthersStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		donor := w.service("donor", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.settled(donor)
		s := w.service("web")
		lb := w.settled(s)
		secret := certificate(t, time.Now().Add(1000*time.Hour))
		pem := vultr.Certificate{PrivateKey: string(secret.Data[v1.TLSPrivateKeyKey]), Certificate: string(secret.Data[v1.TLSCertKey])}
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Certificate: &pem}); err != nil {
			t.Fatal(err)
		}
		w.later(20 * time.Minute)
		if !w.truth(lb.ID).HasSSL || w.cloud.Count("delete_load_balancer_ssl") != 0 {
			t.Error("it was removed")
		}
	})
}
