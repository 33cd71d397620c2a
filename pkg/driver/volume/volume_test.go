package volume

import (
	"errors"
	"fmt"
	"testing"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8":  true,
		"AE6C4452-B93B-4F4D-B8C1-2CEA28D99FB8":  true,
		"":                                      false,
		"not-a-volume":                          false,
		"ae6c4452-b93b-4f4d-b8c1-2cea28d99fb":   false,
		"ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8a": false,
		"ae6c4452xb93b-4f4d-b8c1-2cea28d99fb8":  false,
		"ge6c4452-b93b-4f4d-b8c1-2cea28d99fb8":  false,
		"../c4452-b93b-4f4d-b8c1-2cea28d99fb8":  false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %t", id, got)
		}
	}
}

func TestErrorsKeepReasonAndCause(t *testing.T) {
	cause := errors.New("the cause")
	err := fmt.Errorf("around: %w", Errorf(Busy, "volume %s: %w", "x", cause))
	if ReasonOf(err) != Busy || !errors.Is(err, cause) || err.Error() != "around: volume x: the cause" {
		t.Errorf("got %v, reason %d", err, ReasonOf(err))
	}
	if ReasonOf(cause) != 0 || ReasonOf(nil) != 0 {
		t.Error("an error without a reason has one")
	}
}

func TestCapacityHolds(t *testing.T) {
	for _, c := range []struct {
		capacity Capacity
		bytes    int64
		want     bool
	}{
		{Capacity{}, 1, true},
		{Capacity{Required: 10}, 9, false},
		{Capacity{Required: 10}, 10, true},
		{Capacity{Required: 10, Limit: 20}, 20, true},
		{Capacity{Required: 10, Limit: 20}, 21, false},
	} {
		if got := c.capacity.Holds(c.bytes); got != c.want {
			t.Errorf("%+v holds %d = %t", c.capacity, c.bytes, got)
		}
	}
}

func TestIsAttachedTo(t *testing.T) {
	v := Volume{AttachedTo: []string{"one", "two"}}
	if !v.IsAttachedTo("one") || !v.IsAttachedTo("two") || v.IsAttachedTo("three") || !v.IsAttachedTo("") || (Volume{}).IsAttachedTo("") {
		t.Error("the instances that have a volume are mistaken")
	}
}

func TestSource(t *testing.T) {
	for want, s := range map[string]Source{"": {}, "snapshot/s": {Snapshot: "s"}, "volume/v": {Volume: "v"}} {
		if got := s.String(); got != want || s.IsZero() != (want == "") {
			t.Errorf("%+v is %q, zero %t", s, got, s.IsZero())
		}
	}
}
