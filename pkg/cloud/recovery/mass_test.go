package recovery_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// told counts the Events with a reason and drops all.
func (s *scene) told(reason string) int {
	n := 0
	for len(s.recorder.Events) > 0 {
		if event := <-s.recorder.Events; strings.Contains(event, reason) {
			n++
		}
	}
	return n
}

// When most of a cluster seems to be gone, it is more likely that the key shows the wrong account.
func TestMostOfTheClusterIsMissing(t *testing.T) {
	tests := map[string]struct {
		nodes, missing int // beside a and b, which are well
		stops          bool
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
				want := tt.missing
				if tt.stops {
					want = 0
				}
				for range 3 {
					after(20 * time.Minute) // time alone changes nothing
					if n := s.marks(names); n != want || s.marked("b") || s.departed("a") == tt.stops {
						t.Fatalf("%d of %d are marked, want %d; a departed: %v", n, tt.missing, want, s.departed("a"))
					}
				}
				if n := s.told(recovery.MostMissing); n != tt.missing-want {
					t.Errorf("%d Events about the doubt, want %d", n, tt.missing-want)
				}
			})
		})
	}
}

func (s *scene) confirm(name, value string) {
	s.Helper()
	n := s.node(name)
	n.Annotations = map[string]string{recovery.ConfirmAnnotation: value}
	if _, err := s.client.CoreV1().Nodes().Update(s.Context(), n, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

// A person can say for each node that its machine was really destroyed.
func TestMassDeletionIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		names, ids := s.crowd(8)
		s.destroy(names, ids)
		after(time.Hour)
		s.cloud.set(func() { s.cloud.looks = 0 })
		for s.cloud.looked() == 0 {
			after(time.Second)
		}
		after(5 * time.Second) // all have been looked at, and would be again in half a minute
		s.confirm(names[0], "vultr://"+ids[0])
		s.confirm(names[1], "vultr://"+ids[0]) // of another machine
		s.confirm(names[2], "true")
		after(10 * time.Second)
		if n := s.marks(names); n != 1 || !s.marked(names[0]) {
			t.Errorf("%d nodes are marked, want the confirmed one alone", n)
		}
	})
}

// A confirmation is about how many are missing, and takes the place of no proof.
func TestConfirmationProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.confirm("a", "vultr://"+idA)
		clear(s.cloud.instances)
		s.ready("a", "Unknown")
		after(time.Hour)
		if s.marked("a") || s.departed("a") {
			t.Error("a key that shows nothing was believed")
		}
		s.cloud.set(func() {
			s.cloud.instances[idA] = vultr.Instance{ID: idA}
			s.cloud.instances[idB] = vultr.Instance{ID: idB}
		})
		after(time.Hour)
		if s.marked("a") || s.departed("a") {
			t.Error("the instance is there")
		}
	})
}

// A right key in time undoes the doubt: nothing that was seen with the wrong one counts.
func TestMostOfTheClusterIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		names, ids := s.crowd(8)
		s.destroy(names, ids)
		after(8 * time.Minute)
		s.cloud.set(func() {
			for _, id := range ids {
				s.cloud.instances[id] = vultr.Instance{ID: id}
			}
		})
		after(time.Minute)
		s.cloud.set(func() { delete(s.cloud.instances, ids[0]); s.cloud.looks = 0 })
		for s.cloud.looked() == 0 {
			after(time.Second)
		}
		if n := s.marks(names); n > 0 {
			t.Errorf("%d nodes are marked by looks of before", n)
		}
		after(time.Minute)
		if n := s.marks(names); n != 1 {
			t.Errorf("%d nodes are marked, want the one that is gone", n)
		}
	})
}

// New machines make the share of the missing ones smaller, but say nothing about them.
func TestNewNodesDoNotCloseTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		names, ids := s.crowd(8)
		s.destroy(names[:6], ids[:6])
		after(time.Minute)
		for i := range 10 {
			id := "0000000" + string(rune('0'+i)) + "-0000-4dfb-b839-443f2e6c0b60"
			if err := s.client.Tracker().Add(node("new"+string(rune('0'+i)), id)); err != nil {
				t.Fatal(err)
			}
			s.cloud.set(func() { s.cloud.instances[id] = vultr.Instance{ID: id} })
		}
		after(time.Hour)
		if n := s.marks(names); n > 0 {
			t.Errorf("%d nodes are marked", n)
		}
	})
}
