package vfsstore

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestCertainForAThirdOfTheWindow: what this process did or answered counts for as long as no other process can have led
// since, and no longer.
func TestCertainForAThirdOfTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, k := book{window: 30 * time.Second}, keyOf("fs", "one")
		b.left(k)
		b.answered(keyOf("fs", "two"), "tag")
		time.Sleep(10 * time.Second) // of the fake clock
		if left := b.doubtful(k); left != 0 {
			t.Errorf("a detach of this process leaves %s of doubt", left)
		}
		if tag, ok := b.lately(keyOf("FS", "TWO"), b.gap()); !ok || tag != "tag" {
			t.Errorf("answered was %q, %t", tag, ok)
		}
		time.Sleep(time.Second) // of the fake clock
		if left := b.doubtful(k); left != 30*time.Second {
			t.Errorf("a detach of before leaves %s of doubt", left)
		}
		if tag, ok := b.lately(keyOf("fs", "two"), b.gap()); ok {
			t.Errorf("answered of before counts: %q", tag)
		}
	})
}

// TestFoundBeforeAnotherLed: what was found counts together with what is found now unless another process may have led in between.
func TestFoundBeforeAnotherLed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, k := book{window: 30 * time.Second}, keyOf("fs", "one")
		want := func(when string, want time.Duration) {
			t.Helper()
			if free, there := b.doubtful(k), b.leaves(k, "tag"); free != want || there != want {
				t.Errorf("%s: found free it is in doubt for %s, found attached for %s, want %s", when, free, there, want)
			}
		}
		want("asked first", 30*time.Second)
		time.Sleep(20 * time.Second) // of the fake clock
		want("asked again", 10*time.Second)
		time.Sleep(25 * time.Second) // of the fake clock
		want("asked when another one may have led", 30*time.Second)
		time.Sleep(30 * time.Second) // of the fake clock
		b.waited(k)
		want("waited for all the time", 0)
	})
}

// TestSizeIsRememberedWhileReadsLag: the largest size counts, until it must have shown; then a smaller one does as well.
func TestSizeIsRememberedWhileReadsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book{window: 30 * time.Second}
		want := func(when string, want int64) {
			t.Helper()
			if got := b.size("fs"); got != want {
				t.Errorf("%s: %d GiB, want %d", when, got, want)
			}
		}
		want("never ordered", 0)
		b.grew("fs", 20)
		time.Sleep(30 * time.Second) // of the fake clock
		b.grew("fs", 15)
		want("a smaller one after a larger one", 20)
		time.Sleep(30 * time.Second) // of the fake clock
		want("it must have shown", 0)
		b.grew("fs", 15)
		want("a smaller one after that", 15)
	})
}
