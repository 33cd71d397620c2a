package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is an apiserver without the network: it answers with err after a while.
type sink struct {
	takes time.Duration

	mu      sync.Mutex
	err     error
	tried   int
	written []Warning
}

func (s *sink) Write(ctx context.Context, w Warning) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried++
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.err == nil {
		s.written = append(s.written, w)
	}
	return s.err
}

// run runs the recorder until the test's end.
func run(t *testing.T, r *Recorder) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func claim(n int) Claim {
	return Claim{Namespace: "shop", Name: fmt.Sprintf("data-%d", n), UID: fmt.Sprintf("uid-%d", n)}
}

// TestOnceAnHour: a request is repeated every few seconds while it waits; its user is warned once.
func TestOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		r := newRecorder(s)
		run(t, r)
		for range 100 {
			r.Warn(t.Context(), claim(1), "Reason", "a text")
			time.Sleep(time.Second) // of the bubble's clock, as all sleeps here
		}
		r.Warn(t.Context(), claim(1), "Reason", "another text")
		r.Warn(t.Context(), claim(1), "AnotherReason", "a text")
		r.Warn(t.Context(), claim(2), "Reason", "a text")
		synctest.Wait()
		if len(s.written) != 4 {
			t.Errorf("written are %v", s.written)
		}
		time.Sleep(repeatAfter)
		r.Warn(t.Context(), claim(1), "Reason", "a text")
		synctest.Wait()
		if len(s.written) != 5 {
			t.Errorf("after an hour written are %v", s.written)
		}
	})
}

// TestWarnNeverBlocks: with an apiserver that hangs, requests go on, and what is kept of them is bounded.
func TestWarnNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{takes: time.Hour}
		r := newRecorder(s)
		run(t, r)
		began := time.Now()
		for n := range 3 * memory {
			r.Warn(t.Context(), claim(n), "Reason", "a text")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		if len(r.seen) > memory || len(r.queue) > queued {
			t.Errorf("%d are remembered, %d wait", len(r.seen), len(r.queue))
		}
	})
}

// TestMemoryForgetsTheOldest: what came last is still not repeated when memory is full.
func TestMemoryForgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(&sink{})
		now := time.Now()
		for n := range memory + 1 {
			r.first(key{claim: claim(n)}, now.Add(time.Duration(n)*time.Millisecond))
		}
		last := now.Add(memory * time.Millisecond)
		if r.first(key{claim: claim(memory)}, last) || r.first(key{claim: claim(1)}, last) {
			t.Error("a young one is forgotten")
		}
		if !r.first(key{claim: claim(0)}, last) {
			t.Error("the oldest is remembered")
		}
		if r.first(key{claim: claim(2)}, last.Add(repeatAfter)); len(r.seen) > 2 {
			t.Errorf("after an hour %d are remembered", len(r.seen))
		}
	})
}

// TestTheApiserverIsSpared: a mass of claims of one old class does not become a mass of requests.
func TestTheApiserverIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		r := newRecorder(s)
		run(t, r)
		for n := range queued {
			r.Warn(t.Context(), claim(n), "Reason", "a text")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(s.written); n < 60 || n > 60+burst {
			t.Errorf("%d in a minute", n)
		}
	})
}

// TestFailures: an apiserver that is away is tried a few times, a refusal once; both may be given again later.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		tries int
	}{
		"away":    {errors.New("connection refused"), attempts},
		"refused": {fmt.Errorf("no right: %w", errRefused), 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sink{err: c.err}
				r := newRecorder(s)
				run(t, r)
				r.Warn(t.Context(), claim(1), "Reason", "a text")
				time.Sleep(time.Minute)
				synctest.Wait()
				s.mu.Lock()
				if s.tried != c.tries {
					t.Errorf("%d tries", s.tried)
				}
				s.err = nil
				s.mu.Unlock()
				r.Warn(t.Context(), claim(1), "Reason", "a text")
				synctest.Wait()
				if len(s.written) != 1 {
					t.Errorf("written are %v", s.written)
				}
			})
		})
	}
}

// TestWithoutACluster: a warning is a line of the log then, and so is one about a claim that nobody names.
func TestWithoutACluster(t *testing.T) {
	r := NewRecorder(nil)
	r.Warn(t.Context(), claim(1), "Reason", "a text")
	if len(r.queue) != 0 {
		t.Error("something waits for an apiserver that is not there")
	}
	s := &sink{}
	r = newRecorder(s)
	r.Warn(t.Context(), Claim{}, "Reason", "a text")
	if len(r.queue) != 0 {
		t.Error("an Event about nothing waits")
	}
}
