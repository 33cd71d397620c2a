package servicelb_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// removeByHand deletes load balancers as somebody does in the console.
func (w *world) removeByHand(services ...*v1.Service) {
	w.Helper()
	for _, s := range services {
		if err := w.api.DeleteLoadBalancer(w.Context(), w.entry(s).ID); err != nil {
			w.Fatal(err)
		}
	}
}

// oldPair makes two Services whose load balancers are no longer new.
func (w *world) oldPair() (a, b *v1.Service) {
	w.Helper()
	a, b = w.service("a"), w.service("b")
	w.settled(a)
	w.settled(b)
	w.later(10 * time.Minute)
	return a, b
}

// Services are deleted whose load balancers vanished, all of them, while no controller ran.
func TestAllVanishedAndDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.oldPair()
		w.stop()
		w.removeByHand(a, b)
		w.later(time.Minute)
		w.start()
		w.deleting(a)
		w.deleting(b)
		w.finalizerGone(a, 10*time.Minute)
		w.finalizerGone(b, 10*time.Minute)
	})
}

// One of many Services whose load balancers are all missing is released after an hour, though the others still want theirs.
func TestOneOfManyVanishedIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := []*v1.Service{w.service("a"), w.service("b"), w.service("c"), w.service("d")}
		for _, s := range all {
			w.settled(s)
		}
		w.later(10 * time.Minute)
		w.stop()
		w.removeByHand(all...)
		w.later(time.Minute)
		w.start()
		w.deleting(all[0])
		w.later(50 * time.Minute)
		if !servicehelper.HasLBFinalizer(w.fresh(all[0])) {
			t.Error("reads that show none of four are believed")
		}
		w.finalizerGone(all[0], 20*time.Minute)
		w.wantEvent("is taken for deleted")
		if n := w.posts(); n != len(all) {
			t.Errorf("%d requests to make one", n)
		}
	})
}

// The way out that the Event names works after a restart too.
func TestTypeClusterIPAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		a, b := w.oldPair()
		w.removeByHand(a, b)
		w.wantEvent("most load balancers")
		w.start()
		w.later(time.Hour)
		w.edit(a, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.finalizerGone(a, 10*time.Minute)
		w.edit(a, func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeLoadBalancer })
		w.settled(a)
	})
}

// A load balancer that its Service gave up is missed by nobody.
func TestGivenUpAndVanished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		gone, s := w.service("gone"), w.service("web")
		w.settled(gone)
		w.settled(s)
		w.later(10 * time.Minute)
		w.edit(gone, with(settings.Create, "false"))
		w.later(10 * time.Minute)
		w.removeByHand(gone)
		w.later(time.Hour)
		w.removeByHand(s)
		w.eventually("a new one is made", func() bool { return w.posts() == 3 })
	})
}

// The machines go first, then the load balancer by hand, then the Service.
func TestTeardownWithoutNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		for _, name := range []string{"node-0", "node-1"} {
			w.removeNode(name)
		}
		for _, id := range w.ids {
			w.destroy(id)
		}
		w.later(10 * time.Minute)
		w.removeByHand(s)
		w.later(10 * time.Second)
		w.deleting(s)
		w.finalizerGone(s, 10*time.Minute)
	})
}

// A load balancer whose address the Service's status has is the Service's, whatever port it leads to; one of another
// address needs rules that lead to the Service.
func TestMigrationWithAnotherPort(t *testing.T) {
	for name, published := range map[string]bool{"published": true, "not published": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				lb := w.existing("www", behind(w.ids...))
				s := w.service("web", old, with(settings.ID, lb.ID), with(settings.Label, "www"), func(s *v1.Service) {
					if published {
						s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4}}
					}
					s.Finalizers = []string{servicehelper.LoadBalancerCleanupFinalizer}
					s.Spec.Ports[0].NodePort = 32111
				})
				w.start()
				w.later(10 * time.Minute)
				if adopted := w.entry(s).ID == lb.ID; adopted != published {
					t.Errorf("adopted: %t; events %q", adopted, w.events())
				}
			})
		})
	}
}

// Machines that are powered off serve no other cluster.
func TestOldMachinesArePoweredOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(time.Hour)
		w.stop()
		for _, id := range w.ids {
			w.order(http.MethodPost, "/v2/instances/"+id+"/halt")
		}
		w.later(time.Minute)
		w.ids = nil
		for _, name := range []string{"node-0", "node-1"} {
			w.removeNode(name)
		}
		w.addMachine("new-0")
		w.start()
		w.within(10*time.Minute, "the new machine serves", func() bool { return w.serves(lb, w.ids) })
	})
}

// The only machine that can be a backend flaps, beside a Node of another cloud that never can.
func TestOnlyFitNodeFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.removeNode("node-1")
		w.addNode("elsewhere", "aws:///eu-west-1/i-0123")
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		for range 20 {
			w.editNode("node-0", ready(false))
			w.later(30 * time.Second)
			w.editNode("node-0", ready(true))
			w.later(time.Minute)
			if n := len(w.truth(lb.ID).Instances); n != 1 {
				t.Fatalf("%d backends", n)
			}
		}
	})
}

// Most nodes flap: the few that do not can't bear the traffic of all.
func TestMostNodesFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := []string{"node-0", "node-1", "node-2", "node-3", "node-4", "node-5"}
		for _, name := range names[2:] {
			w.addMachine(name)
		}
		s := w.service("web")
		lb := w.settled(s)
		w.within(time.Minute, "all serve", func() bool { return len(w.truth(lb.ID).Instances) == len(names) })
		w.later(10 * time.Minute)
		for range 5 {
			for _, name := range names[1:] {
				w.editNode(name, ready(false))
			}
			w.later(20 * time.Second)
			for _, name := range names[1:] {
				w.editNode(name, ready(true))
			}
			w.later(20 * time.Second)
			if n := len(w.truth(lb.ID).Instances); n != len(names) {
				t.Fatalf("%d backends though all are ready", n)
			}
		}
	})
}

// The process ends between two deletions and their answers.
func TestEndsDuringDeletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.oldPair()
		hold := w.cloud.Hold("delete_load_balancer", simulator.FaultHoldAfter)
		w.deleting(a)
		w.deleting(b)
		w.later(2 * time.Second)
		w.stop()
		hold.Release()
		w.later(time.Second)
		w.start()
		w.finalizerGone(a, 10*time.Minute)
		w.finalizerGone(b, 10*time.Minute)
		w.none()
	})
}

// A Service that gives up its load balancer ends the doubt about it.
func TestGivenUpInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		clone := w.restored(s)
		clone.start()
		clone.wantEvent("no nodes of this cluster")
		doubts := func() float64 {
			n, _ := metric(t, "doubted_load_balancers", "")
			return n
		}
		if n := doubts(); n != 1 {
			t.Errorf("%v doubts", n)
		}
		clone.edit(s, with(settings.Create, "false"))
		clone.eventually("the doubt is over", func() bool { return doubts() == 0 })
	})
}
