package longwork

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wait is work of one step that ends when it is told to, or after the time.
func wait(what string, how Ending, d time.Duration, result error) func(*Task) error {
	return func(task *Task) error {
		ctx, err := task.Step(what, how, 0, func() string { return "half" })
		if err != nil {
			return err
		}
		select {
		case <-time.After(d):
			return result
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func running(t *testing.T, err error, words ...string) {
	t.Helper()
	if _, ok := errors.AsType[*RunningError](err); !ok {
		t.Fatalf("got %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// TestWorkOutlivesItsCalls: calls give up, the work goes on, and the call that is there at its end gets its result.
func TestWorkOutlivesItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Runner
		failed := errors.New("the disk is broken")
		for _, result := range []error{nil, failed} {
			running(t, r.Do(within(t, time.Minute), "V", "stage", wait("fsck", Late, 5*time.Minute, result)), "stage: fsck", "1m0s", "half")
			running(t, r.Join(within(t, time.Minute), "v", "stage"), "2m0s")
			began := time.Now()
			running(t, r.Join(t.Context(), "v", "unstage"), "stage: fsck")
			running(t, r.Running("v"))
			running(t, r.Do(t.Context(), "v", "stage", func(*Task) error { t.Error("it ran twice at once"); return nil }))
			if time.Since(began) != 0 {
				t.Error("another call waited for it")
			}
			if err := r.Join(t.Context(), "v", "stage"); !errors.Is(err, result) {
				t.Errorf("got %v", err)
			}
			if err := r.Join(t.Context(), "v", "stage"); err != nil {
				t.Errorf("the result was returned twice: %v", err)
			}
		}
	})
}

// TestFailureThatNobodyWaitedFor is the answer to the next call of its kind, once.
func TestFailureThatNobodyWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Runner
		failed := errors.New("the disk is broken")
		running(t, r.Do(within(t, time.Minute), "v", "stage", wait("fsck", Late, time.Hour, failed)))
		time.Sleep(2 * time.Hour) // on the fake clock
		if err := r.Join(t.Context(), "v", "stage"); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
		if err := r.Join(t.Context(), "v", "stage"); err != nil {
			t.Errorf("got %v", err)
		}
		running(t, r.Do(within(t, time.Minute), "v", "stage", wait("fsck", Late, time.Hour, failed)))
		time.Sleep(2 * time.Hour) // on the fake clock
		if err := r.Join(t.Context(), "v", "unstage"); err != nil {
			t.Errorf("another call got %v", err)
		}
	})
}

// TestOthersAreNotKept: work on one volume keeps nobody from another one, and a panic ends only its own work.
func TestOthersAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Runner
		running(t, r.Do(within(t, time.Minute), "v", "stage", wait("fsck", Late, time.Hour, nil)))
		if err := r.Do(t.Context(), "w", "stage", func(*Task) error { panic("here") }); err == nil || !strings.Contains(err.Error(), "here") {
			t.Errorf("got %v", err)
		}
		if err := r.Join(t.Context(), "v", "stage"); err != nil {
			t.Error(err)
		}
	})
}

// TestStepIsBounded: a step ends at its limit, and the next one has its own.
func TestStepIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Runner
		began := time.Now()
		err := r.Do(t.Context(), "v", "stage", func(task *Task) error {
			for range 2 {
				ctx, err := task.Step("mkfs", AtOnce, time.Minute, nil)
				if err != nil {
					return err
				}
				<-ctx.Done()
			}
			return task.Context().Err()
		})
		if err != nil || time.Since(began) != 2*time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestShutdown: what can be repeated ends at once, what ends cleanly when the time is over, what must not be cut off by
// itself; and nothing begins.
func TestShutdown(t *testing.T) {
	for name, c := range map[string]struct {
		how   Ending
		takes time.Duration
		ends  time.Duration
	}{
		"at once":       {AtOnce, time.Hour, 0},
		"late, soon":    {Late, 10 * time.Second, 10 * time.Second},
		"late, not yet": {Late, time.Hour, 25 * time.Second},
		"never":         {Never, time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r Runner
				next := false
				answered := make(chan error, 1)
				go func() {
					answered <- r.Do(t.Context(), "v", "stage", func(task *Task) error {
						if err := wait("work", c.how, c.takes, nil)(task); err != nil {
							return err
						}
						_, err := task.Step("more", Never, 0, nil)
						next = err == nil
						return err
					})
				}()
				synctest.Wait()
				began := time.Now()
				r.Shutdown(within(t, 25*time.Second))
				if took := time.Since(began); took != c.ends {
					t.Errorf("it took %s", took)
				}
				if err := <-answered; err == nil {
					t.Error("the call succeeded")
				}
				if next {
					t.Error("another step was begun")
				}
				if err := r.Do(t.Context(), "w", "stage", func(*Task) error { return nil }); !errors.Is(err, ErrEnding) {
					t.Errorf("new work: %v", err)
				}
			})
		})
	}
}

// TestCallsReturnAtShutdown: a call that waits for work is answered before the work ends.
func TestCallsReturnAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Runner
		took := make(chan time.Duration, 1)
		go func() {
			began := time.Now()
			running(t, r.Do(t.Context(), "v", "stage", wait("resize2fs", Never, time.Hour, nil)))
			took <- time.Since(began)
		}()
		synctest.Wait()
		r.Shutdown(t.Context())
		if got := <-took; got != 0 {
			t.Errorf("it was answered after %s", got)
		}
	})
}
