package servicelb_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// A Service names a load balancer that was made a moment ago, as Terraform does it, and the administrator has allowed that. Reads are half
// a minute late. That one look does not show it is no proof that it does not exist: no other one is made, and what the Service names
// stays in its annotation.
func TestNamedBeforeItIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lagging(simulator.ReadLags{"all": 30 * time.Second}))
		w.later(time.Minute)
		creation := plan.Creation(plan.Read(&v1.Service{Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 8080, NodePort: 30080}}}}).Desired)
		label := "by-hand"
		creation.Label, creation.Instances = &label, &w.ids
		lb, err := w.api.CreateLoadBalancer(t.Context(), "ewr", creation)
		if err != nil {
			t.Fatal(err)
		}
		w.say(settings.AllowAdoption, lb.ID)
		s := w.service("web", with(settings.ID, lb.ID))
		w.later(20 * time.Minute)
		if entry := w.entry(s); entry.ID != lb.ID || w.posts() != 1 {
			t.Errorf("it has %s, not %s that it names; %d were made", entry.ID, lb.ID, w.posts())
		}
		if id := w.fresh(s).Annotations[string(settings.ID)]; id != lb.ID {
			t.Errorf("its owner wrote %s into its annotation, where %s stands now", lb.ID, id)
		}
		if has(w.events(), "LoadBalancerNotAdopted") {
			t.Error("its owner is told that it does not exist")
		}
	})
}

// The same for a load balancer that has been there for long, in a moment in which reads are blank; also for a Service that has another one.
func TestNamedInABlankMoment(t *testing.T) {
	for name, has := range map[string]bool{"it has none": false, "it has another one": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				lb := w.existing("kept", behind(w.ids...))
				w.say(settings.AllowAdoption, lb.ID)
				var is atomic.Bool
				w.startWith(&blank{API: w.newClient(w.cloud.Key), hides: func(id string) bool { return id == lb.ID && is.Load() }})
				var s *v1.Service
				if has {
					s = w.service("web")
					w.settled(s)
				}
				w.later(10 * time.Minute)
				made := w.posts()
				is.Store(true)
				if has {
					w.edit(s, with(settings.ID, lb.ID))
				} else {
					s = w.service("web", with(settings.ID, lb.ID))
				}
				w.later(3 * time.Second)
				is.Store(false)
				w.within(time.Minute, "it has the one that it names", func() bool { return w.entry(s).ID == lb.ID })
				w.later(20 * time.Minute)
				if w.entry(s).ID != lb.ID || w.posts() != made {
					t.Errorf("it has %s, not %s that it names; beside that there are %d", w.entry(s).ID, lb.ID, len(w.all()))
				}
				if id := w.fresh(s).Annotations[string(settings.ID)]; id != lb.ID {
					t.Errorf("its owner wrote %s into its annotation, where %s stands now", lb.ID, id)
				}
			})
		})
	}
}

// What is in no read for as long as these may be late does not exist: its owner is told, and another one is made.
func TestNamedAndDoesNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nowhere = "dddddddd-66fd-4dfb-b839-443f2e6c0b60"
		w := newWorld(t)
		w.later(time.Minute)
		reads := w.cloud.Count("get_load_balancer")
		s := w.service("web", with(settings.ID, nowhere))
		w.later(2 * time.Minute)
		if w.posts() != 0 || w.fresh(s).Annotations[string(settings.ID)] != nowhere {
			t.Errorf("%d were made", w.posts())
		}
		w.wantEvent("names the load balancer " + nowhere + ", which does not exist")
		if lb := w.settled(s); w.fresh(s).Annotations[string(settings.ID)] != lb.ID {
			t.Errorf("it has %s and names %s", lb.ID, w.fresh(s).Annotations[string(settings.ID)])
		}
		if n := w.cloud.Count("get_load_balancer") - reads; n > 30 {
			t.Errorf("%d reads to find that out", n)
		}
	})
}
