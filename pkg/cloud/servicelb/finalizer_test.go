package servicelb_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"
)

// The API server refuses whatever is to be written into the oldest of those that are to share, as a policy of its Namespace may have it.
// Only that one is not served: another one makes the load balancer. It joins when it can.
func TestFinalizerOfTheOldestIsRefused(t *testing.T) {
	for name, restart := range map[string]bool{"by one process": false, "by the next one": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
				w.allowSharing("shop", "www")
				w.allowSharing("bank", "www")
				refuses := w.refusePatches("first", false)
				first := w.service("first", www, on(80, 30080), aged(time.Hour))
				second := w.service("second", www, on(443, 30443), in("bank"))
				w.wantEvent("denied by a policy")
				w.share("443:30443", second)
				if restart {
					w.start()
				}
				w.later(20 * time.Minute)
				if len(w.fresh(first).Status.LoadBalancer.Ingress) > 0 || w.posts() != 1 {
					t.Errorf("status %+v, %d were made", w.fresh(first).Status, w.posts())
				}
				refuses.Store(false)
				w.share("443:30443 80:30080", first, second)
				if !servicehelper.HasLBFinalizer(w.fresh(first)) || w.entry(second).ID == "" {
					t.Errorf("finalizers %v, ledger %+v", w.fresh(first).Finalizers, w.entry(second))
				}
			})
		})
	}
}

// Somebody takes the finalizer off, and it can't be put back. The load balancer follows the nodes all the same, and all who share it.
func TestFinalizerCannotBePutBack(t *testing.T) {
	for name, shared := range map[string]bool{"alone": false, "shared": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.service("first", www, on(80, 30080), aged(time.Hour))
				second, ports := first, "80:30080"
				if shared {
					second, ports = w.service("second", www, on(443, 30443)), "443:30443 80:30080"
				}
				lb := w.share(ports, first, second)
				w.later(10 * time.Minute)
				refuses := w.refusePatches("first", false)
				w.edit(first, func(s *v1.Service) { s.Finalizers = nil })
				w.wantEvent("denied by a policy")
				w.editNode("node-0", ready(false))
				w.within(time.Minute, "the node that has failed is no backend", w.on(lb.ID, "node-1"))
				w.edit(second, also(8080, 32080))
				w.eventually("the new port is served", func() bool { return len(w.truth(lb.ID).Rules) == len(lb.Rules)+1 })
				w.later(10 * time.Minute)
				refuses.Store(false)
				w.eventually("it has its finalizer again", func() bool { return servicehelper.HasLBFinalizer(w.fresh(first)) })
				w.later(10 * time.Minute)
				if w.only().ID != lb.ID || w.entry(first).ID != lb.ID {
					t.Errorf("ledger %+v", w.entry(first))
				}
			})
		})
	}
}
