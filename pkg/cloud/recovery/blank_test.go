package recovery_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// blank has all reads lack a's instance for a while.
func (s *scene) blank(d time.Duration) {
	s.Helper()
	saved := s.cloud.instances[idA]
	s.cloud.set(func() { delete(s.cloud.instances, idA) })
	after(d)
	s.cloud.set(func() { s.cloud.instances[idA] = saved })
}

// A machine that only can't be reached must outlive a bad moment of the platform, whose reads do not show it: once marked,
// its pods are lost.
func TestReadsThatAreBlankForAMoment(t *testing.T) {
	for _, late := range []time.Duration{0, 3 * time.Second, 10 * time.Second, 10 * time.Minute} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, attachment("va", "a"))
				after(time.Hour)
				s.ready("a", v1.ConditionUnknown)
				after(late)
				s.blank(19 * time.Second)
				for range 20 {
					if s.marked("a") || s.departed("a") {
						t.Fatal("a running machine was declared dead")
					}
					after(10 * time.Second)
				}
				s.wantEvents()
			})
		})
	}
}

// The usual case stays quick: a destroyed instance is proven gone within half a minute, whatever is asked meanwhile.
func TestHowLongAProofTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		after(time.Hour)
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		began := time.Now()
		for !s.marked("a") {
			if time.Since(began) > 22*time.Second {
				t.Fatal("not marked after 22 seconds")
			}
			after(time.Second)
			s.departed("a")
		}
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("marked after %s", took)
		}
	})
}

// Each time that an instance is found after it was missed, the reads are trusted less, until the node is well again.
func TestReadsThatContradictEachOther(t *testing.T) {
	gone := func(s *scene, want time.Duration) {
		s.Helper()
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		began := time.Now()
		for !s.marked("a") && time.Since(began) < 5*time.Minute {
			after(time.Second)
		}
		if took := time.Since(began); took < want || took > want+30*time.Second { // a list may be as old
			s.Errorf("marked after %s, want %s", took, want)
		}
		s.cloud.set(func() { s.cloud.instances[idA] = vultr.Instance{ID: idA} })
		after(time.Minute)
		if s.marked("a") {
			s.Error("still marked")
		}
	}
	for name, tt := range map[string]struct {
		blanks int
		want   time.Duration
	}{"once": {1, 30 * time.Second}, "often": {3, 50 * time.Second}, "all the time": {12, 80 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				s.ready("a", v1.ConditionUnknown)
				after(10 * time.Second)
				for range tt.blanks {
					s.blank(15 * time.Second)
					after(15 * time.Second)
				}
				gone(s, tt.want)
				s.ready("a", v1.ConditionTrue)
				after(5 * time.Second)
				s.ready("a", v1.ConditionUnknown)
				gone(s, 20*time.Second)
			})
		})
	}
}

// A list that shows what is not found by its ID makes the looks of before worthless, also those that were a proof.
func TestListThatShowsItBeginsAnew(t *testing.T) {
	const suspected, gone = recovery.Suspected, recovery.Gone
	for name, tt := range map[string]struct {
		shownAt int // which look meets such a list
		want    []recovery.Presence
	}{
		"before the proof": {2, []recovery.Presence{suspected, suspected, suspected, suspected, suspected, gone}},
		"after the proof":  {3, []recovery.Presence{suspected, suspected, gone, suspected, suspected, suspected, gone}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bareScene(t)
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				prober := s.newProber(s.cloud)
				for i, want := range tt.want {
					s.cloud.set(func() {
						s.cloud.listed = nil
						if i == tt.shownAt {
							s.cloud.listed = func() []vultr.Instance { return []vultr.Instance{{ID: idA}, {ID: idB}} }
						}
					})
					if verdict, err := prober.Confirm(t.Context(), s.node("a")); err != nil || verdict.Presence != want {
						t.Fatalf("look %d: got %+v, %v, want %v", i+1, verdict, err, want)
					}
					after(11 * time.Second)
				}
			})
		})
	}
}

// While most instances are missing, looks count towards a proof, but none that a list contradicts.
func TestLooksThatCountWhileMostAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		names, ids := s.crowd(8)
		lists := 0
		s.cloud.set(func() {
			delete(s.cloud.instances, idA)
			s.cloud.listed = func() []vultr.Instance {
				if lists++; lists == 1 { // so that it is asked for
					return []vultr.Instance{{ID: idB}, {ID: ids[7]}}
				}
				return []vultr.Instance{{ID: idA}, {ID: idB}, {ID: ids[7]}}
			}
		})
		s.destroy(names[:7], ids[:7])
		s.ready("a", v1.ConditionUnknown)
		prober := s.newProber(s.cloud)
		for range 5 {
			_, err := prober.Confirm(t.Context(), s.node("a"))
			if doubt, ok := errors.AsType[*recovery.DoubtError](err); !ok || doubt.Reason != recovery.MostMissing {
				t.Fatalf("got %v", err)
			}
			after(11 * time.Second)
		}
		s.cloud.set(func() {
			s.cloud.listed = nil
			for _, id := range ids {
				s.cloud.instances[id] = vultr.Instance{ID: id}
			}
		})
		for i, want := range []recovery.Presence{recovery.Suspected, recovery.Suspected, recovery.Gone} {
			if verdict, err := prober.Confirm(t.Context(), s.node("a")); err != nil || verdict.Presence != want {
				t.Fatalf("look %d: got %+v, %v, want %v", i+1, verdict, err, want)
			}
			after(11 * time.Second)
		}
	})
}
