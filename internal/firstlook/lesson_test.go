package firstlook

import (
	"testing"
	"time"
)

const (
	margin = 100 * time.Millisecond
	limit  = 30 * time.Second
)

// watch looks as a waiter does, every second from the first look on, and teaches what it saw. It returns the number of looks.
func watch(l *Lesson, takes time.Duration, mayTry bool) int {
	looks, missed, at := 1, time.Duration(0), l.Look()
	for ; at < takes; looks++ {
		missed, at = at, at+time.Second
	}
	l.Learn(missed, at, mayTry)
	return looks
}

// TestKnown: what is known is not put to the test before its time, nor without leave, and then once in a while.
func TestKnown(t *testing.T) {
	const often = 5
	l := Known(5*time.Second, margin, limit, often)
	first := l.Look()
	for i := range 40 {
		if watch(l, 5*time.Second, false) != 1 || l.Look() != first {
			t.Fatalf("without leave look %d comes at %s, not at %s", i, l.Look(), first)
		}
	}
	l = Known(5*time.Second, margin, limit, often)
	early := []int{}
	for i := range 100 {
		if watch(l, 5*time.Second, true) > 1 {
			early = append(early, i)
		}
		if i < often-1 && l.Look() != first {
			t.Errorf("it was tried sooner after %d", i+1)
		}
	}
	if len(early) == 0 || early[0] > 2*often || len(early) > 4 {
		t.Errorf("looks came too early in %d of 100", early)
	}
	if d := l.Look(); d < 5*time.Second || d > 5500*time.Millisecond {
		t.Errorf("in the end it looks after %s", d)
	}
}

// TestKnownWithoutNumber: 0 is as often as later.
func TestKnownWithoutNumber(t *testing.T) {
	l := Known(5*time.Second, margin, limit, 0)
	for i := range forgetMiss {
		if tries := l.Learn(0, 5*time.Second, true); tries != (i == forgetMiss-1) {
			t.Errorf("after %d: %t", i+1, tries)
		}
	}
}

// TestFasterThanKnown: what is known wrongly is given up.
func TestFasterThanKnown(t *testing.T) {
	l := Known(5*time.Second, margin, limit, 5)
	for range 50 {
		watch(l, 3*time.Second, true)
	}
	if d := l.Look(); d > 3300*time.Millisecond {
		t.Errorf("it looks after %s", d)
	}
}

// TestLateness: the share of a long time is bounded, and of a short one there is a least.
func TestLateness(t *testing.T) {
	for takes, late := range map[time.Duration]time.Duration{time.Second: margin, 5 * time.Second: 250 * time.Millisecond, time.Minute: 500 * time.Millisecond} {
		if got := Guess(takes, margin, time.Hour).Look() - takes; got != late {
			t.Errorf("what takes %s is looked at %s late, not %s", takes, got, late)
		}
	}
}

// TestException: one time that is far longer than expected says little, two in a row say that it goes on, and a usual one
// in between makes the next one an exception again.
func TestException(t *testing.T) {
	l := Known(5*time.Second, margin, limit, 0)
	watch(l, 20*time.Second, true)
	once := l.Look()
	if once > 11*time.Second {
		t.Errorf("after one the next is looked at after %s", once)
	}
	watch(l, 5*time.Second, true)
	watch(l, 40*time.Second, true)
	if d := l.Look(); d > 21*time.Second {
		t.Errorf("after another one it is looked at after %s", d)
	}
	watch(l, 50*time.Second, true)
	if d := l.Look(); d < limit || d > limit+mostLate {
		t.Errorf("after two in a row it is looked at after %s", d)
	}
}
