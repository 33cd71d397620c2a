// Package testpoints says at which of the numbered places of an operation a test strikes.
package testpoints

import (
	"iter"
	"math/rand/v2"
	"os"
	"testing"
)

// Few is the value of the environment variable FAULTS with which tests strike at some places only, others each time: for
// who runs them again and again.
const Few = "few"

// stride is how many times fewer they are then.
const stride = 5

// AreFew reports whether tests are to strike at some places only.
func AreFew() bool { return os.Getenv("FAULTS") == Few }

// All returns the numbers from 1 on, for a test that goes on until an operation has no more places. With FAULTS=few it returns
// one in five of them, and logs which is the first.
func All(t *testing.T) iter.Seq[int64] {
	t.Helper()
	first, step := int64(1), int64(1)
	if AreFew() {
		first, step = 1+rand.Int64N(stride), stride //nolint:gosec // no secret
		t.Logf("FAULTS=%s: each %dth place from place %d on", Few, step, first)
	}
	return func(yield func(int64) bool) {
		for n := first; ; n += step {
			if !yield(n) {
				return
			}
		}
	}
}

// Of returns the chosen strikes of an operation, or with FAULTS=few a random fifth of them, and at least one.
func Of[T any](chosen []T) []T {
	few := Share(len(chosen))
	if few == len(chosen) {
		return chosen
	}
	some := make([]T, 0, few)
	for _, i := range rand.Perm(len(chosen))[:few] { //nolint:gosec // no secret
		some = append(some, chosen[i])
	}
	return some
}

// Share returns how many of so many random strikes there are to be: all of them, or with FAULTS=few a fifth.
func Share(strikes int) int {
	if AreFew() {
		return max(min(1, strikes), strikes/stride)
	}
	return strikes
}
