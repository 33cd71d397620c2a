// Package firstlook learns how long an operation takes, for the time of the first look whether it is finished.
package firstlook

import "time"

const (
	// A look that comes just too early costs a whole interval, one that comes a little late almost nothing.
	lateShare  = 0.05
	mostLate   = 500 * time.Millisecond
	towardsNew = 0.3  // share of a new observation in the expectation
	creepDown  = 0.02 // how fast the expectation falls while first looks succeed
	// forgetMiss is the number of successful first looks after which a shorter time is tried again.
	forgetMiss = 25
	// exception is how many times longer than expected an operation takes that says little about the next one.
	exception = 2
)

// Lesson is what is known about one operation. It only computes, and is not safe for concurrent use.
type Lesson struct {
	// margin is how late the first look is at least; limit bounds what is expected.
	margin, limit time.Duration
	expect        time.Duration
	// miss is the latest time at which a look came too early lately; 0 if none.
	miss time.Duration
	// hits counts successful first looks since then.
	hits int
	// slow is set while the last time was an exception.
	slow bool
}

// Guess is a lesson about an operation of which little is known: a shorter time is tried from the start.
func Guess(usual, margin, limit time.Duration) *Lesson {
	return &Lesson{expect: usual, margin: margin, limit: limit}
}

// Known is a lesson about an operation that usually takes so long. That is put to the test when it was seen to hold so
// often; 0 is as often as after any later test.
func Known(usual, margin, limit time.Duration, often int) *Lesson {
	l := Guess(usual, margin, limit)
	l.miss = usual
	if often > 0 {
		l.hits = forgetMiss - often
	}
	return l
}

// Look returns how long after the operation began it should be looked at first.
func (l *Lesson) Look() time.Duration {
	return l.expect + max(l.margin, min(mostLate, time.Duration(float64(l.expect)*lateShare)))
}

// Learn notes that the operation was not finished at missed (0: no look came too early) and was at seen. It reports whether
// a shorter time is tried from now on, which it is only if mayTry is set.
func (l *Lesson) Learn(missed, seen time.Duration, mayTry bool) bool {
	if missed > 0 {
		l.tookLonger(missed, seen)
		return false
	}
	l.slow = false
	l.hits++
	tries := l.hits >= forgetMiss && mayTry
	if tries {
		l.miss, l.hits = 0, 0
	}
	// It took at most seen: try a little sooner, but not as early as was too early a short while ago.
	lower := time.Duration(float64(l.expect) * (1 - creepDown))
	if lower > l.miss {
		l.expect = max(lower, l.margin)
	}
	return tries
}

func (l *Lesson) tookLonger(missed, seen time.Duration) {
	// It ended somewhere between the two looks.
	middle := missed + (seen-missed)/2
	slow := missed > exception*l.expect
	exceptional := slow && !l.slow
	l.slow = slow
	l.expect += time.Duration(towardsNew * float64(middle-l.expect))
	if !exceptional { // else the next ones need not wait as long
		l.miss, l.hits = missed, 0
		l.expect = max(l.expect, missed)
	}
	l.expect = min(l.expect, l.limit)
}
