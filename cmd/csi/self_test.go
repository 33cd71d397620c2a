package main

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestMembers: the cluster's instances are this one, if it is known, and those that the apiserver names, if there is one.
func TestMembers(t *testing.T) {
	fault := errors.New("no apiserver")
	named := func(context.Context) ([]string, error) { return []string{"a", "b"}, nil }
	away := func(context.Context) ([]string, error) { return nil, fault }
	for name, c := range map[string]struct {
		self  string
		nodes func(context.Context) ([]string, error)
		ids   []string
		err   error
	}{
		"both":                  {"self", named, []string{"self", "a", "b"}, nil},
		"outside of a cluster":  {"self", nil, []string{"self"}, nil},
		"outside the platform":  {"", named, []string{"a", "b"}, nil},
		"the apiserver is away": {"self", away, []string{"self"}, fault},
	} {
		s := newSelfSource(Config{Mode: modeController, NodeID: c.self, Region: "ewr"}, nil)
		go s.Run(t.Context())
		if err := s.Wait(starting(t)); err != nil {
			t.Fatal(err)
		}
		ids, err := s.members(c.nodes)(t.Context())
		if !slices.Equal(ids, c.ids) || !errors.Is(err, c.err) {
			t.Errorf("%s: got %s, %v", name, ids, err)
		}
	}
	if ids, err := newSelfSource(Config{Region: "ewr"}, nil).members(nil)(t.Context()); len(ids) != 0 || err != nil {
		t.Errorf("nothing is known: got %s, %v", ids, err)
	}
}
