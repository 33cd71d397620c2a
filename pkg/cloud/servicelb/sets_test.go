package servicelb

import (
	"slices"
	"testing"
)

// What was sent to several load balancers with the same backends is remembered once.
func TestSetsAreShared(t *testing.T) {
	var s sets
	of := func(ids ...string) *[]string { return &ids }
	first := s.shared(of("a", "b"))
	if again := s.shared(of("a", "b")); again != first {
		t.Error("the same backends are remembered twice")
	}
	if other := s.shared(of("a")); !slices.Equal(*other, []string{"a"}) || !slices.Equal(*first, []string{"a", "b"}) {
		t.Errorf("others are %q, and the first ones %q then", *other, *first)
	}
	if none := s.shared(of()); none == nil || len(*none) != 0 {
		t.Error("no backends are something else than none that are told")
	}
	if untold := s.shared(nil); untold != nil {
		t.Errorf("%q, though none were told", *untold)
	}
}
