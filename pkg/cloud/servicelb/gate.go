package servicelb

import (
	"sync"
	"time"
)

// The circuit for requests that make load balancers: a platform that fails one will most likely fail the next, whose
// Service does not matter. After a few failures in a row one request at a time finds out whether it works again.
const (
	gateFailures = 3
	gateFirst    = 15 * time.Second
	gateLongest  = 5 * time.Minute
)

// gate is that circuit.
type gate struct {
	mu       sync.Mutex
	failures int
	opens    time.Time
}

// enter returns 0 when a request may leave, else how long to wait.
func (g *gate) enter(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures < gateFailures {
		return 0
	}
	if wait := g.opens.Sub(now); wait > 0 {
		return wait
	}
	g.opens = now.Add(g.pause()) // this one goes, the others wait for what becomes of it
	return 0
}

// failed counts a request that the platform could not handle.
func (g *gate) failed(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures++
	g.opens = now.Add(g.pause())
}

// worked closes the circuit.
func (g *gate) worked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures = 0
}

func (g *gate) pause() time.Duration {
	pause := gateFirst
	for range g.failures - gateFailures {
		if pause *= 2; pause >= gateLongest {
			return gateLongest
		}
	}
	return pause
}
