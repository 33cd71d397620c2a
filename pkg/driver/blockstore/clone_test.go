package blockstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// snapshotsLeft are the descriptions of the snapshots in the account.
func (r *rig) snapshotsLeft() []string {
	var all []string
	for _, snap := range r.cloud.Sim.View().Snapshots {
		all = append(all, snap.Description)
	}
	return all
}

// TestClone: the copy comes by way of a snapshot, which is gone when it is there; asking again finds the copy.
func TestClone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		time.Sleep(time.Minute) // of the fake clock
		spec := fromSource("pvc-1", volume.Source{Volume: source.ID})
		before := len(r.cloud.Requests())
		v, err := r.repeatCreate(time.Minute, spec)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(r.cloud.Requests()) - before; n > 7 { // who has the snapshot's name, three orders and three waits; a list of volumes was just read
			t.Errorf("it took %d calls", n)
		}
		if v.Source != spec.Source || r.block(v.ID).SnapshotID == "" || v.SizeGiB != 10 {
			t.Errorf("got %+v, the platform has %+v", v, r.block(v.ID))
		}
		if left := r.snapshotsLeft(); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
		for _, p := range []*rig{r, r.another()} {
			if again, err := p.Create(t.Context(), spec); err != nil || again.ID != v.ID || again.Source != spec.Source {
				t.Errorf("asked again: got %+v, %v", again, err)
			}
			if again, err := p.Create(t.Context(), specOf("pvc-1")); volume.ReasonOf(err) != volume.Exists {
				t.Errorf("the name as an empty volume: got %+v, %v", again, err)
			}
			empty := fromSource("pvc-source", volume.Source{Volume: v.ID})
			if again, err := p.Create(t.Context(), empty); volume.ReasonOf(err) != volume.Exists {
				t.Errorf("an empty volume for a copy: got %+v, %v", again, err)
			}
		}
	})
}

// TestCloneByAnOldList: what a list of a moment ago lacks of the source, another process has made, grown or deleted it since,
// is found out.
func TestCloneByAnOldList(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		other := r.another()
		grown, deleted := r.create("pvc-grown"), r.create("pvc-deleted")
		time.Sleep(time.Minute) // of the fake clock
		if _, err := r.List(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		made := other.create("pvc-made")
		if _, _, err := other.Expand(t.Context(), grown.ID, volume.Capacity{Required: 20 * gib}); err != nil {
			t.Fatal(err)
		}
		if err := other.Delete(t.Context(), deleted.ID); err != nil {
			t.Fatal(err)
		}
		if v, err := r.Create(t.Context(), fromSource("pvc-1", volume.Source{Volume: deleted.ID})); volume.ReasonOf(err) != volume.NotFound {
			t.Errorf("of a deleted one: got %+v, %v", v, err)
		}
		if v, err := r.Create(t.Context(), fromSource("pvc-2", volume.Source{Volume: grown.ID})); err != nil || v.SizeGiB != 20 {
			t.Errorf("of a grown one: got %+v, %v", v, err)
		}
		if v, err := r.Create(t.Context(), fromSource("pvc-3", volume.Source{Volume: made.ID})); err != nil || v.SizeGiB != 10 {
			t.Errorf("of a new one: got %+v, %v", v, err)
		}
		if left := r.snapshotsLeft(); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestCloneIsNotARestore: a volume of the name that was made from somebody's snapshot, or as a copy of another volume, is
// no copy of this one, as long as the snapshot tells.
func TestCloneIsNotARestore(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source, other := r.create("pvc-source"), r.create("pvc-other")
		restored := r.snapshotOf(source.ID, "snapshot-1")
		copied := r.snapshotOf(other.ID, copyName(other.ID, "pvc-2"))
		for name, snapshot := range map[string]string{"pvc-1": restored.ID, "pvc-2": copied.ID} {
			request := requestOf(name)
			request.SnapshotID = snapshot
			r.byHand(request)
			time.Sleep(time.Minute) // of the fake clock
			if v, err := r.Create(t.Context(), fromSource(name, volume.Source{Volume: source.ID})); volume.ReasonOf(err) != volume.Exists {
				t.Errorf("%s: got %+v, %v", name, v, err)
			}
		}
		if left := r.snapshotsLeft(); len(left) != 2 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestCloneIsRefused before anything is made.
func TestCloneIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		big := specOf("pvc-source")
		big.SizeGiB = 30
		source, err := r.Create(t.Context(), big)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the fake clock
		small := fromSource("pvc-1", volume.Source{Volume: source.ID})
		small.Capacity.Limit = 20 * gib
		elsewhere := fromSource("pvc-1", volume.Source{Volume: source.ID})
		elsewhere.Regions = []string{"lax"}
		for name, c := range map[string]struct {
			spec volume.Spec
			want volume.Reason
		}{
			"too small": {small, volume.OutOfRange}, "elsewhere": {elsewhere, volume.Exhausted},
			"missing": {fromSource("pvc-1", volume.Source{Volume: "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"}), volume.NotFound},
		} {
			if v, err := r.Create(t.Context(), c.spec); volume.ReasonOf(err) != c.want {
				t.Errorf("%s: got %+v, %v", name, v, err)
			}
		}
		if n := r.cloud.Count("create_block_snapshot"); n != 0 {
			t.Errorf("%d snapshots were ordered", n)
		}
		if err := r.CheckClone(t.Context(), source.ID); err != nil {
			t.Error(err)
		}
	})
}

// TestCloneKilledAtEveryCall: the process ends at each API call in turn, before or after the work, and another one goes
// on. There is one volume in the end, it is the copy, and no snapshot is left: at once, or after the next sweep.
func TestCloneKilledAtEveryCall(t *testing.T) {
	calls := 1
	for _, action := range []simulator.FaultAction{simulator.FaultHang, simulator.FaultHangAfter} {
		for n := 1; n <= calls; n++ {
			t.Run(fmt.Sprintf("%s %d", action, n), func(t *testing.T) {
				inBubble(t, nil, func(t *testing.T, r *rig) {
					source := r.create("pvc-source")
					time.Sleep(2 * time.Minute) // of the fake clock
					spec := fromSource("pvc-1", volume.Source{Volume: source.ID})
					before := len(r.cloud.Requests())
					r.cloud.Fault(simulator.Fault{Action: action, Nth: n, Times: 1})
					killed, kill := context.WithTimeout(t.Context(), 25*time.Second)
					defer kill()
					_, err := r.another().Create(killed, spec)
					if err == nil && n == 1 {
						t.Error("it did not hang")
					}
					calls = max(calls, len(r.cloud.Requests())-before)
					next := r.another()
					v, err := next.repeatCreate(5*time.Minute, spec)
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(3 * time.Minute) // of the fake clock
					if made := r.named("pvc-1"); !slices.Equal(made, []string{v.ID}) || v.Source != spec.Source {
						t.Errorf("answered was %+v, the platform has %s", v, made)
					}
					if left := r.snapshotsLeft(); len(left) > 1 {
						t.Errorf("left are %s", left)
					}
					time.Sleep(copyDone) // of the fake clock
					if err := next.Sweep(t.Context()); err != nil {
						t.Error(err)
					}
					if left := r.snapshotsLeft(); len(left) != 0 {
						t.Errorf("after the sweep left are %s", left)
					}
				})
			})
		}
	}
	if calls < 8 {
		t.Errorf("only %d calls were found", calls)
	}
}

// TestCloneOfADeletedClaim: the snapshot of a clone that nobody asks for any more stays for some hours, and not for ever.
func TestCloneOfADeletedClaim(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		foreign := r.snapshotOf(source.ID, "made by hand")
		looksLike := r.snapshotOf(source.ID, copyName(foreign.ID, "pvc-1")) // of another volume than it is of
		ctx, cut := context.WithTimeout(t.Context(), 3*time.Second)
		defer cut()
		if _, err := r.Create(ctx, fromSource("pvc-1", volume.Source{Volume: source.ID})); err == nil {
			t.Fatal("the clone was there too early for this test")
		}
		running, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = r.another().Run(running) }()
		time.Sleep(copyIdle - 10*time.Minute) // of the fake clock
		if left := r.snapshotsLeft(); len(left) != 3 {
			t.Errorf("while it may be asked for: %s", left)
		}
		time.Sleep(sweepPeriod + 20*time.Minute) // of the fake clock
		if left := r.snapshotsLeft(); !slices.Equal(left, []string{foreign.Name, looksLike.Name}) {
			t.Errorf("left are %s", left)
		}
	})
}

// TestSweepKeeps what is being worked on, what may be asked for, and what is not complete.
func TestSweepKeeps(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snap := r.snapshotOf(source.ID, copyName(source.ID, "pvc-1"))
		sweep := func(what string, want int) {
			t.Helper()
			if err := r.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			if left := r.snapshotsLeft(); len(left) != want {
				t.Errorf("%s: left are %s", what, left)
			}
		}
		time.Sleep(3 * time.Hour) // of the fake clock
		end := r.clones.begin("pvc-1")
		sweep("while it is worked on", 1)
		end()
		sweep("while it was asked for lately", 1)
		time.Sleep(time.Hour) // of the fake clock
		state := func(state string, ago time.Duration) error {
			return r.unneeded(vultr.Snapshot{
				ID: snap.ID, VolumeID: source.ID, Description: copyName(source.ID, "pvc-2"), State: state, Created: time.Now().Add(-ago),
			})(t.Context())
		}
		for _, c := range []struct {
			state  string
			ago    time.Duration
			needed bool
		}{
			{"PENDING", 20 * time.Hour, true},
			{"PENDING", 25 * time.Hour, false},
			{"COMPLETE", time.Hour, true},
			{"COMPLETE", 3 * time.Hour, false},
			{"ERROR", 3 * time.Hour, false},
		} {
			if err := state(c.state, c.ago); (err != nil) != c.needed {
				t.Errorf("%s since %v: %v", c.state, c.ago, err)
			}
		}
		time.Sleep(2 * time.Hour) // of the fake clock
		sweep("when nobody asks", 0)
	})
}

// TestSweepBesideTheClone: when a volume of the clone's name is there, its own snapshot is of no use any more, and another
// one only when nobody can be making the clone from it.
func TestSweepBesideTheClone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		own := r.snapshotOf(source.ID, copyName(source.ID, "pvc-1"))
		request := requestOf("pvc-1")
		request.SnapshotID = own.ID
		r.byHand(request)
		time.Sleep(10 * time.Minute) // of the fake clock
		for _, c := range []struct {
			id     string
			ago    time.Duration
			needed bool
		}{
			{own.ID, time.Minute, false},
			{"another", copyDone - time.Minute, true},
			{"another", copyDone + time.Minute, false},
		} {
			err := r.unneeded(vultr.Snapshot{
				ID: c.id, VolumeID: source.ID, Description: copyName(source.ID, "pvc-1"), State: "COMPLETE", Created: time.Now().Add(-c.ago),
			})(t.Context())
			if (err != nil) != c.needed {
				t.Errorf("%s, %s old: %v", c.id, c.ago, err)
			}
		}
	})
}

// TestSweepWhenReadsFail: what cannot be judged stays, and is said.
func TestSweepWhenReadsFail(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		r.snapshotOf(source.ID, copyName(source.ID, "pvc-1"))
		time.Sleep(5 * time.Hour) // of the fake clock
		r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: 403})
		if err := r.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "pvc-1") {
			t.Errorf("got %v", err)
		}
		if left := r.snapshotsLeft(); len(left) != 1 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestFailedCopyIsMadeAgain: a temporary snapshot that the platform could not complete is replaced.
func TestFailedCopyIsMadeAgain(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snap := r.snapshotOf(source.ID, copyName(source.ID, "pvc-1"))
		stamp := time.Now().Add(-time.Minute).UTC().Format(time.DateTime)
		body := fmt.Sprintf(`{"snapshots":[{"id":%q,"block_id":%q,"description":%q,"state":"ERROR","added_at":%q,"updated_at":%q,"size":10737418240}],
			"meta":{"total":1,"links":{"next":"","prev":""}}}`, snap.ID, source.ID, snap.Name, stamp, stamp)
		r.cloud.Fault(simulator.Fault{Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: 200, Body: body, Times: 1})
		spec := fromSource("pvc-1", volume.Source{Volume: source.ID})
		if v, err := r.Create(t.Context(), spec); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %+v, %v", v, err)
		}
		v, err := r.repeatCreate(time.Minute, spec)
		if err != nil || r.block(v.ID).SnapshotID == snap.ID {
			t.Errorf("got %+v, %v", r.block(v.ID), err)
		}
		if left := r.snapshotsLeft(); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}

// TestTwoControllersClone: two at once make one volume, and leave no snapshot.
func TestTwoControllersClone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		time.Sleep(time.Minute) // of the fake clock
		spec := fromSource("pvc-1", volume.Source{Volume: source.ID})
		next, ids := r.another(), make(chan string, 2)
		for _, p := range []*rig{r, next} {
			go func() {
				v, err := p.repeatCreate(5*time.Minute, spec)
				if err != nil {
					t.Error(err)
				}
				ids <- v.ID
			}()
		}
		if a, b := <-ids, <-ids; a != b {
			t.Errorf("answered were %s and %s", a, b)
		}
		time.Sleep(copyDone + 3*time.Minute) // of the fake clock
		if err := next.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		if made, left := r.named("pvc-1"), r.snapshotsLeft(); len(made) != 1 || len(left) != 0 {
			t.Errorf("made are %s, left are %s", made, left)
		}
	})
}
