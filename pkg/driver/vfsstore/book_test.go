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
