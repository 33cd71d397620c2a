package ledger_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

// attempt is written before a request that makes a load balancer.
func attempt() ledger.Entry {
	return ledger.Entry{Service: "shop/web", Tried: ledger.Second(time.Now().Add(ledger.MaxAhead))}
}

// Of two controllers that want to make a load balancer for one Service at the same moment, one may. The other learns of it.
func TestOneAttemptAtATime(t *testing.T) {
	for _, first := range []string{"no ConfigMap", "an entry beside it"} {
		t.Run(first, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.latency = 10 * time.Millisecond
				if first != "no ConfigMap" {
					put(t, s.process(t), other, ledger.Entry{ID: "2"})
				}
				mine, theirs := s.process(t), s.process(t)
				var running sync.WaitGroup
				var errs [2]error
				for i, l := range []*ledger.Ledger{mine, theirs} {
					running.Go(func() { errs[i] = l.Put(t.Context(), uid, attempt()) })
				}
				running.Wait()
				if (errs[0] == nil) == (errs[1] == nil) {
					t.Fatalf("errors %v", errs)
				}
				loser, err := theirs, errs[1]
				if err == nil {
					loser, err = mine, errs[0]
				}
				if !errors.Is(err, ledger.ErrChanged) || !strings.Contains(err.Error(), "shop/web") || !strings.Contains(err.Error(), "leader election") {
					t.Errorf("the second one is told %v", err)
				}
				wantEntry(t, loser, uid, attempt())
			})
		})
	}
}

// A leader that was frozen, and wakes when another one leads, overwrites nothing and takes over what was written meanwhile.
func TestFrozenLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		frozen := s.process(t)
		put(t, frozen, uid, attempt())
		put(t, frozen, other, ledger.Entry{Service: "shop/other", ID: "2"})
		put(t, frozen, third, ledger.Entry{Service: "shop/third", ID: "3"})
		next := s.process(t)
		now := ledger.Entry{Service: "shop/web", ID: "1", Shown: true}
		put(t, next, uid, now)
		put(t, next, third, ledger.Entry{}) // its Service is gone

		if err := frozen.Mend(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantEntry(t, s.process(t), uid, now)
		wantEntry(t, s.process(t), third, ledger.Entry{})
		if err := frozen.Put(t.Context(), uid, ledger.Entry{ID: "9"}); !errors.Is(err, ledger.ErrChanged) {
			t.Errorf("Put on what was not read again: %v", err)
		}
		put(t, frozen, other, ledger.Entry{Service: "shop/other", ID: "2", Shown: true}) // nobody else has touched it
		wantEntry(t, frozen, uid, now)
		after := ledger.Entry{Service: "shop/web", ID: "1", Shown: true, Address: "192.0.2.1"}
		put(t, frozen, uid, after) // it has been read again
		wantEntry(t, s.process(t), uid, after)
		wantEntry(t, s.process(t), other, ledger.Entry{Service: "shop/other", ID: "2", Shown: true})
		wantEntry(t, s.process(t), third, ledger.Entry{})
	})
}

// A write by somebody else is noticed at the write of another entry, and counts for all that it changed.
func TestAnotherEntryTellsOfTheOtherController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		mine, theirs := s.process(t), s.process(t)
		put(t, theirs, uid, attempt())
		put(t, mine, other, ledger.Entry{ID: "2"})
		if err := mine.Put(t.Context(), uid, attempt()); !errors.Is(err, ledger.ErrChanged) {
			t.Errorf("Put: %v", err)
		}
		wantEntry(t, mine, uid, attempt())
	})
}

// A write whose answer is lost was done, and is no other controller's.
func TestLostAnswerOfAWrite(t *testing.T) {
	for _, verb := range []string{"create", "patch"} {
		t.Run(verb, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				l := s.process(t)
				if verb == "patch" {
					put(t, l, other, ledger.Entry{ID: "2"})
				}
				s.broken = func(string) (error, error) { return nil, errDown }
				put(t, l, uid, attempt())
				wantEntry(t, l, uid, attempt())
				s.broken = func(string) (error, error) { return nil, nil }
				put(t, l, uid, ledger.Entry{ID: "1"})
				wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
			})
		})
	}
}

// A write that failed as far as anybody could see, and was done all the same, does not last: its caller was told so.
func TestWriteThatWasDoneUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		l := s.process(t)
		put(t, l, uid, ledger.Entry{ID: "1"})
		s.unreadable = true
		s.broken = func(string) (error, error) { return nil, errDown }
		if err := l.Put(t.Context(), uid, ledger.Entry{ID: "9"}); err == nil {
			t.Error("what nobody knows is told as done")
		}
		s.unreadable, s.broken = false, func(string) (error, error) { return nil, nil }
		put(t, l, other, ledger.Entry{ID: "2"})
		wantEntry(t, l, uid, ledger.Entry{ID: "1"})
		wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
		wantEntry(t, s.process(t), other, ledger.Entry{ID: "2"})
	})
}

// What people delete or change is restored, by the next write and by Mend, also where it makes the write fail first.
func TestWhatPeopleChangeIsRestored(t *testing.T) {
	changes := map[string]func(*v1.ConfigMap){
		"an entry is removed":    func(cm *v1.ConfigMap) { delete(cm.Data, string(uid)) },
		"an entry is garbled":    func(cm *v1.ConfigMap) { cm.Data[string(uid)] = "{" },
		"all is removed":         func(cm *v1.ConfigMap) { cm.Data = nil },
		"the mark is removed":    func(cm *v1.ConfigMap) { delete(cm.Data, "writer") },
		"what goes is gone":      func(cm *v1.ConfigMap) { delete(cm.Data, string(other)) },
		"nothing but the labels": func(cm *v1.ConfigMap) { cm.Labels["x"] = "y" },
		"an entry and the label": func(cm *v1.ConfigMap) { delete(cm.Data, string(uid)); cm.Labels = nil },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				l := s.process(t)
				put(t, l, uid, ledger.Entry{ID: "1"})
				put(t, l, other, ledger.Entry{ID: "2"})
				s.edit(t, ledger.Name(uid), change)
				if err := l.Mend(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
				wantEntry(t, s.process(t), other, ledger.Entry{ID: "2"})
				s.edit(t, ledger.Name(uid), change)
				put(t, l, other, ledger.Entry{})
				synctest.Wait() // Put returns when its own is stored
				time.Sleep(time.Second)
				wantEntry(t, s.process(t), uid, ledger.Entry{ID: "1"})
				wantEntry(t, s.process(t), other, ledger.Entry{})
				wantEntry(t, l, uid, ledger.Entry{ID: "1"})
			})
		})
	}
}

// A time ahead of now, which a wrong clock has written, is no more than now from the first look on; it does not move along.
func TestTimesAheadAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		ahead, now := ledger.Second(time.Now().AddDate(36, 0, 0)), ledger.Second(time.Now())
		put(t, s.process(t), uid, ledger.Entry{Tried: ahead, Made: ahead, Deleted: ahead})
		put(t, s.process(t), other, ledger.Entry{Tried: now.Add(ledger.MaxAhead), Made: now, Deleted: now})
		l := s.process(t)
		time.Sleep(time.Hour)
		first := ledger.Second(time.Now())
		want := ledger.Entry{Tried: first.Add(ledger.MaxAhead), Made: first, Deleted: first}
		wantEntry(t, l, uid, want)
		time.Sleep(time.Hour)
		wantEntry(t, l, uid, want)
		wantEntry(t, l, other, ledger.Entry{Tried: now.Add(ledger.MaxAhead), Made: now, Deleted: now})
		if all := s.process(t).All(); len(all) != 2 {
			t.Errorf("%v", all)
		}
	})
}

// A clock that was wrong while this very process wrote, and was set right since, is no other case.
func TestTimesAheadOfThisProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newServer().process(t)
		put(t, l, uid, ledger.Entry{Tried: ledger.Second(time.Now().AddDate(36, 0, 0))})
		wantEntry(t, l, uid, attemptOf(time.Now()))
	})
}

func attemptOf(now time.Time) ledger.Entry {
	return ledger.Entry{Tried: ledger.Second(now.Add(ledger.MaxAhead))}
}
