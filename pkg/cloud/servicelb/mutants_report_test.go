package servicelb_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
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
		if events := w.events(); len(events) > 2 || len(events) != count(events, "EnsuringLoadBalancer")+count(events, "EnsuredLoadBalancer") {
			t.Errorf("events %q", events)
		}
	})
}

// A status that somebody else changed or cleared is put right.
func TestStatusIsPutRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		for _, ingress := range [][]v1.LoadBalancerIngress{nil, {{IP: "203.0.113.9"}}} {
			w.later(10 * time.Minute)
			w.edit(s, func(s *v1.Service) { s.Status.LoadBalancer.Ingress = ingress })
			w.within(35*time.Second, "it is put right", func() bool {
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
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.finalizerGone(s, time.Minute)
		if id := w.fresh(s).Annotations[string(settings.ID)]; id != foreign.ID {
			t.Errorf("the annotation is %q at the end", id)
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

// The pauses after failures grow, and begin again after a success.
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
		w.later(20 * time.Minute)
		seen := map[string]int{}
		for _, action := range w.client.Actions() {
			if action.GetResource().Resource != "secrets" {
				continue
			}
			var selector string
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
		if seen["list"] == 0 || seen["watch"] != 1 {
			t.Errorf("requests %v: it is watched once, whatever else changes", seen)
		}
	})
}

// A watch of a Secret lasts as long as a Service names it.
func TestSecretsAreWatchedWhileNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var open atomic.Int64
		w.reactToWatch("secrets", func(action clienttesting.Action) (bool, watch.Interface, error) {
			all, err := w.client.Tracker().Watch(action.GetResource(), action.GetNamespace())
			open.Add(1)
			return true, &countedWatch{Interface: all, open: &open}, err
		})
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		a := w.service("a", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		b := w.service("b", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		w.settled(a)
		w.settled(b)
		w.later(time.Minute)
		if n := open.Load(); n != 1 {
			t.Errorf("%d watches of one Secret", n)
		}
		w.edit(a, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.later(time.Minute)
		if n := open.Load(); n != 1 {
			t.Errorf("%d watches, one Service is left", n)
		}
		w.edit(b, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.later(time.Minute)
		if n := open.Load(); n != 0 {
			t.Errorf("%d watches that nobody needs", n)
		}
	})
}

// countedWatch tells when it ends.
type countedWatch struct {
	watch.Interface
	open *atomic.Int64
	once sync.Once
}

func (w *countedWatch) Stop() {
	w.once.Do(func() { w.open.Add(-1) })
	w.Interface.Stop()
}

// A Secret that is deleted is told at once; the certificate stays.
func TestSecretIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.putSecret(certificate(t, time.Now().Add(1000*time.Hour)))
		s := w.service("web", with(settings.SSL, "tls"), with(settings.HTTPSPorts, "80"))
		lb := w.settled(s)
		w.later(time.Minute)
		if err := w.client.CoreV1().Secrets("shop").Delete(t.Context(), "tls", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.within(2*time.Second, "the owner is told", func() bool { return has(w.events(), "the old certificate stays: annotation") })
		if !w.truth(lb.ID).HasSSL {
			t.Error("the certificate is gone")
		}
	})
}

// The note in the Service names the load balancer that it has: one that was found, one that was made in the place of a
// lost one, or in the place of one that never was.
func TestNoteFollowsTheLoadBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t, drifting)
		found := w.service("found", old)
		lb := w.existing(cloudprovider.DefaultLoadBalancerName(found), behind(w.ids...))
		dead := w.service("dead", with(settings.ID, "dddddddd-66fd-4dfb-b839-443f2e6c0b60"))
		w.start()
		w.settled(found)
		wantNote := func(s *v1.Service, id string) {
			t.Helper()
			w.eventually("the note is right", func() bool { return w.fresh(s).Annotations[string(settings.ID)] == id })
		}
		wantNote(found, lb.ID)
		wantNote(dead, w.settled(dead).ID)
		w.later(5 * time.Minute)
		if err := w.api.DeleteLoadBalancer(t.Context(), lb.ID); err != nil {
			t.Fatal(err)
		}
		w.wantEvent("LoadBalancerRecreated")
		w.later(time.Minute)
		wantNote(found, w.settled(found).ID)
	})
}
