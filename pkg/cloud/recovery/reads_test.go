package recovery_test

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The platform says 404 for an ID that its list shows. Neither is believed.
func TestListShowsWhatIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		all := slices.Collect(maps.Values(s.cloud.instances))
		s.cloud.set(func() {
			delete(s.cloud.instances, idA)
			shown := 0
			s.cloud.listed = func() []vultr.Instance { // the first list lacks it, so that it is asked for
				if shown++; shown == 1 {
					return slices.Collect(maps.Values(s.cloud.instances))
				}
				return all
			}
		})
		s.ready("a", v1.ConditionUnknown)
		for range 30 {
			after(10 * time.Second)
			if s.marked("a") || s.departed("a") {
				t.Fatal("declared dead while the list shows it")
			}
		}
		s.cloud.set(func() { s.cloud.listed = nil })
		after(time.Minute)
		if !s.marked("a") {
			t.Error("not marked when the list agrees")
		}
	})
}

// A fresh instance may be missing from every read for a while.
func TestNodeThatIsTooYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.update("a", func(n *v1.Node) { n.CreationTimestamp = metav1.Now() })
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		after(85 * time.Second)
		if s.marked("a") || s.departed("a") {
			t.Error("declared dead")
		}
		after(5*time.Second + proof)
		if !s.marked("a") {
			t.Error("not marked when it is old enough")
		}
	})
}

// Nor is anything told of it that has no other reason than that reads are late.
func TestNothingIsToldOfAYoungNode(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*scene)
		event  string // when it is old enough
	}{
		"its kubelet reports": {func(s *scene) { s.ready("a", v1.ConditionFalse) }, match.StaleProviderID},
		"no other is seen":    {func(s *scene) { s.cloud.set(func() { clear(s.cloud.instances) }) }, recovery.NoWitness},
		"most are missing": {func(s *scene) {
			_, ids := s.crowd(8)
			s.destroy(nil, ids[:7])
		}, recovery.MostMissing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				s.update("a", func(n *v1.Node) { n.CreationTimestamp = metav1.Now() })
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				tt.change(s)
				after(85 * time.Second)
				s.wantEvents()
				after(10 * time.Second)
				s.wantEvents(tt.event)
			})
		})
	}
}

// A clock that is ahead of the API server's makes every Node look old. One that this process saw come is as young as that.
func TestYoungNodeByAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		after(10 * time.Second)
		n := node("c", idNew)
		n.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
		n.Status.Conditions[0].Status = v1.ConditionUnknown
		if err := s.client.Tracker().Add(n); err != nil {
			t.Fatal(err)
		}
		after(85 * time.Second)
		if s.marked("c") || s.departed("c") {
			t.Error("declared dead")
		}
		after(15*time.Second + proof)
		if !s.marked("c") {
			t.Error("not marked when it is old enough")
		}
	})
}

// What was seen before the Node was well counts for nothing, whoever looks.
func TestLooksOfBeforeDoNotCount(t *testing.T) {
	tests := map[string]func(*scene){
		"the node was ready in between": func(s *scene) {
			s.ready("a", v1.ConditionTrue)
			after(20 * time.Second)
			s.ready("a", v1.ConditionUnknown)
		},
		"nobody looked for a month": func(*scene) { after(30 * 24 * time.Hour) },
		"nobody looked for minutes": func(*scene) { after(150 * time.Second) },
	}
	for name, between := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bareScene(t)
				s.startWithoutController()
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				if s.departed("a") {
					t.Fatal("one look proves nothing")
				}
				between(s)
				if s.departed("a") {
					t.Error("a look of before counts")
				}
				after(10 * time.Second)
				if s.departed("a") {
					t.Error("two looks prove it")
				}
				after(10 * time.Second)
				if !s.departed("a") {
					t.Error("three looks prove it")
				}
			})
		})
	}
}

// Without fast recovery the deletion of most Nodes is stopped all the same.
func TestBreakerWithoutFastRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		names, ids := s.crowd(8)
		s.startWithoutController()
		s.destroy(names, ids)
		for range 60 {
			after(10 * time.Second)
			if s.departed(names[0]) {
				t.Fatal("departed")
			}
		}
	})
}

// Twenty Nodes that are not ready cost a part of a list every half a minute, and both controllers share it.
func TestNodesThatAreNotReadyShareLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		names, _ := s.crowd(20)
		for _, name := range names {
			s.ready(name, v1.ConditionUnknown)
		}
		after(5 * time.Minute)
		s.cloud.set(func() { s.cloud.looks, s.cloud.lists = 0, 0 })
		for range 120 { // as the library does
			for _, name := range names {
				if s.departed(name) {
					t.Fatal("departed")
				}
			}
			after(5 * time.Second)
		}
		if s.cloud.looks > 0 || s.cloud.lists > 21 {
			t.Errorf("%d GETs and %d lists in ten minutes", s.cloud.looks, s.cloud.lists)
		}
	})
}

// What a list lacks is asked for by its ID with pauses, however often the controllers come round.
func TestMissingOnesAreAskedForWithPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, attachment("va", "a"))
		s.cloud.set(func() { clear(s.cloud.instances); s.cloud.instances[idB] = vultr.Instance{ID: idB} })
		s.cloud.set(func() { s.cloud.instances[idNew] = vultr.Instance{ID: idNew, Label: "a"} }) // it stays in doubt
		s.ready("a", v1.ConditionUnknown)
		for range 120 {
			if s.departed("a") {
				t.Fatal("departed")
			}
			after(5 * time.Second)
		}
		if n := s.cloud.looked(); n < 15 || n > 25 {
			t.Errorf("%d GETs in ten minutes", n)
		}
	})
}

// An API that fails is asked less and less often.
func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		names, ids := s.crowd(10)
		s.cloud.set(func() {
			for _, id := range ids[:4] {
				delete(s.cloud.instances, id)
			}
			s.cloud.failGets = &vultr.Error{Op: "get instance", Status: 500}
		})
		for _, name := range names {
			s.ready(name, v1.ConditionUnknown)
		}
		after(10 * time.Minute)
		if n := s.cloud.looked(); n > 4*25 {
			t.Errorf("%d failing GETs in ten minutes", n)
		}
		s.cloud.set(func() { s.cloud.failGets = nil })
		after(50 * time.Second)
		if n := s.marks(names); n != 4 {
			t.Errorf("%d marked, want 4", n)
		}
	})
}

// A refused key costs one failing list in five seconds, not one call for each Node.
func TestFailuresAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		s.startOn(&sharingAccount{account: s.cloud})
		names, _ := s.crowd(50)
		s.cloud.set(func() { s.cloud.fails = &vultr.Error{Op: "list instances", Status: 401} })
		for _, name := range names {
			s.ready(name, v1.ConditionUnknown)
		}
		after(10 * time.Minute)
		s.cloud.mu.Lock()
		defer s.cloud.mu.Unlock()
		if s.cloud.looks > 0 || s.cloud.lists > 122 {
			t.Errorf("%d GETs and %d lists in ten minutes", s.cloud.looks, s.cloud.lists)
		}
	})
}

// A pause counts from the end of one answer to the beginning of the next question: what is asked sooner may be
// answered by the same outage.
func TestPauseBetweenTheLooks(t *testing.T) {
	for name, takes := range map[string]time.Duration{"quick answers": 0, "slow answers": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bareScene(t)
				s.cloud.set(func() { delete(s.cloud.instances, idA) })
				s.ready("a", v1.ConditionUnknown)
				prober := s.newProber(slowAccount{s.cloud, takes})
				for range 2 {
					for range 2 {
						if verdict, err := prober.Confirm(t.Context(), s.node("a")); err != nil || verdict.Presence != recovery.Suspected {
							t.Fatalf("got %+v, %v", verdict, err)
						}
					}
					after(10 * time.Second)
				}
				if verdict, err := prober.Confirm(t.Context(), s.node("a")); err != nil || verdict.Presence != recovery.Gone {
					t.Errorf("got %+v, %v", verdict, err)
				}
			})
		})
	}
}

// A doubt says that the answers of before may have been wrong as well.
func TestDoubtBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bareScene(t)
		s.cloud.set(func() { delete(s.cloud.instances, idA) })
		s.ready("a", v1.ConditionUnknown)
		prober := s.newProber(s.cloud)
		look := func() (recovery.Presence, error) {
			after(11 * time.Second)
			verdict, err := prober.Confirm(t.Context(), s.node("a"))
			return verdict.Presence, err
		}
		if presence, err := look(); err != nil || presence != recovery.Suspected {
			t.Fatalf("got %v, %v", presence, err)
		}
		s.cloud.set(func() { clear(s.cloud.instances) })
		if _, err := look(); err == nil {
			t.Fatal("no doubt without a witness")
		}
		s.cloud.set(func() { s.cloud.instances[idB] = vultr.Instance{ID: idB} })
		for _, want := range []recovery.Presence{recovery.Suspected, recovery.Suspected, recovery.Gone} {
			if presence, err := look(); err != nil || presence != want {
				t.Fatalf("got %v, %v, want %v", presence, err, want)
			}
		}
	})
}
