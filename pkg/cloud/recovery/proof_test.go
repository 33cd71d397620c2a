package recovery_test

import (
	"errors"
	"fmt"
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

// A key of another account answers 404 for everything, and a list of before must not vouch for it.
func TestListOfBeforeIsNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		s.ready("a", v1.ConditionUnknown)
		prober := s.newProber(s.cloud)
		delete(s.cloud.instances, idA)
		for range 3 {
			after(10 * time.Second)
			if _, err := s.cloud.Instances(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			s.cloud.set(func() { delete(s.cloud.instances, idB) })
			verdict, err := prober.Look(t.Context(), s.node("a"))
			if doubt, ok := errors.AsType[*recovery.DoubtError](err); !ok || doubt.Reason != recovery.NoWitness {
				t.Fatalf("got %v, %v", verdict, err)
			}
			s.cloud.set(func() { s.cloud.instances[idB] = vultr.Instance{ID: idB} })
			after(30 * time.Second)
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
