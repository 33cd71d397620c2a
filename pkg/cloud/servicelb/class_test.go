package servicelb_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func ofClass(class string) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.LoadBalancerClass = &class }
}

func classOnly(_ *simtest.Options, c *servicelb.Config) { c.ClassOnly = true }

func keepDrift(_ *simtest.Options, c *servicelb.Config) { c.KeepDrift = true }

// A Service of this cloud's class is served like one without, and let go when it changes its type, by which it loses the class.
func TestOwnClass(t *testing.T) {
	for name, options := range map[string][]option{"beside those without a class": nil, "alone": {classOnly}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, options...)
				s, stays := w.service("web", ofClass(plan.Class)), w.service("stays", ofClass(plan.Class))
				w.settled(s)
				w.settled(stays)
				w.edit(s, func(s *v1.Service) { s.Spec.Type, s.Spec.LoadBalancerClass = v1.ServiceTypeClusterIP, nil })
				w.eventually("it is let go", func() bool { return len(w.all()) == 1 && !servicehelper.HasLBFinalizer(w.fresh(s)) })
				w.start()
				w.delete(stays)
				w.none()
			})
		})
	}
}

// A controller that serves its class only touches nothing of another one's: neither Service nor load balancer, whatever
// becomes of the Service. What it writes down itself has a place of its own.
func TestClassOnly(t *testing.T) {
	for name, end := range map[string]func(w *world, s *v1.Service){
		"stays":   func(*world, *v1.Service) {},
		"deleted": func(w *world, s *v1.Service) { w.deleting(s) },
		"another type": func(w *world, s *v1.Service) {
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t, classOnly)
				official := w.service("official", old, func(s *v1.Service) { s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer} })
				theirs := w.existing(cloudprovider.DefaultLoadBalancerName(official), behind(w.ids...))
				w.edit(official, with(settings.ID, theirs.ID), func(s *v1.Service) {
					s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: theirs.IPv4}}
				})
				w.start()
				ours := w.service("ours", ofClass(plan.Class))
				w.settled(ours)
				end(w, official)
				w.later(time.Hour)
				w.start()
				w.later(time.Hour)
				w.untouched(theirs)
				if fresh := w.fresh(official); !servicehelper.HasLBFinalizer(fresh) || len(fresh.Status.LoadBalancer.Ingress) != 1 {
					t.Errorf("finalizers %v, status %+v", fresh.Finalizers, fresh.Status)
				}
				found, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).List(t.Context(), metav1.ListOptions{})
				if err != nil || len(found.Items) != 1 || !strings.HasPrefix(found.Items[0].Name, ledger.ClassPrefix) {
					t.Errorf("%+v, %v", found, err)
				}
				w.delete(ours)
				w.none()
			})
		})
	}
}

// What will change at a load balancer that is taken over is told before the first change of it, once, with its values.
func TestAdoptionIsPreviewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		before := w.writes()
		s := w.service("web", with(settings.ID, lb.ID), with(settings.Timeout, "30"))
		w.wantEvent("LoadBalancerWouldChange Load balancer " + lb.ID + ", which was taken over, will be changed in 10s: timeout: is 600, is to be 30; " +
			"forwarding_rules: is tcp 8080 -> tcp 30080, is to be tcp 80 -> tcp 30080")
		w.later(5 * time.Second)
		if n := w.writes() - before; n != 0 {
			t.Errorf("%d changes before there was time to read", n)
		}
		w.within(20*time.Second, "it is changed", func() bool { return w.truth(lb.ID).Timeout == 30 })
		w.start()
		w.edit(s, with(settings.Timeout, "40"))
		w.within(20*time.Second, "it is changed again", func() bool { return w.truth(lb.ID).Timeout == 40 })
		if has(w.events(), "LoadBalancerWouldChange") {
			t.Error("a later change is told in advance")
		}
	})
}

// There is time to call it off: what the Service gives up meanwhile is as it was.
func TestPreviewIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...))
		s := w.service("web", with(settings.ID, lb.ID))
		w.wantEvent("LoadBalancerWouldChange")
		w.edit(s, with(settings.Disown, "true"))
		w.later(time.Hour)
		w.untouched(lb)
		if entry := w.entry(s); entry != (ledger.Entry{}) || servicehelper.HasLBFinalizer(w.fresh(s)) {
			t.Errorf("ledger %+v", entry)
		}
		w.none()
	})
}

// A load balancer that is as the Service asks for already is taken over without a word about changes.
func TestNothingToPreview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		lb := w.existing("www", behind(w.ids...), func(s *vultr.LoadBalancerSettings) {
			s.Rules = &[]vultr.ForwardingRule{{FrontendProtocol: "tcp", FrontendPort: 80, BackendProtocol: "tcp", BackendPort: 30080}}
		})
		s := w.service("web", with(settings.ID, lb.ID))
		w.eventually("it has the address", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
		w.edit(s, with(settings.Timeout, "30"))
		w.within(5*time.Second, "it is changed at once", func() bool { return w.truth(lb.ID).Timeout == 30 })
		if has(w.events(), "LoadBalancerWouldChange") {
			t.Error("nothing had to change")
		}
	})
}

// Where drift is not repaired it is told once, also by the next process, and left; nodes are kept up to date, and what the
// owner changes is made so with all the rest.
func TestDriftIsToldOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting, keepDrift)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.events()
		timeout := 77
		if err := w.api.UpdateLoadBalancer(t.Context(), lb.ID, vultr.LoadBalancerSettings{Timeout: &timeout}); err != nil {
			t.Fatal(err)
		}
		w.later(time.Hour)
		if events := w.events(); count(events, "LoadBalancerDrifted Load balancer "+lb.ID+" was changed on the platform and is left so: timeout: is 77, is to be 600") != 1 {
			t.Errorf("events %q", events)
		}
		w.addMachine("node-9")
		w.shows(lb.ID, "has the new backend", func(l vultr.LoadBalancer) bool { return len(l.Instances) == 3 })
		w.start()
		w.later(time.Hour)
		if now := w.truth(lb.ID); now.Timeout != 77 || count(w.events(), "LoadBalancerDrifted") != 1 {
			t.Errorf("after a restart it is %+v", now)
		}
		w.edit(s, with(settings.Algorithm, "least_connections"))
		w.shows(lb.ID, "is as asked for", func(l vultr.LoadBalancer) bool { return l.Algorithm == "leastconn" && l.Timeout == 600 })
	})
}

// A load balancer that its Service disowns goes on serving by the address in the Service's status, is changed and deleted no
// more, and is the Service's again when it says so.
func TestDisown(t *testing.T) {
	for name, end := range map[string]func(w *world, s *v1.Service, lb vultr.LoadBalancer){
		"deleted": func(w *world, s *v1.Service, lb vultr.LoadBalancer) {
			w.gone(s)
			w.later(time.Hour)
			if now := w.only(); now.ID != lb.ID || has(w.events(), "LoadBalancerOrphaned") {
				w.Errorf("%+v", now)
			}
		},
		"taken back": func(w *world, s *v1.Service, lb vultr.LoadBalancer) {
			w.edit(s, without(settings.Disown))
			w.eventually("it is the Service's again", func() bool { return w.entry(s).ID == lb.ID && len(w.truth(lb.ID).Instances) == 3 })
			w.delete(s)
			w.none()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := w.service("web")
				lb := w.settled(s)
				w.edit(s, with(settings.Disown, "true"))
				w.finalizerGone(s, time.Minute)
				w.wantEvent("Load balancer " + lb.ID + " is left as it is, because " + string(settings.Disown))
				if fresh := w.fresh(s); len(fresh.Status.LoadBalancer.Ingress) != 1 || w.entry(s) != (ledger.Entry{}) {
					t.Errorf("status %+v, ledger %+v", fresh.Status, w.entry(s))
				}
				w.addMachine("node-9")
				w.later(time.Hour)
				w.start()
				w.later(time.Hour)
				if now := w.only(); now.ID != lb.ID || len(now.Instances) != 2 || len(now.Rules) != 1 {
					t.Errorf("%+v", now)
				}
				end(w, s, lb)
			})
		})
	}
}
