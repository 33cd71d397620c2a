package vultr

import (
	"sync"
	"time"
)

const (
	// A look that comes just too early costs a whole interval, one that comes a little late almost nothing.
	lateShare  = 0.05
	leastLate  = 100 * time.Millisecond
	towardsNew = 0.3  // share of a new observation in the expectation
	creepDown  = 0.02 // how fast the expectation falls while first looks succeed
	// forgetMiss is the number of successful first looks after which a shorter time is tried again.
	forgetMiss  = 25
	usualOther  = 2 * time.Second
	longestLook = 30 * time.Second
)

// learned holds how long operations take on this platform lately, for the time of the first look.
type learned struct {
	scale float64

	mu  sync.Mutex
	ops map[string]*lesson
}

// lesson is what is known about one operation. It only computes.
type lesson struct {
	expect time.Duration
	// miss is the latest time at which a look came too early lately; 0 if none.
	miss time.Duration
	// hits counts successful first looks since then.
	hits int
}

func newLearned(scale float64) *learned {
	l := &learned{scale: scale, ops: map[string]*lesson{}}
	for op, usual := range map[string]time.Duration{
		"create": 3 * time.Second, "attach": 4 * time.Second, "detach": 4 * time.Second,
		// A new size shows at once; what takes time is that the guest sees it.
		"resize": 500 * time.Millisecond,
	} {
		l.ops[op] = &lesson{expect: l.scaled(usual)}
	}
	return l
}

func (l *learned) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * l.scale) }

func (l *learned) lesson(op string) *lesson {
	if l.ops[op] == nil {
		l.ops[op] = &lesson{expect: l.scaled(usualOther)}
	}
	return l.ops[op]
}

// firstLook is how long after its begin op should be looked at first.
func (l *learned) firstLook(op string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lesson(op).firstLook(l.scaled(leastLate))
}

// took learns that op was not finished at missed (0: no look came too early) and was at seen.
func (l *learned) took(op string, missed, seen time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lesson(op).learn(missed, seen, l.scaled(leastLate), l.scaled(longestLook))
}

func (s *lesson) firstLook(margin time.Duration) time.Duration {
	return s.expect + max(margin, time.Duration(float64(s.expect)*lateShare))
}

func (s *lesson) learn(missed, seen, margin, limit time.Duration) {
	if missed > 0 {
		s.miss, s.hits = missed, 0
		// It ended somewhere between the two looks.
		middle := missed + (seen-missed)/2
		s.expect += time.Duration(towardsNew * float64(middle-s.expect))
		s.expect = min(max(s.expect, missed), limit)
		return
	}
	s.hits++
	if s.hits >= forgetMiss {
		s.miss, s.hits = 0, 0
	}
	// It took at most seen: try a little sooner, but not as early as was too early a short while ago.
	lower := time.Duration(float64(s.expect) * (1 - creepDown))
	if lower > s.miss {
		s.expect = max(lower, margin)
	}
}
