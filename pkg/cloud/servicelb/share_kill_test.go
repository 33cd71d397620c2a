package servicelb_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"
)

// A process that is killed at any step of sharing and leaving leaves one load balancer for those that are there, and none in the end.
func TestGroupKilledAtAnyStep(t *testing.T) {
	for _, late := range []bool{false, true} {
		for n := int64(1); ; n++ {
			steps := int64(0)
			t.Run(fmt.Sprintf("step %d, late %t", n, late), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { steps = groupKilledAt(t, n, late) })
			})
			if steps < n || t.Failed() {
				break
			}
		}
	}
}

func groupKilledAt(t *testing.T, n int64, late bool) int64 {
	w := newCluster(t)
	l := &life{API: w.newClient(w.cloud.Key), ends: n, late: late}
	l.react(w)
	w.startWith(l)
	until := func(what string, done func() bool) {
		w.eventually(what, func() bool {
			if l.dead.Load() {
				w.later(2 * time.Second)
				w.stop()
				l.dead.Store(false)
				w.start()
			}
			return done()
		})
	}
	shared := func(ports string, all ...*v1.Service) func() bool {
		return func() bool {
			lbs := w.all()
			return len(lbs) == 1 && leads(lbs[0]) == ports && !slices.ContainsFunc(all, func(s *v1.Service) bool {
				ingress := w.fresh(s).Status.LoadBalancer.Ingress
				return len(ingress) != 1 || ingress[0].IP != lbs[0].IPv4
			})
		}
	}
	first, second := w.service("first", www, on(80, 30080)), w.service("second", www, on(443, 30443))
	until("both share", shared("443:30443 80:30080", first, second))
	third := w.service("third", www, on(8080, 32080))
	until("all three do", shared("443:30443 8080:32080 80:30080", first, second, third))
	w.deleting(first)
	until("the first goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(first)) })
	w.gone(first)
	until("two are left", shared("443:30443 8080:32080", second, third))
	w.deleting(second)
	w.deleting(third)
	until("all go", func() bool {
		return !servicehelper.HasLBFinalizer(w.fresh(second)) && !servicehelper.HasLBFinalizer(w.fresh(third))
	})
	w.none()
	if w.posts() != 1 {
		t.Errorf("%d requests to make one", w.posts())
	}
	return l.steps.Load()
}
