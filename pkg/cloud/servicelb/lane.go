package servicelb

import (
	"sync"
	"time"
)

const (
	// changeTimeout bounds one change of a load balancer: it can be repeated, and a look follows.
	changeTimeout = 20 * time.Second
	// lanePause is when a load balancer's turn comes again that found the slow lane full.
	lanePause = 2 * time.Second
	// laneMemory is how long a load balancer that did not answer in time stays in the slow lane, unless a change of it is
	// answered before.
	laneMemory = time.Hour
)

// lane keeps load balancers that did not answer in time to some of the workers, so that the others are free for those
// that answer. Its zero value lets nobody in that was late.
type lane struct {
	mu   sync.Mutex
	free int
	slow map[key]time.Time // until when they are in it
}

// enter reports whether a load balancer may be synced now, and returns what to call after that.
func (l *lane) enter(name key, now time.Time) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, slow := l.slow[name]
	switch {
	case !slow:
		return func() {}, true
	case !now.Before(until):
		delete(l.slow, name)
		return func() {}, true
	case l.free == 0:
		return nil, false
	}
	l.free--
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.free++
	}, true
}

// late puts a load balancer into the slow lane.
func (l *lane) late(name key, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slow == nil {
		l.slow = map[key]time.Time{}
	}
	l.slow[name] = now.Add(laneMemory)
}

// answered takes a load balancer out of the slow lane.
func (l *lane) answered(name key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.slow, name)
}
