package inflight

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSet(t *testing.T) {
	var s Set
	end, busy := s.Begin("a", "first")
	if end == nil || busy != "" {
		t.Fatalf("a free key is busy with %q", busy)
	}
	if again, busy := s.Begin("a", "second"); again != nil || busy != "first" {
		t.Errorf("a taken key is busy with %q", busy)
	}
	if other, _ := s.Begin("b", "third"); other == nil {
		t.Error("another key is not free")
	}
	end()
	if again, _ := s.Begin("a", "fourth"); again == nil {
		t.Error("a freed key is not free")
	}
}

func TestQueueOrdersOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		ordering, most := 0, 0 // guarded by the turn
		var done atomic.Int32
		for range 5 {
			go func() {
				turn, err := q.Enter(t.Context(), "vm")
				if err != nil {
					t.Error(err)
					return
				}
				defer turn.Leave()
				ordering++
				most = max(most, ordering)
				time.Sleep(time.Second) // the order takes a second
				ordering--
				turn.Settle()
				time.Sleep(10 * time.Second) // its effect ten
				done.Add(1)
			}()
		}
		began := time.Now()
		time.Sleep(14900 * time.Millisecond) // fake time
		synctest.Wait()
		if done.Load() != 4 {
			t.Errorf("after %s %d are done", time.Since(began), done.Load())
		}
		time.Sleep(time.Second) // fake time
		synctest.Wait()
		if done.Load() != 5 || len(q.Lengths()) != 0 {
			t.Errorf("%d are done, left are %v", done.Load(), q.Lengths())
		}
		last, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		defer last.Leave()
		if most != 1 {
			t.Errorf("%d gave an order at once", most)
		}
	})
}

func TestQueueKeysAreIndependent(t *testing.T) {
	var q Queue
	a, err := q.Enter(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Leave()
	b, err := q.Enter(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	b.Leave()
}

func TestQueueWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		first, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Enter(ctx, "vm"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting ended with %v", err)
		}
		first.Leave()
		first.Leave() // twice is once
		next, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		next.Leave()
		if len(q.Lengths()) != 0 {
			t.Errorf("left are %v", q.Lengths())
		}
	})
}

func TestAwaitOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		first, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		if first.AwaitOthers(t.Context()) {
			t.Error("there was nobody to wait for")
		}
		first.Settle()
		second, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		defer second.Leave()
		go func() {
			time.Sleep(5 * time.Second) // fake time
			first.Leave()
		}()
		began := time.Now()
		if !second.AwaitOthers(t.Context()) || time.Since(began) != 5*time.Second {
			t.Errorf("waited %s", time.Since(began))
		}
		if second.AwaitOthers(t.Context()) {
			t.Error("there was nobody left to wait for")
		}
	})
}

// TestPass: who gives no more orders keeps nobody from theirs, and is waited for only when an effect is awaited.
func TestPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		first, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		first.Pass()
		first.Pass() // twice is once
		second, err := q.Enter(t.Context(), "vm")
		if err != nil {
			t.Fatal(err)
		}
		if second.AwaitOthers(t.Context()) {
			t.Error("one that awaits nothing was waited for")
		}
		first.Settle()
		time.AfterFunc(time.Second, first.Leave)
		if !second.AwaitOthers(t.Context()) {
			t.Error("one that awaits the effect of its order was not waited for")
		}
		second.Leave()
		if len(q.Lengths()) != 0 {
			t.Errorf("left are %v", q.Lengths())
		}
	})
}
