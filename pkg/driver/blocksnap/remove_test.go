package blocksnap

import (
	"fmt"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestTwinOfAShortLife: a snapshot that was delivered twice and is deleted before the name was looked at again leaves
// nothing; nor when another process deletes it, at once or later.
func TestTwinOfAShortLife(t *testing.T) {
	const name = "snapshot-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8" // as the snapshotter gives them
	for which, test := range map[string]struct {
		after   time.Duration
		another bool
		lag     time.Duration
	}{
		"by the same process":              {after: 10 * time.Second},
		"by another":                       {after: 10 * time.Second, another: true},
		"by another, later":                {after: 5 * time.Minute, another: true},
		"by the same process, reads late":  {after: 0, lag: 30 * time.Second},
		"by another, reads late":           {after: 0, another: true, lag: 30 * time.Second},
		"by another, later and reads late": {after: 5 * time.Minute, another: true, lag: 30 * time.Second},
	} {
		t.Run(which, func(t *testing.T) {
			for range 6 { // of two of one second the IDs decide which is kept
				inBubble(t, simulator.ReadLags{"block_snapshots": test.lag}, func(t *testing.T, r *rig) {
					v := r.volume()
					r.cloud.Fault(simulator.Fault{Operation: "create_block_snapshot", Action: simulator.FaultDuplicate, Times: 1})
					snap := r.create(name, v)
					time.Sleep(test.after) // of the fake clock
					p := r
					if test.another {
						p = r.another()
					}
					p.removeAsked(snap.ID)
					time.Sleep(30 * time.Minute) // of the fake clock
					if left := r.inTruth(name); len(left) != 0 {
						t.Errorf("left are %s", left)
					}
				})
			}
		})
	}
}

// TestTwinThatShowsLate: a snapshot is deleted by a process that knows nothing of it, whose lists lack what was made beside it
// in the same second, or lack both. Its description may be from before the cluster had an ID.
func TestTwinThatShowsLate(t *testing.T) {
	const bare = "snapshot-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	for _, name := range []string{bare, "prod/" + bare} {
		t.Run(name, func(t *testing.T) { showsLate(t, name) })
	}
}

func showsLate(t *testing.T, name string) {
	t.Helper()
	for what, shown := range map[string]func(snap vultr.Snapshot) string{
		"the other": func(snap vultr.Snapshot) string { return listed(snap) },
		"both":      func(vultr.Snapshot) string { return listed() },
		"nothing":   nil,
	} {
		for i := range 2 {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				v := r.volume()
				var twins []vultr.Snapshot
				for range 2 {
					snap, err := r.api.CreateSnapshot(t.Context(), v, name)
					if err != nil {
						t.Fatal(err)
					}
					twins = append(twins, snap)
				}
				time.Sleep(10 * time.Second) // of the fake clock
				if shown != nil {
					snap, err := r.api.Snapshot(t.Context(), twins[i].ID)
					if err != nil {
						t.Fatal(err)
					}
					r.cloud.Fault(simulator.Fault{
						Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: 200, Body: shown(snap), Times: 1,
					})
				}
				r.another().removeAsked(twins[i].ID)
				time.Sleep(30 * time.Minute) // of the fake clock
				if left := r.inTruth(name); len(left) != 0 {
					t.Errorf("lists lack %s: left are %s", what, left)
				}
			})
		}
	}
}

// TestNameInUseAgain: what is made by the name after its snapshot was deleted is no twin of that, whether its caller was told
// of it or was cut off.
func TestNameInUseAgain(t *testing.T) {
	for _, cutOff := range []bool{false, true} {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			v := r.volume()
			r.removeAsked(r.create("snapshot-1", v).ID)
			if cutOff {
				fault := r.cloud.Fault(simulator.Fault{Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: 500, Nth: 2})
				ctx, cancel := contextOf(t)
				if _, err := r.Create(ctx, "snapshot-1", v); err == nil {
					t.Fatal("it was not cut off")
				}
				cancel()
				r.cloud.Sim.RemoveFault(fault)
			} else {
				r.create("snapshot-1", v)
			}
			made := r.inTruth("snapshot-1")
			if len(made) != 1 {
				t.Fatalf("made were %s", made)
			}
			time.Sleep(8 * time.Minute) // of the fake clock
			r.only("snapshot-1", made[0])
			if again := r.create("snapshot-1", v); again.ID != made[0] {
				t.Errorf("%s was made and then %s answered", made[0], again.ID)
			}
		})
	}
}

// TestDeleteCost: a delete costs one list where none has shown yet what was made with the snapshot, which all deletes
// share, and none after that.
func TestDeleteCost(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		var ids []string
		for i := range 4 {
			ids = append(ids, r.create(fmt.Sprintf("snapshot-%d0b6c445-b93b-4f4d-b8c1-2cea28d99fb8", i), v).ID)
		}
		time.Sleep(10 * time.Minute) // of the fake clock
		p := r.another()
		for i, want := range []int{2, 1, 1, 1} {
			time.Sleep(time.Minute) // of the fake clock
			before := len(r.cloud.Requests())
			p.removeAsked(ids[i])
			if n := len(r.cloud.Requests()) - before; n != want {
				t.Errorf("delete %d: %d calls, want %d", i, n, want)
			}
		}
	})
}

// TestDelete is success when nothing is left, however often it is asked, and costs one call.
func TestDelete(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		snap := r.create("snapshot-1", v)
		time.Sleep(2 * time.Minute) // of the fake clock
		before := len(r.cloud.Requests())
		r.remove(snap.ID)
		r.remove(snap.ID)
		if n := len(r.cloud.Requests()) - before; n != 1 {
			t.Errorf("%d calls", n)
		}
		r.another().remove(snap.ID)
		if _, err := r.Read(t.Context(), snap.ID); volume.ReasonOf(err) != volume.NotFound {
			t.Errorf("reading it: %v", err)
		}
		if _, err := r.another().Read(t.Context(), snap.ID); volume.ReasonOf(err) != volume.NotFound {
			t.Errorf("reading it in another process: %v", err)
		}
	})
}

// TestDeleteDespiteNotFound: one answer that it does not exist is no proof, also if an attempt before may have deleted it:
// what is there is deleted.
func TestDeleteDespiteNotFound(t *testing.T) {
	notFound := simulator.Fault{Action: simulator.FaultStatus, Status: 404}
	for name, answers := range map[string][]simulator.Fault{
		"at once": {notFound}, "after a 5xx": {{Action: simulator.FaultStatus, Status: 500}, notFound},
		"after no answer": {{Action: simulator.FaultResetBefore}, notFound},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				v := r.volume()
				snap := r.create("snapshot-1", v)
				time.Sleep(2 * time.Minute) // of the fake clock
				for i, f := range answers {
					f.Operation, f.Nth, f.Times = "delete_block_snapshot", i+1, 1
					r.cloud.Fault(f)
				}
				r.remove(snap.ID)
				if left := r.inTruth("snapshot-1"); len(left) != 0 {
					t.Errorf("left are %s", left)
				}
			})
		})
	}
}

// TestDeleteWithoutAnswer: what was done is found to be done, also while reads still show it.
func TestDeleteWithoutAnswer(t *testing.T) {
	for _, lag := range []time.Duration{time.Second, 30 * time.Second} {
		inBubble(t, simulator.ReadLags{"block_snapshots": lag}, func(t *testing.T, r *rig) {
			v := r.volume()
			snap := r.create("snapshot-1", v)
			time.Sleep(2 * time.Minute) // of the fake clock: reads may lack what is newer, so that they prove nothing
			r.cloud.Fault(simulator.Fault{Operation: "delete_block_snapshot", Action: simulator.FaultResetAfter, Times: 1})
			began := time.Now()
			r.remove(snap.ID)
			if took := time.Since(began); took > lag+10*time.Second {
				t.Errorf("with a lag of %v it took %v", lag, took)
			}
		})
	}
}

// TestNothingIsGoneInAnotherAccount: where nothing of the cluster is shown, nothing counts as gone.
func TestNothingIsGoneInAnotherAccount(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
		for operation, key := range map[string]string{"list_instances": "instances", "list_bare_metals": "bare_metals"} {
			r.cloud.Fault(simulator.Fault{
				Operation: operation, Action: simulator.FaultStatus, Status: 200,
				Body: `{"` + key + `":[],"meta":{"total":0,"links":{"next":"","prev":""}}}`,
			})
		}
		if err := r.Delete(t.Context(), id); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("delete: %v", err)
		}
		if _, err := r.Read(t.Context(), id); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("read: %v", err)
		}
	})
}

// TestDeleteWithTwinsGoesOn: what cannot be deleted beside a snapshot is deleted later, although nobody asks again.
func TestDeleteWithTwinsGoesOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		for range 3 { // of one second
			if _, err := r.api.CreateSnapshot(t.Context(), v, "snapshot-1"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // of the fake clock
		snap := r.create("snapshot-1", v)
		r.cloud.Fault(simulator.Fault{Operation: "delete_block_snapshot", Action: simulator.FaultStatus, Status: 400, Times: 2})
		r.removeAsked(snap.ID)
		if left := r.inTruth("snapshot-1"); len(left) != 2 {
			t.Fatalf("left are %s, which is no test", left)
		}
		time.Sleep(time.Minute) // of the fake clock
		if left := r.inTruth("snapshot-1"); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestDeleteWhileInUse: the precondition is asked, and its error is the answer.
func TestDeleteWhileInUse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.volume()
		snap := r.create("snapshot-1", v)
		r.used = volume.Errorf(volume.InUse, "a volume is being made from it")
		if err := r.Delete(t.Context(), snap.ID); volume.ReasonOf(err) != volume.InUse {
			t.Errorf("got %v", err)
		}
		r.only("snapshot-1", snap.ID)
		r.used = nil
		for status, want := range map[int]volume.Reason{400: volume.InUse, 409: volume.Busy, 500: volume.Busy, 403: volume.Busy} {
			id := r.cloud.Fault(simulator.Fault{Operation: "delete_block_snapshot", Action: simulator.FaultStatus, Status: status})
			ctx, cancel := contextOf(t)
			if err := r.Delete(ctx, snap.ID); volume.ReasonOf(err) != want {
				t.Errorf("refused with %d: %v", status, err)
			}
			cancel()
			r.cloud.Sim.RemoveFault(id)
		}
		r.only("snapshot-1", snap.ID)
	})
}

// TestJustMadeIsNotGone: reads lack what was made a moment ago.
func TestJustMadeIsNotGone(t *testing.T) {
	inBubble(t, simulator.ReadLags{"block_snapshots": 20 * time.Second}, func(t *testing.T, r *rig) {
		v := r.volume()
		ctx, cancel := contextOf(t)
		defer cancel()
		if _, err := r.Create(ctx, "snapshot-1", v); err == nil {
			t.Fatal("answered too early for this test")
		}
		made := r.inTruth("snapshot-1")
		if _, err := r.Read(t.Context(), made[0]); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %v", err)
		}
		snap := r.create("snapshot-1", v)
		r.only("snapshot-1", snap.ID)
	})
}

// TestNameInUseAgainByAnother: the same by the process that leads then. A name that the snapshotter does not give can be used again.
func TestNameInUseAgainByAnother(t *testing.T) {
	inBubble(t, nil, func(_ *testing.T, r *rig) {
		v := r.volume()
		r.removeAsked(r.create("nightly", v).ID)
		time.Sleep(10 * time.Second) // of the fake clock
		again := r.another().create("nightly", v)
		time.Sleep(8 * time.Minute) // of the fake clock
		r.only("nightly", again.ID)
	})
}
