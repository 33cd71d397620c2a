package loadbalancers

import (
	"sync"
	"time"
)

// The bounds of the wait between two looks at a load balancer that is being made.
const (
	shortestWait = 3 * time.Second
	longestWait  = 15 * time.Second
)

// pace spaces the looks at load balancers that are being made: few while the last ones took longer than this, then
// soon, then ever more slowly.
type pace struct {
	mu    *sync.Mutex
	usual time.Duration // how long the last one took
}

// newPace starts with what a quick platform needs: an early look costs one call.
func newPace() pace { return pace{mu: &sync.Mutex{}, usual: 20 * time.Second} }

// wait returns how long to wait for a load balancer that has been made for this long.
func (p *pace) wait(age time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.usual - age; left > 0 {
		return min(max(left, shortestWait), longestWait)
	}
	return min(max((age-p.usual)/2, shortestWait), longestWait)
}

// took learns how long one took.
func (p *pace) took(age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usual = age
}
