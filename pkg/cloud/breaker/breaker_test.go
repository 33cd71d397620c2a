package breaker_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
)

// ids names n instances, from the given one on.
func ids(from, n int) map[string]bool {
	set := map[string]bool{}
	for i := range n {
		set[strconv.Itoa(from+i)] = true
	}
	return set
}

func TestShare(t *testing.T) {
	tests := []struct {
		limit          float64
		missing, total int
		open           bool
	}{
		{0.5, 0, 10, false},
		{0.5, 5, 10, false},
		{0.5, 6, 10, true},
		{0.5, 2, 3, false},
		{0.5, 3, 5, true},
		{0.5, 3, 6, false},
		{0.1, 2, 100, false},
		{0.1, 10, 100, false},
		{0.1, 11, 100, true},
		{0.01, 3, 100, true},
		{1, 99, 100, false},
		{1, 100, 100, false},
	}
	for _, tt := range tests {
		err := breaker.New(tt.limit).Check(ids(0, tt.missing), tt.total)
		open, ok := errors.AsType[*breaker.OpenError](err)
		if ok != tt.open {
			t.Errorf("%+v: %v", tt, err)
		}
		if ok && (open.Missing != tt.missing || open.Total != tt.total || open.Limit != tt.limit) {
			t.Errorf("%+v: %+v", tt, open)
		}
	}
}

func TestWhatClosesIt(t *testing.T) {
	type census struct {
		missing map[string]bool
		total   int
		open    bool
	}
	tests := map[string][]census{
		"the account shows them again": {{ids(0, 6), 10, true}, {ids(0, 5), 10, false}, {ids(0, 5), 10, false}},
		"their nodes were deleted":     {{ids(0, 6), 10, true}, {ids(3, 3), 7, false}},
		"new nodes":                    {{ids(0, 6), 10, true}, {ids(0, 6), 100, true}, {ids(0, 2), 96, false}},
		"others are missing instead":   {{ids(0, 6), 10, true}, {ids(6, 4), 10, false}},
		"more go missing":              {{ids(0, 6), 10, true}, {ids(0, 8), 10, true}, {ids(0, 8), 40, true}, {ids(2, 6), 40, true}, {ids(3, 5), 40, false}},
		"it opens again":               {{ids(0, 6), 10, true}, {ids(0, 0), 10, false}, {ids(0, 6), 100, false}, {ids(0, 51), 100, true}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			b := breaker.New(0.5)
			for i, step := range steps {
				if err := b.Check(step.missing, step.total); (err != nil) != step.open {
					t.Fatalf("step %d: %v", i, err)
				}
			}
		})
	}
}
