package servicelb_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clienttesting "k8s.io/client-go/testing"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Every write to a Service is bound to its UID, and what replaces a list of several owners to its version too.
func TestWritesAreBoundToTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", func(s *v1.Service) { s.ResourceVersion, s.Finalizers = "7", []string{"example.com/other"} })
		w.settled(s)
		w.later(time.Minute)
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.finalizerGone(s, time.Minute)
		if fresh := w.fresh(s); len(fresh.Finalizers) != 1 || fresh.Finalizers[0] != "example.com/other" {
			t.Errorf("finalizers %v", fresh.Finalizers)
		}
		finalizers, notes, statuses := 0, 0, 0
		for _, patch := range append(w.patches("status"), w.patches("")...) {
			var p struct {
				Metadata struct {
					UID             string
					ResourceVersion *string
					Finalizers      []string
					Annotations     map[string]*string
				}
				Status *json.RawMessage
			}
			if err := json.Unmarshal(patch, &p); err != nil {
				t.Fatal(err)
			}
			if p.Metadata.UID != string(s.UID) {
				t.Errorf("not bound to the UID: %s", patch)
			}
			switch {
			case p.Metadata.Finalizers != nil:
				finalizers++
				if p.Metadata.ResourceVersion == nil {
					t.Errorf("not bound to the version: %s", patch)
				}
			case p.Metadata.Annotations != nil:
				notes++
			case p.Status != nil:
				statuses++
			}
		}
		if finalizers != 2 || notes != 2 || statuses != 2 {
			t.Errorf("%d finalizer, %d annotation and %d status patches, want 2 of each", finalizers, notes, statuses)
		}
	})
}

// What is written already is not written again.
func TestQuietClusterIsNotWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(time.Minute)
		w.start()
		w.later(time.Minute)
		w.client.ClearActions()
		w.later(2 * time.Hour)
		for _, action := range w.client.Actions() {
			switch action.GetVerb() {
			case "get", "list", "watch":
			default:
				t.Errorf("%s %s", action.GetVerb(), action.GetResource().Resource)
			}
		}
		if events := w.events(); len(events) != count(events, "EnsuringLoadBalancer")+count(events, "EnsuredLoadBalancer") {
			t.Errorf("events %q", events)
		}
	})
}

// A status that somebody else changed or cleared is put right.
func TestStatusIsPutRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(_ *simtest.Options, c *servicelb.Config) { c.DriftPeriod = 0 })
		s := w.service("web")
		lb := w.settled(s)
		for _, ingress := range [][]v1.LoadBalancerIngress{nil, {{IP: "203.0.113.9"}}} {
			w.later(10 * time.Minute)
			w.edit(s, func(s *v1.Service) { s.Status.LoadBalancer.Ingress = ingress })
			w.within(10*time.Second, "it is put right", func() bool {
				ingress := w.fresh(s).Status.LoadBalancer.Ingress
				return len(ingress) == 1 && ingress[0].IP == lb.IPv4
			})
		}
	})
}

// The label goes into the status only where that is asked for.
func TestLabelInStatus(t *testing.T) {
	for name, asked := range map[string]bool{"asked for": true, "not asked for": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(_ *simtest.Options, c *servicelb.Config) { c.LabelInStatus = asked })
				s := w.service("web", with(settings.Label, "www"))
				w.settled(s)
				w.later(time.Minute)
				ingress := w.fresh(s).Status.LoadBalancer.Ingress
				if want := map[bool]string{true: "www"}[asked]; len(ingress) != 1 || ingress[0].Hostname != want {
					t.Errorf("status %+v", ingress)
				}
			})
		})
	}
}

// An ID that the Service's owner wrote and may not have is not overwritten by the note of the right one.
func TestRefusedIDIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		foreign := w.existing("machines", behind(w.cloud.AddInstance(simulator.NewServer{Label: "other"})))
		s := w.service("web", old, with(settings.ID, foreign.ID))
		own := w.existing(cloudprovider.DefaultLoadBalancerName(s), behind(w.ids...))
		w.start()
		w.wantEvent("LoadBalancerNotAdopted")
		w.settled(s)
		w.later(20 * time.Minute)
		if id := w.fresh(s).Annotations[string(settings.ID)]; id != foreign.ID {
			t.Errorf("the annotation is %q now", id)
		}
		if entry := w.entry(s); entry.ID != own.ID {
			t.Errorf("ledger %+v", entry)
		}
		w.untouched(foreign)
		if n := count(w.events(), "LoadBalancerNotAdopted"); n != 0 {
			t.Errorf("told %d times again", n)
		}
	})
}

// The rules of one load balancer do not come from the Service because those of the one before did.
func TestFirewallOfAnAdoptedOneIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
		own := w.settled(s)
		w.later(10 * time.Minute)
		rules := []vultr.FirewallRule{{Port: 80, Source: "192.0.2.0/24", IPType: "v4"}}
		other := w.existing("www", behind(w.ids...), func(l *vultr.LoadBalancerSettings) { l.Firewall = &rules })
		w.edit(s, with(settings.ID, other.ID), func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
		w.eventually("it is adopted", func() bool { return w.entry(s).ID == other.ID })
		w.later(10 * time.Minute)
		if lb := w.truth(other.ID); len(lb.Firewall) != 1 || lb.Firewall[0].Source != "192.0.2.0/24" || lb.Rules[0].FrontendPort != 80 {
			t.Errorf("%+v", lb)
		}
		w.truth(own.ID)
	})
}

// A finalizer that cannot be put there because the Service has changed is waited for, without a Warning; without it
// nothing is made.
func TestNoFinalizerNoLoadBalancer(t *testing.T) {
	for name, err := range map[string]error{
		"conflict":    apierrors.NewConflict(v1.Resource("services"), "web", nil),
		"unavailable": apierrors.NewServiceUnavailable("down"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.later(time.Second)
				down := w.refuse("patch", "services", err)
				down.Store(true)
				s := w.service("web")
				w.later(30 * time.Second)
				if n := w.posts(); n != 0 {
					t.Errorf("%d requests to make one", n)
				}
				down.Store(false)
				w.settled(s)
				if !servicehelper.HasLBFinalizer(w.fresh(s)) {
					t.Error("no finalizer")
				}
				if events := w.events(); has(events, "Warning") != apierrors.IsServiceUnavailable(err) {
					t.Errorf("events %q", events)
				}
			})
		})
	}
}

// A class is another controller's.
func TestClassIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", func(s *v1.Service) { s.Spec.LoadBalancerClass = new("example.com/other") })
		w.later(20 * time.Minute)
		w.none()
		if fresh := w.fresh(s); len(fresh.Finalizers) != 0 || len(fresh.Annotations) != 0 {
			t.Errorf("%+v", fresh.ObjectMeta)
		}
	})
}

// The pauses after failures grow, and begin anew after a success.
func TestPausesBeginAnewAfterASuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Second)
		for round := range 2 {
			w.cloud.Fault(simulator.Fault{Operation: "update_load_balancer", Action: simulator.FaultStatus, Status: http.StatusForbidden})
			before := w.cloud.Count("update_load_balancer")
			w.edit(s, with(settings.Timeout, "3"+string(rune('0'+round))))
			w.later(80 * time.Second)
			if n := w.cloud.Count("update_load_balancer") - before; n != 5 { // after 0, 5, 15, 35 and 75 seconds
				t.Errorf("%d requests in round %d", n, round)
			}
			w.cloud.Sim.ClearFaults()
			w.shows(lb.ID, "has the timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30+round })
		}
	})
}

// Secrets are asked for by name alone: the controller sees no other one.
func TestSecretsAreWatchedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.settled(s)
		w.later(time.Minute)
		seen := map[string]int{}
		for _, action := range w.client.Actions() {
			if action.GetResource().Resource != "secrets" {
				continue
			}
			selector := ""
			switch action := action.(type) {
			case clienttesting.WatchAction:
				selector = action.GetWatchRestrictions().Fields.String()
			case clienttesting.ListAction:
				selector = action.GetListRestrictions().Fields.String()
			default:
				continue
			}
			seen[action.GetVerb()]++
			if selector != "metadata.name=tls" || action.GetNamespace() != "shop" {
				t.Errorf("%s in %q with %q", action.GetVerb(), action.GetNamespace(), selector)
			}
		}
		if seen["list"] == 0 || seen["watch"] == 0 {
			t.Errorf("requests %v", seen)
		}
	})
}
