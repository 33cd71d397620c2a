package looks

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneLookAtATime: what hangs is not joined by others, who are told so, and it is forgotten when it comes back.
func TestOneLookAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Looks
		var begun atomic.Int32
		stuck := make(chan struct{})
		look := func() error { begun.Add(1); <-stuck; return nil }
		before := runtime.NumGoroutine()
		for i := range 5 {
			began := time.Now()
			err := l.Do(t.Context(), "v", "volume v", 10*time.Second, look)
			if hanging, ok := errors.AsType[*HangingError](err); !ok || hanging.What != "volume v" {
				t.Fatalf("got %v", err)
			}
			if took := time.Since(began); i > 0 && took != 0 {
				t.Errorf("call %d waited %s for what hangs", i, took)
			}
		}
		if n := runtime.NumGoroutine() - before; begun.Load() != 1 || n > 1 {
			t.Errorf("%d looks, %d goroutines", begun.Load(), n)
		}
		if err := l.Do(t.Context(), "w", "volume w", 10*time.Second, func() error { return nil }); err != nil {
			t.Errorf("another one: %v", err)
		}
		close(stuck)
		synctest.Wait()
		answer := errors.New("the answer")
		if err := l.Do(t.Context(), "v", "volume v", 10*time.Second, func() error { return answer }); !errors.Is(err, answer) {
			t.Errorf("got %v", err)
		}
	})
}

// TestLooksAreWaitedFor: a look that is under way is waited for, and then one's own begins.
func TestLooksAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Looks
		look := func() error { time.Sleep(4 * time.Second); return nil } // on the fake clock
		done := make(chan error, 2)
		began := time.Now()
		for range 2 {
			go func() { done <- l.Do(t.Context(), "v", "v", 10*time.Second, look) }()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 8*time.Second {
			t.Errorf("both took %s", took)
		}
	})
}

// TestNoTimeToLook: who has no time left learns nothing, however quick the answer would be, and has nobody look.
func TestNoTimeToLook(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var l Looks
	for range 1000 {
		err := l.Do(over, "v", "volume v", 10*time.Second, func() error { t.Error("somebody looks"); return nil })
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "volume v") {
			t.Fatalf("got %v", err)
		}
	}
}
