package longwork

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns: two works have a turn at a time, others say what they wait for, and go on when one is given back. A process that
// has to end waits for no turn.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		var r Runner
		took := map[string]time.Duration{}
		begin := time.Now()
		check := func(task *Task) error {
			_, done, err := turns.Take(task, "check it")
			if err != nil {
				return err
			}
			defer done()
			if turns.Taken() > 2 {
				t.Errorf("%d turns are taken", turns.Taken())
			}
			return wait("fsck", Late, time.Hour, nil)(task)
		}
		for _, volume := range []string{"a", "b", "c"} {
			err := r.Do(within(t, time.Minute), volume, "stage", check)
			if running(t, err); volume == "c" {
				running(t, err, "waiting for a turn to check it, running for 1m0s")
			}
		}
		for _, volume := range []string{"a", "b", "c"} {
			if err := r.Join(t.Context(), volume, "stage"); err != nil {
				t.Error(err)
			}
			took[volume] = time.Since(begin)
		}
		if took["a"] != time.Hour || took["b"] != time.Hour+time.Minute || took["c"] != 2*time.Hour || turns.Taken() != 0 {
			t.Errorf("they took %v, and %d turns are taken", took, turns.Taken())
		}
	})
}

// TestNoTurnAtTheEnd: waiting for a turn is over when the process has to end.
func TestNoTurnAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(0) // of which there are none
		var r Runner
		running(t, r.Do(within(t, time.Minute), "v", "stage", func(task *Task) error {
			_, _, err := turns.Take(task, "check it")
			return err
		}), "waiting for a turn")
		r.Shutdown(t.Context())
		if err := r.Join(t.Context(), "v", "stage"); !errors.Is(err, ErrEnding) {
			t.Errorf("got %v", err)
		}
	})
}

// TestTry: a turn is had at once or not at all, and can be had again when it was given back.
func TestTry(t *testing.T) {
	turns := NewTurns(1)
	done, ok := turns.Try()
	if !ok || turns.Taken() != 1 {
		t.Fatalf("a free turn: %t, %d turns are taken", ok, turns.Taken())
	}
	if _, ok := turns.Try(); ok {
		t.Error("there were two of one")
	}
	done()
	done, ok = turns.Try()
	if !ok || turns.Taken() != 1 {
		t.Fatalf("one that was given back: %t, %d turns are taken", ok, turns.Taken())
	}
	done()
}
