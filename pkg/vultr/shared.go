package vultr

import (
	"context"
	"errors"
	"sync"
	"time"
)

// gathering is how long a list waits for more readers: those of one moment share one list instead of two.
const gathering = 10 * time.Millisecond

// shared makes any number of readers cost one list at a time. It promises each reader a list that began late enough
// for that reader: a list that was already running when the reader asked may miss what the reader has just done.
type shared[T any] struct {
	fetch   func(ctx context.Context) ([]T, error)
	spacing time.Duration
	count   func(result string)
	// landed is told when a complete list began; nil is nobody.
	landed func(began time.Time)

	mu      sync.Mutex
	last    *List[T]
	began   time.Time // of the newest flight
	running *flight[T]
	next    *flight[T]
}

// flight is one list, running or about to begin, and those who wait for it.
type flight[T any] struct {
	fetch   func() ([]T, error)
	cancel  context.CancelFunc // ends fetch
	readers int
	began   time.Time
	sent    *sent
	done    chan struct{}
	list    List[T]
	err     error
}

func newShared[T any](fetch func(context.Context) ([]T, error), spacing time.Duration, count func(string)) *shared[T] {
	return &shared[T]{fetch: fetch, spacing: spacing, count: count}
}

// fresh returns a list that begins after the call. The items belong to all readers: do not change them.
func (s *shared[T]) fresh(ctx context.Context) (List[T], error) {
	s.mu.Lock()
	f := s.joinNext(ctx)
	s.mu.Unlock()
	return s.await(ctx, f)
}

// since returns a list that began at notBefore or later, one that exists if there is one.
func (s *shared[T]) since(ctx context.Context, notBefore time.Time) (List[T], error) {
	s.mu.Lock()
	if s.last != nil && !s.last.Began.Before(notBefore) {
		list := *s.last
		s.mu.Unlock()
		s.count("cached")
		return list, nil
	}
	f := s.running
	if f != nil && f.readers > 0 && !f.began.Before(notBefore) {
		f.readers++
		s.count("joined")
	} else {
		f = s.joinNext(ctx)
	}
	s.mu.Unlock()
	return s.await(ctx, f)
}

// within returns a list that is at most maxAge old; 0 means one that begins after the call.
func (s *shared[T]) within(ctx context.Context, maxAge time.Duration) (List[T], error) {
	if maxAge <= 0 {
		return s.fresh(ctx)
	}
	return s.since(ctx, time.Now().Add(-maxAge))
}

// joinNext joins the flight that has not begun yet. The lock is held.
func (s *shared[T]) joinNext(ctx context.Context) *flight[T] {
	if s.next != nil {
		s.next.readers++
		s.count("joined")
		return s.next
	}
	s.count("started")
	// The first reader's values (its logger) serve the flight, its end does not: others may still wait.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // run or leave calls it
	first := &sent{}
	ctx = context.WithValue(ctx, sentKey{}, first)
	s.next = &flight[T]{
		fetch: func() ([]T, error) { return s.fetch(ctx) }, cancel: cancel, readers: 1, sent: first, done: make(chan struct{}),
	}
	s.begin()
	return s.next
}

// begin starts the next flight if nothing runs, not sooner than spacing after the one before. The lock is held.
func (s *shared[T]) begin() {
	if s.next == nil || s.running != nil {
		return
	}
	f := s.next
	wait := gathering
	if !s.began.IsZero() {
		wait = max(wait, s.spacing-time.Since(s.began))
	}
	time.AfterFunc(wait, func() { s.run(f) })
}

// run makes the list, unless all have left before it began.
func (s *shared[T]) run(f *flight[T]) {
	s.mu.Lock()
	if s.next != f {
		s.mu.Unlock()
		return
	}
	s.next, s.running = nil, f
	f.began = time.Now()
	s.began = f.began
	s.mu.Unlock()

	items, err := f.fetch()

	s.mu.Lock()
	defer s.mu.Unlock()
	if left := f.sent.time(); !left.IsZero() {
		f.began = left // it had to wait for its turn
	}
	f.land(items, err)
	if f.err == nil && f.list.short == nil {
		s.last = &f.list
		if s.landed != nil {
			s.landed(f.list.Began)
		}
	}
	s.running = nil
	f.cancel()
	close(f.done)
	s.begin()
}

// land keeps what the list came to. A short one serves those who wait for what it holds, but nobody later.
func (f *flight[T]) land(items []T, err error) {
	if short, ok := errors.AsType[*ShortListError](err); ok {
		f.list, f.err = List[T]{Items: items, Began: f.began, short: short}, nil
		return
	}
	f.list, f.err = List[T]{Items: items, Began: f.began}, err
}

// await waits for the flight's end or the caller's.
func (s *shared[T]) await(ctx context.Context, f *flight[T]) (List[T], error) {
	select {
	case <-f.done:
		if f.err != nil {
			return List[T]{}, f.err
		}
		return f.list, nil
	case <-ctx.Done():
		s.leave(f)
		return List[T]{}, ctx.Err()
	}
}

// leave gives up waiting. The last one to leave ends the flight.
func (s *shared[T]) leave(f *flight[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.readers--
	if f.readers > 0 {
		return
	}
	f.cancel()
	if s.next == f {
		s.next = nil
	}
}
