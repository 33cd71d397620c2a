package inflight

import (
	"context"
	"sync"
)

// Queue lets operations on one key begin one after the other, while what they started may still be settling.
// The platform locks an instance while it works on it, so orders to one instance must not overlap, but waiting
// for each of them to become visible before giving the next would make ten disks take ten times as long.
// Its zero value is ready.
type Queue struct {
	mu    sync.Mutex
	lines map[string]*line
}

type line struct {
	token    chan struct{} // holds one token while nobody gives an order
	users    int           // turns that exist, waiting ones included
	settling int
	settled  chan struct{} // closed and replaced when an operation has settled
}

// Turn is the right to give orders to the key. It must be left.
type Turn struct {
	queue              *Queue
	key                string
	line               *line
	ordering, settling bool
}

// Enter waits for the turn of the caller.
func (q *Queue) Enter(ctx context.Context, key string) (*Turn, error) {
	q.mu.Lock()
	if q.lines == nil {
		q.lines = map[string]*line{}
	}
	l, ok := q.lines[key]
	if !ok {
		l = &line{token: make(chan struct{}, 1), settled: make(chan struct{})}
		l.token <- struct{}{}
		q.lines[key] = l
	}
	l.users++
	q.mu.Unlock()

	t := &Turn{queue: q, key: key, line: l}
	select {
	case <-l.token:
		t.ordering = true
		return t, nil
	case <-ctx.Done():
		t.Leave()
		return nil, ctx.Err()
	}
}

// Lengths counts the turns that exist, those that wait included, by key. Keys without any are left out.
func (q *Queue) Lengths() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	lengths := make(map[string]int, len(q.lines))
	for key, l := range q.lines {
		lengths[key] = l.users
	}
	return lengths
}

// Settle says that the order is given and its effect is awaited: the next may give its order.
func (t *Turn) Settle() {
	if t.line == nil || t.settling {
		return
	}
	t.queue.mu.Lock()
	t.line.settling++
	t.queue.mu.Unlock()
	t.settling = true
	t.Pass()
}

// Pass says that no order is given any more: the next may give its own. It may be called more than once, and before Settle.
func (t *Turn) Pass() {
	if !t.ordering {
		return
	}
	t.ordering = false
	t.line.token <- struct{}{}
}

// AwaitOthers waits until one of the operations that were settling is done. It answers false at once when there
// is none: then somebody else keeps the instance busy and waiting here is of no use.
func (t *Turn) AwaitOthers(ctx context.Context) bool {
	t.queue.mu.Lock()
	n, settled := t.line.settling, t.line.settled
	t.queue.mu.Unlock()
	if n == 0 {
		return false
	}
	select {
	case <-settled:
		return true
	case <-ctx.Done():
		return false
	}
}

// Leave ends the turn. It may be called more than once.
func (t *Turn) Leave() {
	if t.line == nil {
		return
	}
	t.Pass()
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.settling {
		t.line.settling--
		close(t.line.settled)
		t.line.settled = make(chan struct{})
	}
	if t.line.users--; t.line.users == 0 {
		delete(q.lines, t.key)
	}
	t.line = nil
}
