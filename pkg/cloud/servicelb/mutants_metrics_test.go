package servicelb_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// metric returns the value of a metric, of that service if it is one per Service, and whether there is one.
func metric(t *testing.T, name, service string) (float64, bool) {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "vultr_ccm_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			named := service == ""
			for _, label := range m.GetLabel() {
				named = named || label.GetName() == "service" && label.GetValue() == service
			}
			if named {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// The metric of a certificate's end follows the certificate, and goes with it or with the Service.
func TestExpiryMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		end := time.Now().Add(1000 * time.Hour)
		w.putSecret(certificate(t, end))
		a := w.service("expiry-a", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		b := w.service("expiry-b", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		for _, s := range []*v1.Service{a, b} {
			w.settled(s)
			w.later(time.Second)
			if at, _ := metric(t, "certificate_expiry_timestamp_seconds", s.Name); at != float64(end.Unix()) {
				t.Errorf("%s: %f, want %d", s.Name, at, end.Unix())
			}
		}
		w.edit(a, without(settings.SSL), without(settings.HTTPSPorts))
		w.delete(b)
		w.later(time.Minute)
		for _, s := range []*v1.Service{a, b} {
			if at, there := metric(t, "certificate_expiry_timestamp_seconds", s.Name); there {
				t.Errorf("%s: %f is left", s.Name, at)
			}
		}
	})
}

// What was repaired and what nobody owns is counted.
func TestCountersAndOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		drifts, _ := metric(t, "load_balancer_drift_total", "web")
		twins, _ := metric(t, "duplicate_load_balancers_deleted_total", "")
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
		s := w.service("web")
		w.settled(s)
		w.eventually("one is left", func() bool { return len(w.all()) == 1 })
		w.later(10 * time.Minute)
		lb := w.only()
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Rules: &[]vultr.ForwardingRule{}}); err != nil {
			t.Fatal(err)
		}
		w.wantEvent("LoadBalancerDrifted")
		w.later(time.Hour)
		if n, _ := metric(t, "load_balancer_drift_total", "web"); n != drifts+1 {
			t.Errorf("%f drifts", n-drifts)
		}
		if n, _ := metric(t, "duplicate_load_balancers_deleted_total", ""); n != twins+1 {
			t.Errorf("%f duplicates", n-twins)
		}
		if n, there := metric(t, "orphaned_load_balancers", ""); n != 0 || !there {
			t.Errorf("%f orphans", n)
		}
		if err := w.client.CoreV1().Services(s.Namespace).Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.later(10 * time.Minute)
		if n, _ := metric(t, "orphaned_load_balancers", ""); n != 1 {
			t.Errorf("%f orphans", n)
		}
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.later(10 * time.Minute)
		if n, _ := metric(t, "orphaned_load_balancers", ""); n != 0 {
			t.Errorf("%f orphans when it is deleted", n)
		}
	})
}

// An answer that never comes holds one worker for a while only, and the load balancer is tried again.
func TestAnswerThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		api := w.tap()
		s := w.service("web")
		lb := w.settled(s)
		hanging := true
		api.update = func(ctx context.Context, _ vultr.LoadBalancerSettings, do func() error) error {
			if !hanging {
				return do()
			}
			<-ctx.Done()
			hanging = false
			return ctx.Err()
		}
		w.edit(s, with(settings.Timeout, "30"))
		w.within(3*time.Minute, "it is tried again", func() bool { return w.truth(lb.ID).Timeout == 30 })
	})
}

// As long as it is not known what is ours, nothing is made; then work begins without a restart.
func TestLedgerThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		down := w.refuse("get", "configmaps", context.DeadlineExceeded)
		down.Store(true)
		w.start()
		s := w.service("web")
		w.later(time.Hour)
		if n := w.calls(); n != 0 {
			t.Errorf("%d calls", n)
		}
		down.Store(false)
		w.settled(s)
	})
}

// The end of the process waits for what is under way: whoever leads next must not meet it.
func TestEndWaitsForRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		begun, ended := make(chan struct{}), false
		w.tap().create = func(_ context.Context, do func() (vultr.LoadBalancer, error)) (vultr.LoadBalancer, error) {
			close(begun)
			time.Sleep(20 * time.Second) // fake time: the request is under way when the process ends
			defer func() { ended = true }()
			return do()
		}
		s := w.service("web")
		<-begun
		w.stop()
		if !ended {
			t.Error("a request is under way after the end")
		}
		w.start()
		w.settled(s)
		w.only()
	})
}

// A Node that is removed is out of the load balancers in a moment.
func TestNodeIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(time.Minute)
		if err := w.client.CoreV1().Nodes().Delete(t.Context(), "node-1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.within(3*time.Second, "it is out", func() bool { return len(w.truth(lb.ID).Instances) == 1 })
	})
}

// A Node whose instance the platform does not know joins a load balancer that there is: that is no failure, and told once.
func TestUnknownInstanceJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(time.Minute)
		w.addNode("ghost", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60")
		w.addMachine("node-9")
		w.shows(lb.ID, "has three backends", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 3 })
		w.later(time.Minute)
		if events := w.events(); has(events, "SyncLoadBalancerFailed") || count(events, "BackendNotFound") != 1 || count(events, "NodesLeftOut") != 1 {
			t.Errorf("events %q", events)
		}
	})
}

// The platform has the change already: it is done, and no failure.
func TestNothingToChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(time.Minute)
		w.cloud.Fault(simulator.Fault{
			Operation: "update_load_balancer", Action: simulator.FaultStatusAfter, Status: http.StatusBadRequest, Body: `{"error":"Nothing to change.","status":400}`, Times: 1,
		})
		w.edit(s, with(settings.Timeout, "30"))
		w.later(time.Minute)
		if events := w.events(); has(events, "Warning") || w.cloud.Count("update_load_balancer") != 1 || w.only().Timeout != 30 {
			t.Errorf("%d changes, events %q", w.cloud.Count("update_load_balancer"), events)
		}
	})
}
