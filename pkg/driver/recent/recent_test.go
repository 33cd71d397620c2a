package recent

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestUseKeeps: what is used stays, what is not is forgotten, and its key begins with a zero value.
func TestUseKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory[string, int]
		count := func(key string) (n int) {
			m.With(key, func(v *int, _ time.Time) { *v++; n = *v })
			return n
		}
		for _, key := range []string{"a", "b"} {
			if n := count(key); n != 1 {
				t.Errorf("%s begins with %d", key, n)
			}
		}
		time.Sleep(ForgetAfter - time.Second) // of the fake clock
		if n := count("a"); n != 2 || m.Len() != 2 {
			t.Errorf("a is used for time %d, %d are remembered", n, m.Len())
		}
		time.Sleep(sweepEvery + time.Second) // of the fake clock
		if n := count("a"); n != 3 || m.Len() != 1 {
			t.Errorf("a is used for time %d, %d are remembered", n, m.Len())
		}
		if n := count("b"); n != 1 {
			t.Errorf("b was forgotten and begins with %d", n)
		}
	})
}

// TestLookIsNoUse: to look neither makes a value nor keeps one.
func TestLookIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory[string, int]
		look := func(key string) (seen int) {
			m.Look(key, func(v *int, _ time.Time) { seen = *v })
			return seen
		}
		m.With("a", func(v *int, _ time.Time) { *v = 7 })
		if a, b := look("a"), look("b"); a != 7 || b != 0 || m.Len() != 1 {
			t.Errorf("a is %d and b is %d, %d are remembered", a, b, m.Len())
		}
		time.Sleep(ForgetAfter - time.Second) // of the fake clock
		look("a")
		time.Sleep(sweepEvery + time.Second) // of the fake clock
		if m.With("c", func(*int, time.Time) {}); look("a") != 0 || m.Len() != 1 {
			t.Errorf("a is %d, %d are remembered", look("a"), m.Len())
		}
	})
}
