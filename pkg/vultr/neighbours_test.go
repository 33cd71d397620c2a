package vultr_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// address is what several programs share: the simulated cloud's limit for one source.
type address struct {
	*testing.T
	cloud http.Handler
}

func newAddress(t *testing.T) *address {
	t.Helper()
	sim, err := simulator.New(t.Context(), simulator.Config{Keys: []string{"KEY"}, RateLimit: 30, Logger: klog.Background()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return &address{t, sim}
}

// program is one of those behind the address.
type program struct {
	*vultr.Client
	way *behindOneAddress
}

func (a *address) program(cfg vultr.Config) program {
	a.Helper()
	way := &behindOneAddress{cloud: a.cloud}
	cfg.BaseURL, cfg.Key = "http://vultr.test", "KEY"
	c, err := vultr.NewClientOver(cfg, way)
	if err != nil {
		a.Fatal(err)
	}
	return program{c, way}
}

// losesNode is what a cloud controller manager does whose cluster loses a node: a change of each of a hundred load balancers. It
// returns how long it took.
func (p program) losesNode(t *testing.T) time.Duration {
	t.Helper()
	const balancers, workers, none = 100, 10, "eeeeeeee-0000-4000-8000-000000000001"
	began := time.Now()
	var todo atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for todo.Add(1) <= balancers {
				// There is no such load balancer, but the API has to be asked to know.
				err := p.UpdateLoadBalancer(vultr.Urgent(t.Context()), none, vultr.LoadBalancerSettings{Instances: &[]string{}})
				if !vultr.IsNotFound(err) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// steady has the program ask for something every so often until ctx ends, and returns how long the longest answer took.
func (p program) steady(ctx context.Context, t *testing.T, every time.Duration) (longest time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return longest
		case <-tick.C:
		}
		wg.Go(func() {
			began := time.Now()
			if _, err := p.Account(context.WithoutCancel(ctx)); err != nil {
				t.Errorf("a neighbour's call: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(began))
		})
	}
}

var (
	csiRates = vultr.Config{StartRate: 10, MaxRate: 20}
	ccmRates = vultr.Config{StartRate: 5, MaxRate: 10}
)

// A cluster that loses a node is in haste for four seconds. What others behind its address ask for meanwhile, as much as the platform
// has left for them, is answered as ever.
func TestNeighboursOfHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAddress(t)
		ccm, csi := a.program(ccmRates), a.program(csiRates)
		ctx, cancel := context.WithCancel(t.Context())
		var longest time.Duration
		var wg sync.WaitGroup
		wg.Go(func() { longest = csi.steady(ctx, t, 250*time.Millisecond) })
		time.Sleep(5 * time.Minute) // fake time
		took := ccm.losesNode(t)
		time.Sleep(time.Minute) // fake time
		cancel()
		wg.Wait()
		if took > 4200*time.Millisecond {
			t.Errorf("a hundred load balancers took %v", took)
		}
		if n := ccm.way.refused.Load() + csi.way.refused.Load(); n > 0 {
			t.Errorf("%d calls were refused", n)
		}
		if longest > 200*time.Millisecond {
			t.Errorf("a neighbour waited %v for an answer", longest)
		}
	})
}

// Three clusters behind one address lose their nodes together, as when a zone fails, while a fourth program asks for something. They
// find out at once that there is too little for all of them, and share it as they did without haste.
func TestClustersThatLoseNodesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clusters = 3
		a := newAddress(t)
		csi := a.program(csiRates)
		var ccms [clusters]program
		for i := range ccms {
			ccms[i] = a.program(ccmRates)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var longest time.Duration
		var neighbour sync.WaitGroup
		neighbour.Go(func() { longest = csi.steady(ctx, t, 250*time.Millisecond) })
		time.Sleep(5 * time.Minute) // fake time
		var took [clusters]time.Duration
		var wg sync.WaitGroup
		for i, ccm := range ccms {
			wg.Go(func() { took[i] = ccm.losesNode(t) })
		}
		wg.Wait()
		time.Sleep(time.Minute) // fake time
		cancel()
		neighbour.Wait()
		t.Logf("took %v; the neighbour waited %v at most, and was refused %d times", took, longest, csi.way.refused.Load())
		for i, ccm := range ccms {
			if took[i] > 20*time.Second {
				t.Errorf("cluster %d took %v", i, took[i])
			}
			// A refusal meets what is under way at that moment, and there is one of too much haste, and a few of the usual rates.
			if n := ccm.way.refused.Load(); n > 15 {
				t.Errorf("%d calls of cluster %d were refused", n, i)
			}
		}
		if longest > 5*time.Second {
			t.Errorf("the neighbour waited %v for an answer", longest)
		}
	})
}
