package servicelb

import (
	"sync"
	"time"
)

// The bounds of the wait between two looks at a load balancer that is being made. Looks are shared by all that are.
const (
	shortestWait = time.Second
	longestWait  = 15 * time.Second
	// lateAfter is when it counts as late: people are told, and looks become rare.
	lateAfter = 10 * time.Minute
	lateWait  = time.Minute
)

// pace spaces the looks at load balancers that are being made: few while the last ones took longer than this, then
// soon, then ever more slowly.
type pace struct {
	mu    sync.Mutex
	usual time.Duration // how long the last one took
}

// newPace starts with what a quick platform needs.
func newPace() pace { return pace{usual: 20 * time.Second} }

// wait returns how long to wait for a load balancer that has been made for this long.
func (p *pace) wait(age time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	early := p.usual * 9 / 10
	switch {
	case age >= lateAfter:
		return lateWait
	case early > age:
		return min(max(early-age, shortestWait), longestWait*2)
	}
	return min(max((age-p.usual)/8, shortestWait), longestWait)
}

// took learns how long one took.
func (p *pace) took(age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usual = min(age, lateAfter)
}
