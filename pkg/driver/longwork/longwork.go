// Package longwork runs work that takes longer than a call may: making, checking and growing file systems.
//
// Such work belongs to the process. A call that waits for it can give up, with an error that says what is running and
// how far it is; the work goes on, and the next call of the same kind waits for it again and gets its result.
package longwork

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// Ending says how a step of the work ends when the process has to.
type Ending int

// The ways to end.
const (
	// AtOnce is for what can be repeated from the start: it is told to end as soon as the process has to.
	AtOnce Ending = iota
	// Late is for what ends cleanly when it is told to, but has to begin again then: it is told when there is no more time.
	Late
	// Never is for what leaves damage when it is cut off. The process waits for it, however long it takes.
	Never
)

// ErrEnding says that the process is about to end and begins nothing that takes long.
var ErrEnding = errors.New("the node plugin is being ended and begins no long work; the next one does")

// RunningError says that work is running, and was not waited for until its end.
type RunningError struct {
	// Owner is the call that began it.
	Owner string
	// Step is what is being done, Since when it began, and Progress how far it is, "" when that is unknown.
	Step     string
	For      time.Duration
	Progress string
}

// Error says what is running, for how long and how far it is.
func (e *RunningError) Error() string {
	text := fmt.Sprintf("%s: %s, running for %s", e.Owner, e.Step, e.For.Round(time.Second))
	if e.Progress != "" {
		text += " (" + e.Progress + ")"
	}
	return text + "; it goes on, and a retry waits for it"
}

// Runner runs at most one work per key. Its zero value is ready.
type Runner struct {
	mu      sync.Mutex
	running map[string]*Task
	failed  map[string]failure
	ending  chan struct{} // closed by Shutdown
	ended   bool
}

// failure is the result of work for which nobody waited any more. Success needs no record: it shows on the device.
type failure struct {
	owner string
	err   error
}

// Task is work that is running.
type Task struct {
	runner *Runner
	owner  string
	base   context.Context //nolint:containedctx // the work outlives the call that began it; this is its own context
	done   chan struct{}
	err    error

	// These are guarded by the runner's mutex.
	step     string
	began    time.Time
	progress func() string
	how      Ending
	cancel   context.CancelCauseFunc
}

func (r *Runner) endingChan() chan struct{} {
	if r.ending == nil {
		r.ending = make(chan struct{})
	}
	return r.ending
}

// Do runs the work, unless work with the key is running already, and waits for it until the context ends. What is
// still running then is a RunningError.
func (r *Runner) Do(ctx context.Context, key, owner string, work func(*Task) error) error {
	key = strings.ToLower(key)
	r.mu.Lock()
	if other := r.running[key]; other != nil {
		defer r.mu.Unlock()
		return other.report()
	}
	if r.ended {
		r.mu.Unlock()
		return ErrEnding
	}
	t := &Task{
		runner: r, owner: owner, base: context.WithoutCancel(ctx), done: make(chan struct{}),
		step: "about to begin", began: time.Now(), cancel: func(error) {},
	}
	if r.running == nil {
		r.running, r.failed = map[string]*Task{}, map[string]failure{}
	}
	delete(r.failed, key)
	r.running[key] = t
	r.mu.Unlock()
	go r.run(key, t, work)
	return r.wait(ctx, key, t)
}

func (r *Runner) run(key string, t *Task, work func(*Task) error) {
	err := errors.New("it panicked")
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault in the driver: %v", p)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		t.cancel(nil)
		t.err = err
		delete(r.running, key)
		if err != nil {
			r.failed[key] = failure{t.owner, err}
			klog.FromContext(t.base).Info("Long work failed", "step", t.step, "took", time.Since(t.began), "err", err)
		}
		close(t.done)
	}()
	err = work(t)
}

// wait waits for the result, which it then owns.
func (r *Runner) wait(ctx context.Context, key string, t *Task) error {
	r.mu.Lock()
	ending := r.endingChan()
	r.mu.Unlock()
	select {
	case <-t.done:
	case <-ctx.Done():
	case <-ending:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-t.done:
		delete(r.failed, key)
		return t.err
	default:
		return t.report()
	}
}

// Join waits for the work with the key when the same owner began it, and returns its result. It returns nil at once
// when there is none, the failure of work whose result nobody got, and a RunningError for the work of another owner.
func (r *Runner) Join(ctx context.Context, key, owner string) error {
	key = strings.ToLower(key)
	r.mu.Lock()
	t := r.running[key]
	if t == nil {
		defer r.mu.Unlock()
		f, ok := r.failed[key]
		delete(r.failed, key)
		if ok && f.owner == owner {
			return f.err
		}
		return nil
	}
	if t.owner != owner {
		defer r.mu.Unlock()
		return t.report()
	}
	r.mu.Unlock()
	return r.wait(ctx, key, t)
}

// Running returns a RunningError while work with the key is running, else nil.
func (r *Runner) Running(key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.running[strings.ToLower(key)]; t != nil {
		return t.report()
	}
	return nil
}

// Context is the context of the whole work, which no end of a step and no call's deadline ends.
func (t *Task) Context() context.Context { return t.base }

func (t *Task) report() error {
	e := &RunningError{Owner: t.owner, Step: t.step, For: time.Since(t.began)}
	if t.progress != nil {
		e.Progress = t.progress()
	}
	return e
}

// Step says what is done from now on, how it ends when the process has to, and how its progress is asked for, which
// may be nil. It returns the context of the step, bounded by limit, 0 for none. When the process is about to end no
// further step begins.
func (t *Task) Step(what string, how Ending, limit time.Duration, progress func() string) (context.Context, error) {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	if t.runner.ended {
		return nil, ErrEnding
	}
	t.cancel(nil)
	ctx, cancel := context.WithCancelCause(t.base)
	if limit > 0 {
		var release context.CancelFunc
		ctx, release = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
		end := cancel
		cancel = func(cause error) { end(cause); release() }
	}
	t.step, t.began, t.progress, t.how, t.cancel = what, time.Now(), progress, how, cancel
	return ctx, nil
}

// Shutdown ends the work of a process that has to end: calls that wait for work return, no work begins, what can be
// repeated is told to end at once and what ends cleanly when the context ends. It returns when nothing is running: what
// must not be cut off is waited for however long it takes. Should the kernel kill the process meanwhile, and its
// children with it, then e2fsck can be repeated, and a resize2fs of an unmounted file system leaves it marked as having
// errors, so that the next staging checks it as a whole and refuses what e2fsck cannot repair by itself.
func (r *Runner) Shutdown(ctx context.Context) {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		close(r.endingChan())
	}
	left := r.tell(AtOnce)
	r.mu.Unlock()
	for _, t := range left {
		select {
		case <-t.done:
			continue
		case <-ctx.Done():
		}
		r.mu.Lock()
		r.tell(Late)
		err := t.report()
		r.mu.Unlock()
		klog.FromContext(ctx).Info("Waiting for work that must not be cut off", "work", err)
		<-t.done
	}
}

// tell ends the steps that end so, and returns everything that is running.
func (r *Runner) tell(how Ending) []*Task {
	tasks := make([]*Task, 0, len(r.running))
	for _, t := range r.running {
		if t.how <= how {
			t.cancel(ErrEnding)
		}
		tasks = append(tasks, t)
	}
	return tasks
}
