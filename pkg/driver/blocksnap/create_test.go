package blocksnap

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestCreate: the answer comes before the snapshot is complete, and later ones are about the same snapshot. It costs
// three calls, and one for each time that it is asked for again.
func TestCreate(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		before := len(r.cloud.Requests())
		began := time.Now()
		first := r.create("snapshot-1", v)
		if took := time.Since(began); first.Complete() || first.VolumeID != v || first.SizeBytes != 10<<30 || took > 3*time.Second {
			t.Errorf("got %+v after %v", first, took)
		}
		if n := len(r.cloud.Requests()) - before; n > 3 {
			t.Errorf("%d calls", n)
		}
		time.Sleep(8 * time.Second) // of the fake clock
		before = len(r.cloud.Requests())
		if again := r.create("snapshot-1", v); again.ID != first.ID || !again.Complete() {
			t.Errorf("got %+v, before it was %+v", again, first)
		}
		if n := len(r.cloud.Requests()) - before; n != 1 {
			t.Errorf("%d calls to ask again", n)
		}
		if again := r.another().create("snapshot-1", v); again.ID != first.ID || !again.Complete() {
			t.Errorf("another process: got %+v, before it was %+v", again, first)
		}
		r.only("snapshot-1", first.ID)
	})
}

// TestAskedAgainSoon: who asks again a second after the first answer is told that the snapshot is complete as soon as reads
// show it, by one more call.
func TestAskedAgainSoon(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		for _, name := range []string{"snapshot-1", "snapshot-2"} {
			began := time.Now()
			r.create(name, v)
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("the first answer took %s", took)
			}
			time.Sleep(time.Second) // of the fake clock
			before := len(r.cloud.Requests())
			again := r.create(name, v)
			if took := time.Since(began); !again.Complete() || took > 5500*time.Millisecond {
				t.Errorf("after %s it was %+v", took, again)
			}
			if n := len(r.cloud.Requests()) - before; n > 2 {
				t.Errorf("%d calls", n)
			}
		}
	})
}

// TestSlowSnapshot: one that is not complete soon is not waited for, and one that another process made at no time.
func TestSlowSnapshot(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Snapshot = 5 * time.Minute
	inCloud(t, simulator.Config{Delays: delays}, func(t *testing.T, r *rig) {
		v := r.volume()
		made := time.Now()
		r.create("snapshot-1", v)
		time.Sleep(time.Second) // of the fake clock
		for _, c := range []struct {
			asked  *rig
			is     string
			by     time.Duration // since it was made
			atMost int           // calls
		}{
			{r.another(), "by another process", 4 * time.Second, 1},
			{r, "soon", soon + time.Second, 6},
			{r, "later", soon + time.Second, 1},
		} {
			before := len(r.cloud.Requests())
			if snap := c.asked.create("snapshot-1", v); snap.Complete() || time.Since(made) > c.by {
				t.Errorf("%s: after %s it was %+v", c.is, time.Since(made), snap)
			}
			if n := len(r.cloud.Requests()) - before; n > c.atMost {
				t.Errorf("%s: %d calls", c.is, n)
			}
		}
	})
}

// TestNameOfAnotherVolume: a name belongs to one volume, whoever made its snapshot.
func TestNameOfAnotherVolume(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, other := r.volume(), r.volume()
		first := r.create("snapshot-1", v)
		time.Sleep(time.Minute) // of the fake clock
		for _, p := range []*rig{r, r.another()} {
			if snap, err := p.Create(t.Context(), "snapshot-1", other); volume.ReasonOf(err) != volume.Exists {
				t.Errorf("got %+v, %v", snap, err)
			}
		}
		r.only("snapshot-1", first.ID)
	})
}

// TestVolumeIsMissing: the platform's answer to the create proves that there is no such volume, in the cluster's account.
func TestVolumeIsMissing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		const nothing = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
		if _, err := r.Create(t.Context(), "snapshot-1", nothing); volume.ReasonOf(err) != volume.NotFound {
			t.Errorf("got %v", err)
		}
		none := `{"instances":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`
		r.cloud.Fault(simulator.Fault{Operation: "list_instances", Action: simulator.FaultStatus, Status: 200, Body: none})
		r.cloud.Fault(simulator.Fault{
			Operation: "list_bare_metals", Action: simulator.FaultStatus, Status: 200,
			Body: `{"bare_metals":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`,
		})
		if _, err := r.Create(t.Context(), "snapshot-1", nothing); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("in an account that shows nothing of the cluster: %v", err)
		}
	})
}

// TestFullAccount: that the account can have no more snapshots is no fault of the volume, and nothing that somebody has to undo.
func TestFullAccount(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		r.cloud.Fault(simulator.Fault{
			Operation: "create_block_snapshot", Action: simulator.FaultStatus, Status: 400, Times: 1,
			Body: `{"error":"You have reached the maximum number of snapshots for this account.","status":400}`,
		})
		if _, err := r.Create(t.Context(), "snapshot-1", v); volume.ReasonOf(err) != volume.Exhausted || !strings.Contains(err.Error(), "maximum number") {
			t.Errorf("got %v", err)
		}
		r.create("snapshot-1", v)
	})
}

// TestLostAnswers: whatever becomes of the answer to a create and however late reads are, a name has one snapshot in the
// end, and it is the one that was answered.
func TestLostAnswers(t *testing.T) {
	for name, fault := range map[string]simulator.Fault{
		"lost":                     {Action: simulator.FaultResetAfter},
		"lost, not done":           {Action: simulator.FaultResetBefore},
		"an error, done":           {Action: simulator.FaultStatusAfter, Status: 500},
		"cut in half":              {Action: simulator.FaultTruncate},
		"delivered twice and lost": {Action: simulator.FaultDuplicate, Answer: "first"},
	} {
		for _, lag := range []time.Duration{time.Second, 30 * time.Second} {
			t.Run(name+" "+lag.String(), func(t *testing.T) {
				inBubble(t, simulator.ReadLags{"block_snapshots": lag}, func(t *testing.T, r *rig) {
					v := r.volume()
					fault.Operation, fault.Times = "create_block_snapshot", 1
					r.cloud.Fault(fault)
					snap := r.create("snapshot-1", v)
					time.Sleep(3 * time.Minute) // of the fake clock
					if again := r.create("snapshot-1", v); again.ID != snap.ID {
						t.Errorf("the snapshot changed from %s to %s", snap.ID, again.ID)
					}
					if fault.Action == simulator.FaultDuplicate {
						r.removeAsked(snap.ID) // both are of one second: which one was told is certain from here on
						if left := r.inTruth("snapshot-1"); len(left) != 0 {
							t.Errorf("left are %s", left)
						}
						return
					}
					r.only("snapshot-1", snap.ID)
				})
			})
		}
	}
}

// TestTwoControllers: two processes make the same name, apart by less or more than reads lag. They answer the same
// snapshot, and it is the only one.
func TestTwoControllers(t *testing.T) {
	for _, apart := range []time.Duration{0, 1500 * time.Millisecond, 10 * time.Second} {
		for _, lag := range []time.Duration{time.Second, 20 * time.Second} {
			t.Run(apart.String()+" "+lag.String(), func(t *testing.T) {
				inBubble(t, simulator.ReadLags{"block_snapshots": lag}, func(t *testing.T, r *rig) {
					v := r.volume()
					var told [2]string
					var all sync.WaitGroup
					for i, p := range []*rig{r, r.another()} {
						all.Go(func() {
							time.Sleep(time.Duration(i) * apart) // of the fake clock
							told[i] = p.create("snapshot-1", v).ID
						})
					}
					all.Wait()
					time.Sleep(3 * time.Minute) // of the fake clock
					if told[0] != told[1] {
						t.Errorf("answered were %s", told)
					}
					r.only("snapshot-1", told[0])
				})
			})
		}
	}
}

// TestTwinsShowLate: the snapshots of requests that got no answer show after the one that was answered, and after that was
// deleted. They go, whichever process made them.
func TestTwinsShowLate(t *testing.T) {
	inBubble(t, simulator.ReadLags{"block_snapshots": 30 * time.Second}, func(t *testing.T, r *rig) {
		v := r.volume()
		for range 4 {
			if _, err := r.api.CreateSnapshot(t.Context(), v, "snapshot-1"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(7 * time.Second) // of the fake clock
		}
		time.Sleep(4 * time.Second) // of the fake clock: the first shows
		p := r.another()
		snap := p.create("snapshot-1", v)
		r.remove(snap.ID)
		time.Sleep(6 * time.Second)                       // of the fake clock
		if _, err := p.List(t.Context(), 0); err != nil { // which those who look later could share
			t.Fatal(err)
		}
		if left := r.inTruth("snapshot-1"); len(left) != 3 {
			t.Fatalf("left are %s, which is no test", left)
		}
		time.Sleep(4 * time.Minute) // of the fake clock
		if left := r.inTruth("snapshot-1"); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestYoungerTwinGoes: what a predecessor left beside the snapshot, by a platform that was late, goes if it is younger by
// the platform's own clock, and stays if that does not tell.
func TestYoungerTwinGoes(t *testing.T) {
	for _, apart := range []time.Duration{0, 2 * time.Second, 2 * time.Minute} {
		t.Run(apart.String(), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				v := r.volume()
				var ids []string
				for range 2 {
					snap, err := r.another().api.CreateSnapshot(t.Context(), v, "snapshot-1")
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, snap.ID)
					time.Sleep(apart) // of the fake clock
				}
				time.Sleep(10 * time.Second) // of the fake clock
				snap := r.create("snapshot-1", v)
				if apart == 2*time.Second {
					r.only("snapshot-1", ids[0])
				} else if left := r.inTruth("snapshot-1"); len(left) != 2 {
					t.Errorf("left are %s", left)
				}
				if apart > 0 && snap.ID != ids[0] {
					t.Errorf("answered is %s of %s", snap.ID, ids)
				}
			})
		})
	}
}

// TestAnsweredIsNoTwin: what was answered stays, even if one shows later that is older.
func TestAnsweredIsNoTwin(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		snap := r.create("snapshot-1", v)
		older := snap
		older.ID, older.Created = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8", snap.Created.Add(-5*time.Second)
		if r.isTwin(older, snap) {
			t.Error("what was answered counts as a twin")
		}
		if !r.another().isTwin(older, snap) {
			t.Error("what nobody was told of does not count as a twin")
		}
		other := snap
		other.VolumeID = older.ID
		if r.another().isTwin(older, other) {
			t.Error("a snapshot of another volume counts as a twin")
		}
	})
}

// TestRemoveBeside: what is deleted beside the snapshot that Kubernetes knew is of the same volume and the same time.
func TestRemoveBeside(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v, other := r.volume(), r.volume()
		byHand := func(volumeID string) string {
			snap, err := r.api.CreateSnapshot(t.Context(), volumeID, "snapshot-1")
			if err != nil {
				t.Fatal(err)
			}
			return snap.ID
		}
		twins := []string{byHand(v), byHand(v)} // of one second
		time.Sleep(2 * time.Second)             // of the fake clock
		ofAnother := byHand(other)
		time.Sleep(2 * time.Minute) // of the fake clock
		later := byHand(v)
		time.Sleep(time.Minute) // of the fake clock
		snap := r.create("snapshot-1", v)
		if !slices.Contains(twins, snap.ID) {
			t.Errorf("answered was %s, not one of %s", snap.ID, twins)
		}
		r.removeAsked(snap.ID)
		want := []string{ofAnother, later}
		slices.Sort(want)
		if left := r.inTruth("snapshot-1"); !slices.Equal(left, want) {
			t.Errorf("left are %s, want %s", left, want)
		}
	})
}

// failing has the platform say so of a snapshot in its next list.
func (r *rig) failing(snap vultr.Snapshot) {
	snap.State = "ERROR"
	r.cloud.Fault(simulator.Fault{Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: 200, Body: listed(snap), Times: 1})
}

// TestFailedIsTakenBack: a snapshot that the platform could not take, and of which nobody was told, is deleted, and the
// next call makes another one.
func TestFailedIsTakenBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := r.Create(ctx, "snapshot-1", v); err == nil {
			t.Fatal("answered too early for this test")
		}
		failed := r.inTruth("snapshot-1")
		r.failing(vultr.Snapshot{ID: failed[0], VolumeID: v, Description: "snapshot-1", Created: time.Now()})
		if snap, err := r.Create(t.Context(), "snapshot-1", v); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %+v, %v", snap, err)
		}
		snap := r.create("snapshot-1", v)
		if snap.ID == failed[0] {
			t.Error("the failed one was answered")
		}
		r.only("snapshot-1", snap.ID)
	})
}

// TestNameIsFreeAfterADelete: a name whose snapshot was deleted, by this process or another one, can be made again.
func TestNameIsFreeAfterADelete(t *testing.T) {
	for _, own := range []bool{true, false} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v := r.volume()
			first, deleter := r.create("snapshot-1", v), r
			if !own {
				deleter = r.another()
			}
			deleter.remove(first.ID)
			time.Sleep(2*time.Minute + time.Second) // of the fake clock
			second := r.create("snapshot-1", v)
			if second.ID == first.ID {
				t.Error("the deleted one was answered")
			}
			time.Sleep(2 * time.Minute) // of the fake clock
			r.only("snapshot-1", second.ID)
		})
	}
}

// TestAwaitComplete returns when the platform says so.
func TestAwaitComplete(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		first := r.create("snapshot-1", v)
		snap, err := r.AwaitComplete(t.Context(), first.ID)
		if err != nil || !snap.Complete() || snap.ID != first.ID {
			t.Errorf("got %+v, %v", snap, err)
		}
	})
}

// TestKeyChanges: a name that was looked for with one key is not made with another one, which may be another account's.
func TestKeyChanges(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		r.Store.api = &changing{API: r.api}
		if _, err := r.Create(t.Context(), "snapshot-1", v); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %v", err)
		}
		if left := r.inTruth("snapshot-1"); len(left) != 0 {
			t.Errorf("made was %s", left)
		}
	})
}

// changing has a new key each time that it is asked.
type changing struct {
	API
	times int
}

func (c *changing) KeySince() time.Time {
	c.times++
	return c.API.KeySince().Add(time.Duration(c.times) * time.Second)
}

// TestHowFarASlowSnapshotIs: who waits for one in vain hears what the platform says of it.
func TestHowFarASlowSnapshotIs(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Snapshot = 20 * time.Minute
	inCloud(t, simulator.Config{Delays: delays}, func(t *testing.T, r *rig) {
		snap := r.create("snapshot-1", r.volume())
		time.Sleep(5 * time.Minute) // of the fake clock
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_, err := r.AwaitComplete(ctx, snap.ID)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), snap.ID) || !strings.Contains(err.Error(), `its state is "`+snap.State+`" (made 7 minutes ago)`) {
			t.Errorf("got %v", err)
		}
	})
}
