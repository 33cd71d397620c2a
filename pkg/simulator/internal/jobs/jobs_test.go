package jobs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// board is a source of jobs that writes down what ran.
type board struct {
	mu   sync.Mutex
	open map[string]Job
	ran  []string
	do   func(ctx context.Context, j Job) error
}

func (b *board) source() []Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.open))
}

func (b *board) run(ctx context.Context, j Job) error {
	if b.do != nil {
		if err := b.do(ctx, j); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, j.ID)
	b.ran = append(b.ran, j.ID)
	return nil
}

func (b *board) add(s *Scheduler, jobs ...Job) {
	b.mu.Lock()
	for i, j := range jobs {
		j.Seq = int64(len(b.open) + i)
		b.open[j.ID] = j
	}
	b.mu.Unlock()
	s.Wake()
}

func (b *board) done() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.ran, " ")
}

// start runs a scheduler in a bubble of fake time.
func start(t *testing.T, do func(ctx context.Context, j Job) error, test func(t *testing.T, b *board, s *Scheduler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &board{open: map[string]Job{}, do: do}
		s := New(b.source, b.run, time.Second)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.Loop(ctx) }()
		test(t, b, s)
		stop()
		<-ended
	})
}

func in(d time.Duration, id string, keys ...string) Job {
	return Job{ID: id, Keys: keys, Due: time.Now().Add(d)}
}

func pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

func TestJobsRunWhenDue(t *testing.T) {
	start(t, nil, func(t *testing.T, b *board, s *Scheduler) {
		b.add(s, in(3*time.Second, "c", "z"), in(time.Second, "a", "x"), in(2*time.Hour, "d", "x"), in(2*time.Second, "b", "y"))
		pass(2500 * time.Millisecond)
		if got := b.done(); got != "a b" {
			t.Errorf("ran %q", got)
		}
		b.add(s, in(0, "now", "x")) // earlier than what the scheduler sleeps for
		pass(0)
		if got := b.done(); got != "a b now" {
			t.Errorf("ran %q", got)
		}
		pass(3 * time.Hour)
		if got := b.done(); got != "a b now c d" {
			t.Errorf("ran %q", got)
		}
	})
}

func TestJobsOfOneKeyRunOneAfterAnother(t *testing.T) {
	var mu sync.Mutex
	running := map[string]bool{}
	do := func(_ context.Context, j Job) error {
		mu.Lock()
		for _, k := range j.Keys {
			if running[k] {
				t.Errorf("two jobs of key %s run at the same time", k)
			}
			running[k] = true
		}
		mu.Unlock()
		time.Sleep(10 * time.Second) // fake time
		mu.Lock()
		defer mu.Unlock()
		for _, k := range j.Keys {
			running[k] = false
		}
		return nil
	}
	start(t, do, func(t *testing.T, b *board, s *Scheduler) {
		// "both" waits for "first"; "behind" must not overtake it though its key is free.
		b.add(s, in(0, "first", "x"), in(time.Second, "both", "x", "y"), in(2*time.Second, "behind", "y"), in(2*time.Second, "free", "z"))
		pass(13 * time.Second)
		if got := b.done(); got != "first free" {
			t.Errorf("ran %q", got)
		}
		pass(20 * time.Second)
		if got := b.done(); got != "first free both behind" {
			t.Errorf("ran %q", got)
		}
	})
}

func TestFailedJobsAreTriedAgain(t *testing.T) {
	attempts := 0
	do := func(_ context.Context, j Job) error {
		if j.ID != "bad" {
			return nil
		}
		if attempts++; attempts < 3 {
			return errors.New("not yet")
		}
		if attempts == 3 {
			panic("a bug")
		}
		return nil
	}
	start(t, do, func(t *testing.T, b *board, s *Scheduler) {
		b.add(s, in(0, "bad", "x"), in(100*time.Millisecond, "good", "x"))
		pass(1500 * time.Millisecond)
		if got := b.done(); got != "good" {
			t.Errorf("ran %q: a job that fails holds up others of its key", got)
		}
		if f := s.Failures()["bad"]; f.Attempts != 2 || f.Error != "not yet" {
			t.Errorf("failure %+v", f)
		}
		pass(time.Second)
		if f := s.Failures()["bad"]; f.Attempts != 3 || !strings.Contains(f.Error, "a bug") {
			t.Errorf("failure %+v", f)
		}
		pass(time.Second)
		if got := b.done(); got != "good bad" || len(s.Failures()) != 0 {
			t.Errorf("ran %q, failures %v", got, s.Failures())
		}
	})
}

func TestLoopWaitsForWhatRuns(t *testing.T) {
	ended := false
	do := func(ctx context.Context, _ Job) error {
		<-ctx.Done()
		ended = true
		return ctx.Err()
	}
	start(t, do, func(_ *testing.T, b *board, s *Scheduler) {
		b.add(s, in(0, "long", "x"))
		pass(time.Second)
	})
	if !ended {
		t.Error("the loop ended before its job")
	}
}
