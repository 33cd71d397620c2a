package servicelb_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// What things cost, in the platform's own pace and in fake time: these figures do not depend on the machine.
func TestCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, drifting)
		w.later(10 * time.Minute)
		delays := simulator.DefaultDelays()
		platform := delays.LoadBalancer + delays.LoadBalancerAddress
		for i := range 3 {
			began, before := time.Now(), w.calls()
			s := w.service(fmt.Sprintf("s%d", i))
			for len(w.fresh(s).Status.LoadBalancer.Ingress) == 0 {
				time.Sleep(10 * time.Millisecond) // fake time; only the address ends the wait
				if time.Since(began) > patience {
					t.Fatal("no address")
				}
			}
			took := time.Since(began)
			calls := w.calls() - before
			t.Logf("Service to address: %s, the platform's own delay %s, %d calls", took, platform, calls)
			if limit := platform*105/100 + time.Second; took > limit {
				t.Errorf("Service to address took %s, more than %s", took, limit)
			}
			if limit := map[bool]int{true: 7, false: 5}[i == 0]; calls > limit { // the first one reads the instances, too
				t.Errorf("%d calls for one load balancer", calls)
			}
		}

		var all []*v1.Service
		for i := range 100 {
			all = append(all, w.service(fmt.Sprintf("many%d", i)))
		}
		for _, s := range all {
			w.settled(s)
		}
		w.later(10 * time.Minute)
		before, writes := w.calls(), w.writes()
		w.later(time.Hour)
		calls := w.calls() - before
		t.Logf("a quiet hour with 103 Services: %d calls", calls)
		if calls > 2*12 || w.writes() != writes {
			t.Errorf("%d calls, %d writes in a quiet hour", calls, w.writes()-writes)
		}
		w.scaleOut(103)
	})
}
