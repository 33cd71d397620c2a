package servicelb

import (
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/firstlook"
)

// The bounds of the wait between two looks at a load balancer that is being made. Looks are shared by all that are.
const (
	shortestWait = time.Second
	longestWait  = 15 * time.Second
	// lateAfter is when it counts as late: people are told, and looks become rare.
	lateAfter = 10 * time.Minute
	lateWait  = time.Minute
)

// usualWait is what a quick platform needs until reads show the address of a new load balancer: twenty seconds until it is
// active, two until it has an address, and one by which reads are late.
const usualWait = 23 * time.Second

// pace spaces the looks at load balancers that are being made: the first one when the last ones were finished, few before
// that if they took long, then soon, then ever more slowly.
type pace struct {
	mu     sync.Mutex
	lesson *firstlook.Lesson
}

// newPace starts with what a quick platform needs.
func newPace() pace { return pace{lesson: firstlook.Known(usualWait, shortestWait/10, lateAfter, 0)} }

// wait returns how long to wait for a load balancer that has been made for this long.
func (p *pace) wait(age time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.lesson.Look()
	switch {
	case age >= lateAfter:
		return lateWait
	case first > age:
		return min(first-age, 2*longestWait)
	}
	return min(max((age-first)/8, shortestWait), longestWait)
}

// took learns that one was ready at seen, and that the look before that, at missed, came too early. Those that came
// because something else changed say nothing.
func (p *pace) took(missed, seen time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if missed < p.lesson.Look() {
		missed = 0
	}
	p.lesson.Learn(missed, seen, true)
}
