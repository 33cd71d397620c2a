package blockstore

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const gib = volume.GiB

// snapshotOf makes a snapshot of a volume, that is complete and that reads show.
func (r *rig) snapshotOf(id, name string) volume.Snapshot {
	r.t.Helper()
	snap, err := r.CreateSnapshot(r.t.Context(), name, id)
	if err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Minute) // of the fake clock
	return snap
}

func fromSource(name string, source volume.Source) volume.Spec {
	spec := specOf(name)
	spec.Source = source
	return spec
}

// block is a volume as it is in truth.
func (r *rig) block(id string) simulator.BlockView {
	r.t.Helper()
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.ID == id {
			return b
		}
	}
	r.t.Fatalf("there is no volume %s", id)
	return simulator.BlockView{}
}

// TestRestore: a volume from a snapshot is as large as that, or larger, and asking again finds it, also after the snapshot
// is gone.
func TestRestore(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		spec := specOf("pvc-source")
		spec.SizeGiB = 20
		source, err := r.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		snap := r.snapshotOf(source.ID, "snapshot-1")
		if snap.SizeGiB != 20 || snap.Volume != source.ID {
			t.Errorf("the snapshot is %+v", snap)
		}
		same, err := r.Create(t.Context(), fromSource("pvc-same", volume.Source{Snapshot: snap.ID}))
		if err != nil || same.SizeGiB != 20 || same.Source.Snapshot != snap.ID || r.block(same.ID).SnapshotID != snap.ID {
			t.Fatalf("got %+v, %v", same, err)
		}
		larger := fromSource("pvc-larger", volume.Source{Snapshot: snap.ID})
		larger.Capacity, larger.SizeGiB = volume.Capacity{Required: 35 * gib}, 35
		if v, err := r.Create(t.Context(), larger); err != nil || v.SizeGiB != 35 || v.Source.Snapshot != snap.ID {
			t.Fatalf("got %+v, %v", v, err)
		}
		if err := r.DeleteSnapshot(t.Context(), snap.ID); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*rig{r, r.another()} {
			if again, err := p.Create(t.Context(), fromSource("pvc-same", volume.Source{Snapshot: snap.ID})); err != nil || again.ID != same.ID {
				t.Errorf("asked again: got %+v, %v", again, err)
			}
			// The same name made empty, from another snapshot, or as a copy is another wish.
			for _, other := range []volume.Source{{}, {Snapshot: source.ID}} {
				if v, err := p.Create(t.Context(), fromSource("pvc-same", other)); volume.ReasonOf(err) != volume.Exists {
					t.Errorf("from %q: got %+v, %v", other, v, err)
				}
			}
			if v, err := p.Create(t.Context(), fromSource("pvc-source", volume.Source{Snapshot: snap.ID})); volume.ReasonOf(err) != volume.Exists {
				t.Errorf("an empty volume for a restored one: got %+v, %v", v, err)
			}
		}
	})
}

// TestManyRestores: those who restore at once share the look at their snapshots. It is a new one: a snapshot that another
// process has deleted is found missing.
func TestManyRestores(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snaps := []volume.Snapshot{r.snapshotOf(source.ID, "snapshot-1"), r.snapshotOf(source.ID, "snapshot-2")}
		before := r.cloud.Count("get_block_snapshot") + r.cloud.Count("list_block_snapshots")
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				from := snaps[i%2].ID
				if v, err := r.Create(t.Context(), fromSource(fmt.Sprintf("pvc-%d", i), volume.Source{Snapshot: from})); err != nil || v.Source.Snapshot != from {
					t.Errorf("got %+v, %v", v, err)
				}
			})
		}
		all.Wait()
		if n := r.cloud.Count("get_block_snapshot") + r.cloud.Count("list_block_snapshots") - before; n != 1 {
			t.Errorf("%d looks", n)
		}
		if err := r.another().DeleteSnapshot(t.Context(), snaps[0].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // of the fake clock
		orders := r.cloud.Count("create_block")
		if v, err := r.Create(t.Context(), fromSource("pvc-late", volume.Source{Snapshot: snaps[0].ID})); volume.ReasonOf(err) != volume.NotFound {
			t.Errorf("from a deleted one: got %+v, %v", v, err)
		}
		if r.cloud.Count("create_block") != orders {
			t.Error("it was ordered")
		}
	})
}

// TestRestoreIsRefused says why, and makes nothing.
func TestRestoreIsRefused(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		spec := specOf("pvc-source")
		spec.SizeGiB = 20
		source, err := r.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		snap := r.snapshotOf(source.ID, "snapshot-1")
		young, err := r.CreateSnapshot(t.Context(), "snapshot-2", source.ID)
		if err != nil {
			t.Fatal(err)
		}
		small := fromSource("pvc-1", volume.Source{Snapshot: snap.ID})
		small.Capacity.Limit = 15 * gib
		elsewhere := fromSource("pvc-1", volume.Source{Snapshot: snap.ID})
		elsewhere.Regions = []string{"lax", "ams"}
		for _, c := range []struct {
			name string
			spec volume.Spec
			want volume.Reason
		}{
			// First: to prove that something is missing takes time, and a snapshot is ready some seconds later.
			{"not ready", fromSource("pvc-1", volume.Source{Snapshot: young.ID}), volume.Busy},
			{"too small", small, volume.OutOfRange},
			{"missing", fromSource("pvc-1", volume.Source{Snapshot: source.ID}), volume.NotFound},
			{"elsewhere", elsewhere, volume.Exhausted},
			{"of no volume", fromSource("pvc-1", volume.Source{Volume: snap.ID}), volume.NotFound},
		} {
			if v, err := r.Create(t.Context(), c.spec); volume.ReasonOf(err) != c.want {
				t.Errorf("%s: got %+v, %v", c.name, v, err)
			}
		}
		if made := r.named("pvc-1"); len(made) != 0 {
			t.Errorf("made was %s", made)
		}
		_, err = r.Plan(volume.Request{Name: "pvc-1", Type: volume.HDD, Regions: []string{"ewr"}, Source: volume.Source{Snapshot: snap.ID}})
		if volume.ReasonOf(err) != volume.Invalid {
			t.Errorf("a kind that cannot be restored: %v", err)
		}
		if got, err := r.Plan(volume.Request{Name: "pvc-1", Type: volume.NVMe, Regions: []string{"ewr"}, Source: volume.Source{Snapshot: snap.ID}}); err != nil || got.Source.Snapshot != snap.ID {
			t.Errorf("got %+v, %v", got, err)
		}
		// As soon as it is complete it works.
		if v, err := r.repeatCreate(time.Minute, fromSource("pvc-1", volume.Source{Snapshot: young.ID})); err != nil || v.Source.Snapshot != young.ID {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// TestRestoreWithoutItsVolume: a snapshot outlives its volume, and the platform alone judges the region then.
func TestRestoreWithoutItsVolume(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snap := r.snapshotOf(source.ID, "snapshot-1")
		if err := r.Delete(t.Context(), source.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the fake clock
		if v, err := r.another().Create(t.Context(), fromSource("pvc-1", volume.Source{Snapshot: snap.ID})); err != nil || v.Source.Snapshot != snap.ID {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

// TestRestoreRefusedByThePlatform: it says that the snapshot is not complete after all, which is no reason to give up.
func TestRestoreRefusedByThePlatform(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snap := r.snapshotOf(source.ID, "snapshot-1")
		r.cloud.Fault(simulator.Fault{
			Operation: "create_block", Action: simulator.FaultStatus, Status: 400, Times: 1,
			Body: `{"error":"Snapshot cannot be used at this time","status":400}`,
		})
		spec := fromSource("pvc-1", volume.Source{Snapshot: snap.ID})
		if v, err := r.Create(t.Context(), spec); volume.ReasonOf(err) != volume.Busy {
			t.Errorf("got %+v, %v", v, err)
		}
		if _, err := r.Create(t.Context(), spec); err != nil {
			t.Error(err)
		}
	})
}

// TestSnapshotInUse: a snapshot is not deleted while a volume is being made from it, and is from then on.
func TestSnapshotInUse(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snap := r.snapshotOf(source.ID, "snapshot-1")
		request := requestOf("pvc-1")
		request.SnapshotID = snap.ID
		made := r.byHand(request)
		time.Sleep(1500 * time.Millisecond) // of the fake clock: reads show it, and it is not active
		if b := r.block(made); b.Active {
			t.Fatal("it is active too early for this test")
		}
		if err := r.DeleteSnapshot(t.Context(), snap.ID); volume.ReasonOf(err) != volume.InUse {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute) // of the fake clock
		if err := r.DeleteSnapshot(t.Context(), snap.ID); err != nil {
			t.Error(err)
		}
		if left := r.cloud.Sim.View().Snapshots; len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

// TestRestoreWithLostAnswers: a restore has one volume in the end, whatever becomes of the answers.
func TestRestoreWithLostAnswers(t *testing.T) {
	for _, action := range []simulator.FaultAction{simulator.FaultResetAfter, simulator.FaultResetBefore, simulator.FaultDuplicate} {
		t.Run(string(action), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, r *rig) {
				source := r.create("pvc-source")
				snap := r.snapshotOf(source.ID, "snapshot-1")
				r.cloud.Fault(simulator.Fault{Operation: "create_block", Action: action, Times: 1})
				v, err := r.repeatCreate(5*time.Minute, fromSource("pvc-1", volume.Source{Snapshot: snap.ID}))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Minute) // of the fake clock
				if left := r.named("pvc-1"); !slices.Equal(left, []string{v.ID}) {
					t.Errorf("%s was answered, left are %s", v.ID, left)
				}
			})
		})
	}
}

// TestFailedSnapshotIsToldFirst: Kubernetes deletes only what it was told of, so a snapshot of a predecessor that failed is
// answered as not ready before it is said to have failed.
func TestFailedSnapshotIsToldFirst(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		time.Sleep(time.Minute) // of the fake clock
		made, err := r.api.CreateSnapshot(t.Context(), source.ID, "snapshot-1")
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC().Format(time.DateTime)
		r.cloud.Fault(simulator.Fault{
			Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: http.StatusOK,
			Body: `{"snapshots":[{"id":"` + made.ID + `","block_id":"` + source.ID + `","description":"snapshot-1","state":"ERROR",
				"added_at":"` + now + `","updated_at":"` + now + `","size":10737418240}],"meta":{"total":1,"links":{"next":"","prev":""}}}`,
		})
		if snap, err := r.CreateSnapshot(t.Context(), "snapshot-1", source.ID); err != nil || snap.Ready || snap.ID != made.ID {
			t.Errorf("got %+v, %v", snap, err)
		}
		time.Sleep(5 * time.Second) // of the fake clock
		if snap, err := r.CreateSnapshot(t.Context(), "snapshot-1", source.ID); volume.ReasonOf(err) != volume.InUse {
			t.Errorf("asked again: got %+v, %v", snap, err)
		}
	})
}

// TestRestoreOfAFailedSnapshot: what will never be ready is nothing to wait for. The provisioner goes on for ever with what may
// succeed by itself, also when the claim is gone.
func TestRestoreOfAFailedSnapshot(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		source := r.create("pvc-source")
		snap := r.snapshotOf(source.ID, "snapshot-1")
		time.Sleep(5 * time.Second) // of the fake clock: no list is so new that it would do
		now := time.Now().UTC().Format(time.DateTime)
		r.cloud.Fault(simulator.Fault{
			Operation: "list_block_snapshots", Action: simulator.FaultStatus, Status: http.StatusOK,
			Body: `{"snapshots":[{"id":"` + snap.ID + `","block_id":"` + source.ID + `","description":"snapshot-1","state":"ERROR",
				"added_at":"` + now + `","updated_at":"` + now + `","size":10737418240}],"meta":{"total":1,"links":{"next":"","prev":""}}}`,
		})
		if v, err := r.Create(t.Context(), fromSource("pvc-1", volume.Source{Snapshot: snap.ID})); volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), "ERROR") {
			t.Errorf("got %+v, %v", v, err)
		}
		if made := r.named("pvc-1"); len(made) != 0 {
			t.Errorf("made was %s", made)
		}
	})
}

// TestTwinOfAPredecessor: a process that was just started knows by its first sweep what was made beside a snapshot, and deletes
// it with whichever of them Kubernetes knows. What people named alike stays.
func TestTwinOfAPredecessor(t *testing.T) {
	const name = "snapshot-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	for i := range 3 {
		inBubble(t, nil, func(t *testing.T, r *rig) {
			source := r.create("pvc-source")
			time.Sleep(time.Minute) // of the fake clock
			made := map[string][]string{}
			for _, name := range []string{name, name, name, "backup", "backup"} { // of one second
				snap, err := r.api.CreateSnapshot(t.Context(), source.ID, name)
				if err != nil {
					t.Fatal(err)
				}
				made[name] = append(made[name], snap.ID)
			}
			time.Sleep(time.Minute) // of the fake clock
			p := r.another()
			if err := p.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := r.snapshotsLeft(); len(left) != 5 {
				t.Errorf("the sweep left %s", left)
			}
			for _, id := range []string{made[name][i], made["backup"][i%2]} {
				if err := p.DeleteSnapshot(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			left := r.snapshotsLeft()
			if len(left) != 1 || r.cloud.Sim.View().Snapshots[0].ID != made["backup"][1-i%2] {
				t.Errorf("left are %s of %v", left, made)
			}
		})
	}
}
