package servicelb_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// lateLists has lists show what was made after half a minute, and load balancers be made within seconds: one can be gone
// again before any list has shown it.
func lateLists(o *simtest.Options, _ *servicelb.Config) {
	o.Config.ReadLags = simulator.ReadLags{"load_balancers.list": 30 * time.Second, "load_balancers.get": time.Millisecond}
	o.Config.Delays.LoadBalancer, o.Config.Delays.LoadBalancerAddress = 2*time.Second, time.Second
}

// gone removes a Service that has no finalizer any more.
func (w *world) gone(s *v1.Service) {
	w.Helper()
	if err := w.client.CoreV1().Services(s.Namespace).Delete(w.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// A request is delivered twice, lists are half a minute late, and the Service goes meanwhile. It is not held up; what the
// request made a second time is found, told and deleted, also by another process.
func TestTwinOfAReleasedService(t *testing.T) {
	for name, tt := range map[string]struct {
		release func(w *world, s *v1.Service)
		restart bool
	}{
		"deleted":                 {release: func(w *world, s *v1.Service) { w.deleting(s) }},
		"deleted, then a restart": {release: func(w *world, s *v1.Service) { w.deleting(s) }, restart: true},
		"no longer a LoadBalancer": {release: func(w *world, s *v1.Service) {
			w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, drifting, lateLists)
				w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
				twins, _ := metric(t, "duplicate_load_balancers_deleted_total", "")
				s := w.service("web")
				w.within(5*time.Second, "it is made twice", func() bool { return len(w.all()) == 2 })
				tt.release(w, s)
				w.finalizerGone(s, 20*time.Second)
				if entry := w.entry(s); len(w.all()) != 1 || !entry.Released() {
					t.Fatalf("left are %+v, the ledger has %+v", w.all(), entry)
				}
				if w.fresh(s).DeletionTimestamp != nil {
					w.gone(s)
				}
				var events []string
				if tt.restart {
					events = w.events()
					w.start()
				}
				w.within(11*time.Minute, "the second one goes", func() bool { return len(w.all()) == 0 })
				w.later(20 * time.Minute)
				events = append(events, w.events()...)
				if count(events, "DuplicateLoadBalancerDeleted") != 1 || has(events, "LoadBalancerOrphaned") {
					t.Errorf("events %q", events)
				}
				if n, _ := metric(t, "duplicate_load_balancers_deleted_total", ""); n != twins+1 {
					t.Errorf("%f duplicates were counted", n-twins)
				}
				if entry := w.entry(s); entry != (ledger.Entry{}) {
					t.Errorf("nothing is left to look for, but the ledger has %+v", entry)
				}
			})
		})
	}
}

// What bears the label of a released Service, and is not proven to come of its request, is told and left alone: one that was
// made at another time, and one that serves machines which are no nodes of this cluster.
func TestWhatIsNoTwinIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		after   time.Duration
		foreign bool
	}{
		"made later":              {after: 125 * time.Second},
		"serves others' machines": {after: 20 * time.Second, foreign: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, drifting)
				machines := slices.Clone(w.ids)
				if tt.foreign {
					machines = []string{w.cloud.AddInstance(simulator.NewServer{Label: "of another cluster"})}
				}
				s := w.service("web")
				w.eventually("it is made", func() bool { return w.entry(s).ID != "" })
				made := time.Now()
				w.settled(s)
				w.deleting(s)
				w.finalizerGone(s, time.Minute)
				w.gone(s)
				w.none()
				time.Sleep(max(0, time.Until(made.Add(tt.after)))) // fake time: when the other one is made
				stray := w.existing(cloudprovider.DefaultLoadBalancerName(s), behind(machines...))
				deleted := w.cloud.Count("delete_load_balancer")
				w.events()
				w.later(40 * time.Minute)
				events := w.events()
				if count(events, "LoadBalancerOrphaned") != 1 || !has(events, "Load balancer "+stray.ID+" was made for Service shop/web") {
					t.Errorf("events %q", events)
				}
				if n := w.cloud.Count("delete_load_balancer") - deleted; n != 0 {
					t.Errorf("%d deletions", n)
				}
				w.truth(stray.ID)
				if n, _ := metric(t, "orphaned_load_balancers", ""); n != 1 {
					t.Errorf("%f orphans are counted", n)
				}
				if err := w.api.DeleteLoadBalancer(t.Context(), stray.ID); err != nil {
					t.Fatal(err)
				}
				w.later(20 * time.Minute)
				if entry := w.entry(s); entry != (ledger.Entry{}) {
					t.Errorf("nothing is left to look for, but the ledger has %+v", entry)
				}
			})
		})
	}
}

// What is left to look for costs no call of the platform beside the lists in which drift is looked for, and is over when one
// of them proves that nothing is to come.
func TestReleasedServiceCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		w.later(10 * time.Minute)
		quiet := w.calls()
		w.later(20 * time.Minute)
		quiet = w.calls() - quiet
		var all []*v1.Service
		for i := range 5 {
			all = append(all, w.service(fmt.Sprintf("s%d", i)))
		}
		for _, s := range all {
			w.settled(s)
		}
		for _, s := range all {
			w.delete(s)
			if !w.entry(s).Released() {
				t.Fatalf("the ledger has %+v", w.entry(s))
			}
		}
		before := w.calls()
		w.later(20 * time.Minute)
		if n := w.calls() - before; n > quiet+1 { // one look more or less falls into the time
			t.Errorf("%d calls, without the Services it were %d", n, quiet)
		}
		for _, s := range all {
			if entry := w.entry(s); entry != (ledger.Entry{}) {
				t.Errorf("the ledger has %+v", entry)
			}
		}
	})
}

// A Service that wants a load balancer again does not wait, and the second one of its first request goes as any twin or stray.
func TestReleasedServiceIsServedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, lateLists)
		w.cloud.Fault(simulator.Fault{Operation: "create_load_balancer", Action: simulator.FaultDuplicate, Times: 1})
		s := w.service("web")
		w.within(5*time.Second, "it is made twice", func() bool { return len(w.all()) == 2 })
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.finalizerGone(s, 20*time.Second)
		w.edit(s, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
		w.within(40*time.Second, "it is served again", func() bool { return len(w.fresh(s).Status.LoadBalancer.Ingress) == 1 })
		w.eventually("one is left", func() bool { return len(w.all()) == 1 })
		var left vultr.LoadBalancer
		w.eventually("which has the Service's address", func() bool {
			left = w.only()
			return left.IPv4 == w.fresh(s).Status.LoadBalancer.Ingress[0].IP
		})
		if entry := w.entry(s); entry.ID != left.ID {
			t.Errorf("the ledger has %+v, there is %s", entry, left.ID)
		}
		w.delete(s)
		w.later(20 * time.Minute)
		w.none()
	})
}
