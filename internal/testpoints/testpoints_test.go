package testpoints_test

import (
	"slices"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testpoints"
)

// first returns the first numbers of those at which to strike.
func first(t *testing.T, many int) (numbers []int64) {
	t.Helper()
	for n := range testpoints.All(t) {
		if numbers = append(numbers, n); len(numbers) == many {
			return numbers
		}
	}
	return nil
}

func TestAll(t *testing.T) {
	t.Setenv("FAULTS", "")
	for i, n := range first(t, 10) {
		if n != int64(i+1) {
			t.Errorf("number %d is %d", i+1, n)
		}
	}
	if n := testpoints.Share(200); n != 200 {
		t.Errorf("%d of 200 strikes", n)
	}
	if all := testpoints.Of([]int{3, 1, 2}); !slices.Equal(all, []int{3, 1, 2}) {
		t.Errorf("got %d", all)
	}
}

// Whoever repeats a test often enough strikes at every place.
func TestFew(t *testing.T) {
	t.Setenv("FAULTS", testpoints.Few)
	seen := map[int64]bool{}
	for range 200 {
		numbers := first(t, 4)
		for i, n := range numbers {
			seen[n] = true
			if i > 0 && n != numbers[i-1]+5 {
				t.Fatalf("the numbers are %d", numbers)
			}
		}
	}
	for n := range int64(20) {
		if !seen[n+1] {
			t.Errorf("never at place %d", n+1)
		}
	}
	if n := testpoints.Share(200); n != 40 {
		t.Errorf("%d of 200 strikes", n)
	}
}

func TestOfFew(t *testing.T) {
	t.Setenv("FAULTS", testpoints.Few)
	all, seen := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, map[int]bool{}
	for range 500 {
		some := testpoints.Of(all)
		if len(some) != 2 || some[0] == some[1] {
			t.Fatalf("got %d", some)
		}
		seen[some[0]], seen[some[1]] = true, true
	}
	if len(seen) != len(all) {
		t.Errorf("only %v of %d were ever chosen", seen, all)
	}
	if some := testpoints.Of([]int{7}); !slices.Equal(some, []int{7}) {
		t.Errorf("got %d of one", some)
	}
	if none := testpoints.Of([]int{}); len(none) != 0 {
		t.Errorf("got %d of none", none)
	}
}
