package servicelb_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// states returns the states that are shown of a Service's load balancer: one, or none.
func states(t *testing.T, service string) []string {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		if family.GetName() != "vultr_ccm_load_balancer_state" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["namespace"] == "shop" && labels["service"] == service && m.GetGauge().GetValue() == 1 {
				all = append(all, labels["state"])
			}
		}
	}
	return all
}

// series returns the names of all metrics that say something of a Service.
func series(t *testing.T, service string) []string {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "service" && l.GetValue() == service {
					all = append(all, strings.TrimPrefix(family.GetName(), "vultr_ccm_"))
				}
			}
		}
	}
	return all
}

func (w *world) showsState(service, state string) {
	w.Helper()
	w.eventually("the state of "+service+" is "+state, func() bool { return slices.Equal(states(w.T, service), []string{state}) })
}

// A life of a load balancer, as its metrics show it.
func TestStateMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began := time.Now()
		s := w.service("stateful")
		w.showsState("stateful", "pending")
		if at, there := metric(t, "load_balancer_last_success_timestamp_seconds", "stateful"); there {
			t.Errorf("it was ready at %f before there was one", at)
		}
		lb := w.settled(s)
		w.showsState("stateful", "ready")
		success := func() float64 {
			at, _ := metric(t, "load_balancer_last_success_timestamp_seconds", "stateful")
			return at
		}
		first := success()
		if first < float64(began.Unix()) || first > float64(time.Now().Unix()) {
			t.Errorf("the last success was at %f, it is %d", first, time.Now().Unix())
		}
		if n, there := metric(t, "load_balancer_drift_total", "stateful"); n != 0 || !there {
			t.Errorf("%f drifts, there: %v", n, there)
		}
		w.later(10 * time.Minute)
		if success() <= first {
			t.Error("that it is still as asked for is not shown")
		}

		// One more port.
		w.edit(s, func(s *v1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: "more", Port: 81, NodePort: 30081, Protocol: v1.ProtocolTCP})
		})
		w.eventually("two rules are shown", func() bool { n, _ := metric(t, "load_balancer_rules", "stateful"); return n == 2 })

		// What cannot be done: the success stays where it was.
		w.edit(s, with(settings.Timeout, "-1"))
		w.showsState("stateful", "failing")
		last := success()
		w.later(20 * time.Minute)
		if success() != last || !slices.Equal(states(t, "stateful"), []string{"failing"}) {
			t.Errorf("success %f, before %f, states %v", success(), last, states(t, "stateful"))
		}
		w.edit(s, with(settings.Timeout, "30"))
		w.showsState("stateful", "ready")

		// The platform is busy with it.
		w.cloud.Fault(simulator.Fault{Operation: "update_load_balancer", Action: simulator.FaultStatus, Status: 400, Body: busy, Times: 3})
		w.edit(s, with(settings.Timeout, "60"))
		w.showsState("stateful", "pending")
		w.showsState("stateful", "ready")

		w.cloud.Fault(simulator.Fault{Operation: "delete_load_balancer", Action: simulator.FaultStatus, Status: 400, Body: busy, Times: 3})
		w.deleting(s)
		w.showsState("stateful", "deleting")
		w.finalizerGone(s, 10*time.Minute)
		w.gone(s)
		w.later(time.Minute)
		if left := series(t, "stateful"); len(left) > 0 {
			t.Errorf("of load balancer %s there are still %v", lb.ID, left)
		}
	})
}

// A Service that stays and has no load balancer any more, or none of this controller, has no metrics either.
func TestMetricsGoWithTheLoadBalancer(t *testing.T) {
	class := "example.com/other"
	for name, leave := range map[string]func(*v1.Service){
		"of another type": func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP },
		"given up":        with(settings.Create, "false"),
		"of another class, from the beginning": func(s *v1.Service) {
			s.Spec.LoadBalancerClass = &class
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
				s := w.service("leaver", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
				w.settled(s)
				w.showsState("leaver", "ready")
				if n := len(series(t, "leaver")); n != 6 {
					t.Errorf("metrics %v, want 6", series(t, "leaver"))
				}
				if strings.HasPrefix(name, "of another class") {
					w.delete(s)
					s = w.service("leaver", leave)
				} else {
					w.edit(s, leave)
				}
				w.later(5 * time.Minute)
				if left := series(t, "leaver"); len(left) > 0 {
					t.Errorf("%v are left of Service %s", left, s.Name)
				}
			})
		})
	}
}

// What nobody owns is shown one by one, and only as long as it is there.
func TestOrphanMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		a, b := w.service("orphan-a"), w.service("orphan-b")
		lbs := []vultr.LoadBalancer{w.settled(a), w.settled(b)}
		w.later(time.Minute)
		for _, s := range []*v1.Service{a, b} {
			w.gone(s) // with its finalizer taken off by hand
		}
		shown := func() []string {
			var all []string
			for _, name := range []string{"orphan-a", "orphan-b"} {
				if n, there := metric(t, "orphaned_load_balancer", name); there && n == 1 {
					all = append(all, name)
				}
			}
			return all
		}
		w.later(15 * time.Minute)
		if got := shown(); len(got) != 2 {
			t.Errorf("shown are %v; events %q", got, w.events())
		}
		if err := w.api.DeleteLoadBalancer(t.Context(), lbs[0].ID); err != nil {
			t.Fatal(err)
		}
		w.later(15 * time.Minute)
		if got := shown(); !slices.Equal(got, []string{"orphan-b"}) {
			t.Errorf("shown are %v when the first one was deleted", got)
		}
	})
}

// Nothing is worked on before it is known what is ours.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		down := w.refuse("get", "configmaps", context.DeadlineExceeded)
		down.Store(true)
		w.start()
		w.later(time.Minute)
		if err := w.controller.Ready(); err == nil || !strings.Contains(err.Error(), "could not be read") {
			t.Errorf("ready though the ledger is not loaded: %v", err)
		}
		down.Store(false)
		w.later(time.Minute)
		if err := w.controller.Ready(); err != nil {
			t.Error(err)
		}
	})
}
