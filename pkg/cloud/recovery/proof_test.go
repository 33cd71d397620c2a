package recovery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Nothing but a 404 for that very ID is a proof.
func TestNeverWithoutProof(t *testing.T) {
	tests := map[string]func(*account){
		"stopped":       func(a *account) { a.instances[idA] = vultr.Instance{ID: idA, PowerStatus: "stopped", Status: "active"} },
		"suspended":     func(a *account) { a.instances[idA] = vultr.Instance{ID: idA, Status: "suspended"} },
		"unreachable":   func(*account) {},
		"API down":      func(a *account) { a.fails = &vultr.Error{Op: "get instance", Err: errors.New("connection refused")} },
		"500":           func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 500} },
		"wrong key":     func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 401} },
		"rate limit":    func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 429} },
		"no such route": func(a *account) { a.fails = &vultr.Error{Op: "get instance", Status: 404, Message: "Not found."} },
		"bad ID": func(a *account) {
			a.fails = &vultr.Error{Op: "get instance", Status: 400, Message: "Invalid UUID format."}
		},
		"other account":  func(a *account) { clear(a.instances) },
		"everyone's key": func(a *account) { clear(a.instances); a.instances["x"] = vultr.Instance{ID: "x"} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				change(s.cloud)
				s.ready("a", v1.ConditionUnknown)
				s.ready("b", v1.ConditionUnknown)
				for range 60 {
					after(10 * time.Second)
					if s.marked("a") || s.marked("b") || s.departed("a") || s.departed("b") {
						t.Fatal("concluded from no proof")
					}
				}
				if s.cloud.looks > 400 { // departed above makes 120 of them itself
					t.Errorf("%d looks in ten minutes", s.cloud.looks)
				}
			})
		})
	}
}

func TestNoWitnessIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		clear(s.cloud.instances)
		s.ready("a", v1.ConditionUnknown)
		after(10 * time.Minute)
		s.wantEvents("InstanceNotSeen")
	})
}

// cachedAccount answers from a list of before if that is new enough for the caller, as the client does.
type cachedAccount struct {
	*account
	before vultr.List[vultr.Instance]
}

func (c cachedAccount) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	if time.Since(c.before.Began) <= maxAge && maxAge > 0 {
		return c.before, nil
	}
	return c.account.Instances(ctx, maxAge)
}

// A key of another account answers 404 for everything, and a list of before must not vouch for it.
func TestListOfBeforeIsNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		list, err := s.cloud.Instances(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		prober := recovery.NewProber(cachedAccount{s.cloud, list}, lister{s.client})
		s.cloud.set(func() { clear(s.cloud.instances) })
		for range 3 {
			after(10 * time.Second)
			presence, _, err := prober.Look(t.Context(), s.node("a"))
			if doubt, ok := errors.AsType[*recovery.DoubtError](err); !ok || doubt.Reason != recovery.NoWitness {
				t.Fatalf("got %v, %v", presence, err)
			}
		}
	})
}

// crowd is a cluster of that many nodes more.
func (s *scene) crowd(n int) (names, ids []string) {
	s.Helper()
	for i := range n {
		name, id := fmt.Sprintf("n%d", i), fmt.Sprintf("%08d-66fd-4dfb-b839-443f2e6c0b60", i)
		if err := s.client.Tracker().Add(node(name, id)); err != nil {
			s.Fatal(err)
		}
		s.cloud.set(func() { s.cloud.instances[id] = vultr.Instance{ID: id, PowerStatus: "running"} })
		names, ids = append(names, name), append(ids, id)
	}
	return names, ids
}

// destroy takes machines away.
func (s *scene) destroy(names, ids []string) {
	s.Helper()
	s.cloud.set(func() {
		for _, id := range ids {
			delete(s.cloud.instances, id)
		}
	})
	for _, name := range names {
		s.ready(name, v1.ConditionUnknown)
	}
}

func (s *scene) marks(names []string) int {
	s.Helper()
	n := 0
	for _, name := range names {
		if s.marked(name) {
			n++
		}
	}
	return n
}

// When most of a cluster seems to be gone, it is more likely that the key shows the wrong account.
func TestMostOfTheClusterIsMissing(t *testing.T) {
	tests := map[string]struct {
		nodes, missing int // beside a and b, which are well
		slow           bool
	}{
		"two of three":   {1, 2, false}, // n0 and a
		"half":           {6, 4, false},
		"more than half": {6, 5, true},
		"all but two":    {20, 20, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				names, ids := s.crowd(tt.nodes)
				names, ids = append(names, "a"), append(ids, idA)
				names, ids = names[len(names)-tt.missing:], ids[len(ids)-tt.missing:]
				s.destroy(names, ids)
				after(recovery.MassPause - time.Minute)
				want := tt.missing
				if tt.slow {
					want = 0
					if s.departed("a") {
						t.Error("departed")
					}
				}
				if n := s.marks(names); n != want {
					t.Fatalf("%d of %d are marked before the long pause, want %d", n, tt.missing, want)
				}
				after(2 * time.Minute)
				if n := s.marks(names); n != tt.missing || s.marked("b") {
					t.Errorf("%d of %d are marked in the end", n, tt.missing)
				}
				told := 0
				for len(s.recorder.Events) > 0 {
					if event := <-s.recorder.Events; strings.Contains(event, recovery.MostMissing) {
						told++
					}
				}
				if want := tt.missing - want; told != want {
					t.Errorf("%d Events about the doubt, want %d", told, want)
				}
			})
		})
	}
}

// A right key in time undoes the doubt: nothing that was seen with the wrong one counts.
func TestMostOfTheClusterIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		names, ids := s.crowd(8)
		s.destroy(names, ids)
		after(recovery.MassPause - 2*time.Minute)
		s.cloud.set(func() {
			for _, id := range ids {
				s.cloud.instances[id] = vultr.Instance{ID: id}
			}
		})
		after(time.Minute)
		s.cloud.set(func() {
			for _, id := range ids {
				delete(s.cloud.instances, id)
			}
		})
		after(recovery.MassPause - 2*time.Minute)
		if n := s.marks(names); n > 0 {
			t.Errorf("%d nodes are marked by looks of before", n)
		}
	})
}
