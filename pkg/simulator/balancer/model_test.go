package balancer

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// seeded returns a source of chance and says how to have it again.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func randomPool(random *rand.Rand) pool {
	p := make(pool, random.IntN(8))
	for i := range p {
		p[i] = candidate{id: strconv.Itoa(i), healthy: random.IntN(3) > 0, tried: random.IntN(5) == 0, connections: random.IntN(4)}
	}
	return p
}

// TestPickKeepsItsPromises checks what every choice from any pool has to fulfil.
func TestPickKeepsItsPromises(t *testing.T) {
	random := seeded(t)
	for range 50_000 {
		p, turn := randomPool(random), random.Uint64()
		algorithm := []string{roundRobin, leastConn}[random.IntN(2)]
		sticky := []string{"", strconv.Itoa(random.IntN(9))}[random.IntN(2)]
		usable, fewest, stuck := 0, 1<<30, false
		for _, c := range p {
			if c.usable() {
				usable++
				fewest = min(fewest, c.connections)
				stuck = stuck || c.id == sticky
			}
		}
		i, ok := p.pick(algorithm, turn, sticky)
		switch {
		case ok != (usable > 0):
			t.Fatalf("%+v: picked %v of %d usable", p, ok, usable)
		case !ok:
		case !p[i].usable():
			t.Fatalf("%+v: picked %d, which cannot be used", p, i)
		case stuck && p[i].id != sticky:
			t.Fatalf("%+v: picked %d for a client that belongs to %s", p, i, sticky)
		case !stuck && algorithm == leastConn && p[i].connections != fewest:
			t.Fatalf("%+v: picked %d, which has more than %d connections", p, i, fewest)
		}
	}
}

// TestPickIsFair: over as many whole rounds as one likes, everybody usable has had the same number of turns; by least
// connections too, as long as none ends.
func TestPickIsFair(t *testing.T) {
	random := seeded(t)
	for range 2_000 {
		p, first, rounds := randomPool(random), random.Uint64()>>1, 1+random.IntN(5)
		usable := 0
		for i := range p {
			p[i].connections = 0
			if p[i].usable() {
				usable++
			}
		}
		for _, algorithm := range []string{roundRobin, leastConn} {
			counts := make([]int, len(p))
			for turn := range uint64(rounds * usable) {
				for i := range p {
					p[i].connections = counts[i]
				}
				i, _ := p.pick(algorithm, first+turn, "")
				counts[i]++
			}
			for i, c := range p {
				if c.usable() && counts[i] != rounds || !c.usable() && counts[i] != 0 {
					t.Fatalf("%s over %+v: %v turns in %d rounds", algorithm, p, counts, rounds)
				}
			}
		}
	}
}

// TestVerdictModel: a backend is what the last decisive run of checks says, a decisive run being the first check, or
// as many equal ones in a row as the threshold of their kind says.
func TestVerdictModel(t *testing.T) {
	random := seeded(t)
	for range 3_000 {
		healthyAfter, unhealthyAfter := 1+random.IntN(5), 1+random.IntN(5)
		bias := 1 + random.IntN(9)
		var results []bool
		var v verdict
		for range 60 {
			good := random.IntN(10) < bias
			results = append(results, good)
			var failure error
			if !good {
				failure = errors.New("bad")
			}
			v = v.next(failure, healthyAfter, unhealthyAfter)
			if want := lastDecisive(results, healthyAfter, unhealthyAfter); v.healthy != want || !v.checked {
				t.Fatalf("%v with thresholds %d and %d: %+v, want healthy %v", results, healthyAfter, unhealthyAfter, v, want)
			}
		}
	}
}

func lastDecisive(results []bool, healthyAfter, unhealthyAfter int) bool {
	for end := len(results); end > 1; end-- {
		kind, needed := results[end-1], unhealthyAfter
		if kind {
			needed = healthyAfter
		}
		run := 0
		for i := end - 1; i >= 0 && results[i] == kind; i-- {
			run++
		}
		if run >= needed {
			return kind
		}
	}
	return results[0]
}

// TestListenersTakeTurnsByThemselves: two rules that are used alternately both use both backends.
func TestListenersTakeTurnsByThemselves(t *testing.T) {
	m := newMembers(klog.Background())
	for _, id := range []string{"a", "b"} {
		backend := simulator.BalancerBackend{InstanceID: id}
		m.list = append(m.list, &member{backend: backend, token: tokenOf(backend), verdict: verdict{checked: true, healthy: true}})
	}
	seen := map[listener]map[string]int{}
	for range 4 {
		for _, l := range []listener{{port: 80}, {port: 443}, {udp: true, port: 443}} {
			one, ok := m.acquire(choice{listener: l, algorithm: roundRobin})
			if !ok {
				t.Fatal("nobody")
			}
			if seen[l] == nil {
				seen[l] = map[string]int{}
			}
			seen[l][one.backend.InstanceID]++
		}
	}
	for l, counts := range seen {
		if counts["a"] != 2 || counts["b"] != 2 {
			t.Errorf("%+v: %v", l, counts)
		}
	}
}
