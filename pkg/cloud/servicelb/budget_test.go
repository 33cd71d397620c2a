package servicelb_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// lifeCalls is what one Service's life costs at most: a list that shows no load balancer of the label, the lists of
// instances and bare metals, the create, one more list for what this process itself writes into the Service, one at the time
// when there is an address and one more if that was too early; and for the deletion a list, the delete, a look, and a
// list and a look when reads show that it is gone.
const lifeCalls = 12

// TestBudgetOfALife: reads lag by a second, and a Service's life costs no more than planned whatever the phase of the
// clock, for a fresh process and for one that has run for long.
func TestBudgetOfALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 9))
		between := func(least, most time.Duration) time.Duration {
			return least + time.Duration(random.Int64N(int64(most-least)))
		}
		// The look for drift, at a random time, costs whatever is under way just then two more calls.
		w := newWorld(t, lagging(simulator.ReadLags{"all": simulator.DefaultReadLag}))
		delays := simulator.DefaultDelays()
		shown := delays.LoadBalancer + delays.LoadBalancerAddress + simulator.DefaultReadLag
		w.later(between(0, 10*time.Minute))
		total := 0
		const lives = 50
		for i := range lives {
			before, seen, began := w.calls(), len(w.cloud.Requests()), time.Now()
			s := w.service(fmt.Sprintf("s%d", i))
			for len(w.fresh(s).Status.LoadBalancer.Ingress) == 0 && time.Since(began) < patience {
				time.Sleep(100 * time.Millisecond) // of the fake clock
			}
			if took := time.Since(began); took > shown*11/10 {
				t.Errorf("Service %d had its address after %s, reads show it after %s", i, took, shown)
			}
			w.later(between(100*time.Millisecond, 20*time.Second))
			w.delete(s)
			cost := w.calls() - before
			total += cost
			if cost > lifeCalls {
				var order []string
				for _, r := range w.cloud.Requests()[seen:] {
					order = append(order, fmt.Sprintf("%5.1f s %s", r.Began.Sub(began).Seconds(), r.Operation))
				}
				t.Errorf("life %d cost %d calls, %d are planned:\n%s", i, cost, lifeCalls, strings.Join(order, "\n"))
			}
			w.later(between(time.Second, 2*time.Minute))
		}
		t.Logf("%.2f calls a life", float64(total)/lives)
	})
}
