package vultr

import (
	"maps"
	"sync"
	"time"
)

const (
	// A wait that has gone on for slowAfter longer than usual, and then for slowestAfter, looks that seldom: what takes so
	// much longer hangs, perhaps for hours. Lags of reads, which are up to half a minute, are over by then.
	slowAfter, slowestAfter       = 30 * time.Second, time.Minute
	slowInterval, slowestInterval = 4 * time.Second, 8 * time.Second
	// sameWait is within which time a wait for the same goes on where the one before was given up when it was overdue: callers
	// have less patience than what hangs, and come again.
	sameWait = time.Minute
)

// overdue knows since when something is waited for, over all waits for it. It is safe for concurrent use.
type overdue struct {
	mu    sync.Mutex
	waits map[waitFor]*waited
}

// waitFor is what is waited for: waits with the same lesson for the same part of a resource are one.
type waitFor struct{ lesson, resource, part string }

// waited is what is known of the waits for one thing.
type waited struct {
	since time.Time // when the first one began
	until time.Time // when the last one ended
	now   int       // how many there are
}

// begin notes that a wait begins, and returns since when that is waited for. The wait ends with end. What was given up
// longer ago than the given time is another wait.
func (o *overdue) begin(key waitFor, within time.Duration) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for other, w := range o.waits {
		if w.now <= 0 && now.Sub(w.until) > within {
			delete(o.waits, other)
		}
	}
	w := o.waits[key]
	if w == nil {
		w = &waited{since: now}
		if o.waits == nil {
			o.waits = map[waitFor]*waited{}
		}
		o.waits[key] = w
	}
	w.now++
	return w.since
}

// end notes that a wait is over. It is remembered if it may go on, which is when it hangs and was given up.
func (o *overdue) end(key waitFor, hangs bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.waits[key]
	if w == nil {
		return // another wait for it has seen the end
	}
	w.now--
	w.until = time.Now()
	if !hangs {
		delete(o.waits, key)
	}
}

// forget is for a resource for which an order was just accepted: what is waited for from now on is the order's, and nothing that
// hung before.
func (o *overdue) forget(resource string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.waits, func(key waitFor, _ *waited) bool { return key.resource == resource })
}
