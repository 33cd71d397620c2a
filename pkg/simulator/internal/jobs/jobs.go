// Package jobs runs what is due: work with a deadline and a set of keys.
//
// Jobs that share a key run one after another in the order of their deadlines; others run at the same time, so one that
// hangs holds up nothing but its own keys. A job that fails is tried again after a pause until it succeeds. Where jobs
// are kept is not this package's business: a Source gives those that are open, and a job is done when the Source no
// longer gives it.
package jobs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Job is one piece of work that is due at a time.
type Job struct {
	ID string `json:"id"`
	// Seq orders jobs of the same deadline.
	Seq    int64     `json:"seq"`
	Kind   string    `json:"kind"`
	Target string    `json:"target"`
	Arg    string    `json:"arg,omitempty"`
	Keys   []string  `json:"keys"`
	Due    time.Time `json:"due"`
}

// Source returns the open jobs.
type Source func() []Job

// Run does a job; nil means that it also removed the job from the source.
type Run func(ctx context.Context, job Job) error

// Failure is what a job that did not succeed yet last failed with.
type Failure struct {
	Attempts int    `json:"attempts"`
	Error    string `json:"error"`
	next     time.Time
}

// Scheduler runs the jobs of a source. New gives one.
type Scheduler struct {
	source Source
	run    Run
	pause  time.Duration
	wake   chan struct{}

	mu       sync.Mutex
	running  map[string]bool // job IDs
	locked   map[string]bool // keys
	failures map[string]Failure
	group    sync.WaitGroup
}

// New makes a scheduler that tries failed jobs again after pause.
func New(source Source, run Run, pause time.Duration) *Scheduler {
	return &Scheduler{
		source: source, run: run, pause: pause, wake: make(chan struct{}, 1),
		running: map[string]bool{}, locked: map[string]bool{}, failures: map[string]Failure{},
	}
}

// Wake makes the scheduler look at its source again: there is a new job, or an earlier deadline.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Failures tells by job ID what has failed so far and will be tried again.
func (s *Scheduler) Failures() map[string]Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.failures)
}

// Loop runs jobs until ctx ends, then waits for those that run.
func (s *Scheduler) Loop(ctx context.Context) {
	defer s.group.Wait()
	for {
		timer := time.NewTimer(s.startDue(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// idle bounds the sleep when nothing is open; Wake ends it earlier.
const idle = time.Minute

// startDue starts all jobs that may run and tells how long to sleep.
func (s *Scheduler) startDue(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return idle
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock: a job that ends leaves the source before it leaves running, so it is never seen as open.
	open := s.source()
	slices.SortFunc(open, func(a, b Job) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Seq, b.Seq))
	})
	now := time.Now()
	sleep := idle
	waiting := map[string]bool{} // keys for which an earlier job is due: later ones must not overtake it
	for _, job := range open {
		if s.running[job.ID] {
			continue
		}
		due := job.Due
		if f, ok := s.failures[job.ID]; ok && f.next.After(due) {
			due = f.next
		}
		if wait := due.Sub(now); wait > 0 {
			sleep = min(sleep, wait)
			continue
		}
		blocked := slices.ContainsFunc(job.Keys, func(k string) bool { return s.locked[k] || waiting[k] })
		if blocked {
			for _, k := range job.Keys {
				waiting[k] = true
			}
			continue
		}
		s.start(ctx, job)
	}
	return sleep
}

func (s *Scheduler) start(ctx context.Context, job Job) {
	s.running[job.ID] = true
	for _, k := range job.Keys {
		s.locked[k] = true
	}
	s.group.Go(func() {
		err := s.runSafely(ctx, job)
		s.mu.Lock()
		delete(s.running, job.ID)
		for _, k := range job.Keys {
			delete(s.locked, k)
		}
		if err != nil {
			f := s.failures[job.ID]
			s.failures[job.ID] = Failure{Attempts: f.Attempts + 1, Error: err.Error(), next: time.Now().Add(s.pause)}
		} else {
			delete(s.failures, job.ID)
		}
		s.mu.Unlock()
		s.Wake()
	})
}

// runSafely turns a panic into a failure that is shown and retried: one bad record must not end the whole cloud.
func (s *Scheduler) runSafely(ctx context.Context, job Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.run(ctx, job)
}
