package servicelb

import (
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Node that is ready, not ready, ready and so on would cost two writes to each load balancer each time. It is taken out at
// once, but gets traffic again only after it has been ready for a while, longer each time.
const (
	flapFirst   = 10 * time.Second
	flapLongest = 5 * time.Minute
	// flapMemory is how long a Node must have been ready for what was before to be forgotten.
	flapMemory = 10 * time.Minute
)

// flap is what is known of a Node that was not ready.
type flap struct {
	outs int       // how often it stopped being ready
	back time.Time // since when it has been ready again, zero while it is not
}

// pause returns for how long the Node has to be ready. The first time is free: most Nodes fail once.
func (f flap) pause() time.Duration {
	if f.outs < 2 {
		return 0
	}
	return min(flapFirst<<min(f.outs-2, 10), flapLongest)
}

// flaps remembers Nodes that were not ready. The zero value knows none.
type flaps struct {
	mu    sync.Mutex
	nodes map[types.UID]flap
}

// out notes that a Node is not ready any more.
func (f *flaps) out(uid types.UID, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.nodes[uid]
	if !known.back.IsZero() && now.Sub(known.back) >= flapMemory {
		known.outs = 0
	}
	if f.nodes == nil {
		f.nodes = map[types.UID]flap{}
	}
	f.nodes[uid] = flap{outs: known.outs + 1}
}

// in notes that a Node is ready again, and returns when it will get traffic.
func (f *flaps) in(uid types.UID, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, failed := f.nodes[uid]
	if !failed {
		return 0
	}
	known.back = now
	f.nodes[uid] = known
	return known.pause()
}

func (f *flaps) forget(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, uid)
}

// steady returns those of the Nodes, which can all be backends, that have been ready for long enough. It returns all if fewer
// than half of them have: what flaps is better than nothing, and where most flap something else than these nodes is the
// reason, and the rest can't bear the traffic of all.
func (c *Controller) steady(nodes []*v1.Node) []*v1.Node {
	steady := c.flaps.steady(nodes, time.Now())
	if 2*len(steady) < len(nodes) {
		return nodes
	}
	return steady
}

// steady returns the Nodes that have been ready for long enough.
func (f *flaps) steady(nodes []*v1.Node, now time.Time) []*v1.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(nodes), func(node *v1.Node) bool {
		known := f.nodes[node.UID]
		return !known.back.IsZero() && now.Sub(known.back) < known.pause()
	})
}

// flapped notes what a change of a Node says about its readiness; nil stands for a Node that is not there.
func (c *Controller) flapped(before, after *v1.Node, old, fresh standing) {
	switch {
	case after == nil:
		c.flaps.forget(before.UID)
	case before == nil || before.UID != after.UID:
	case old.ready && !fresh.ready:
		c.flaps.out(after.UID, time.Now())
	case !old.ready && fresh.ready:
		if pause := c.flaps.in(after.UID, time.Now()); pause > 0 {
			time.AfterFunc(pause, func() { c.waves.announce(false) })
		}
	}
}
