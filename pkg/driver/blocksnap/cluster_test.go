package blocksnap

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The name that the snapshotter gives, as the description of a cluster without an ID and of the rig's.
const (
	bareName = "snapshot-0b6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	ownName  = "prod/" + bareName
)

// byHand orders a snapshot that no list shows yet.
func (r *rig) byHand(volumeID, description string) vultr.Snapshot {
	r.t.Helper()
	snap, err := r.api.CreateSnapshot(r.t.Context(), volumeID, description)
	if err != nil {
		r.t.Fatal(err)
	}
	return snap
}

// TestTheClusterGetsAnID: the controller is replaced by one with a cluster ID while lists lack what the one before has just
// made. That one may have been answered, so it is the snapshot of the name, and stays the only one.
func TestTheClusterGetsAnID(t *testing.T) {
	for _, apart := range []time.Duration{0, 5 * time.Second, 19 * time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			inBubble(t, simulator.ReadLags{"block_snapshots": 20 * time.Second}, func(t *testing.T, r *rig) {
				v := r.volume()
				before := r.byHand(v, bareName)
				time.Sleep(apart) // of the fake clock
				if snap := r.create(ownName, v); snap.ID != before.ID {
					t.Errorf("answered is %s, before the cluster had an ID it was %s", snap.ID, before.ID)
				}
				time.Sleep(3 * time.Minute) // of the fake clock
				if again := r.create(ownName, v); again.ID != before.ID {
					t.Errorf("answered is %s now", again.ID)
				}
				r.only(bareName, before.ID)
				if left := r.inTruth(ownName); len(left) != 0 {
					t.Errorf("left are %s", left)
				}
			})
		})
	}
}

// TestWithoutAnIDButAnotherVolumes: a snapshot of another volume does not get the name of this one's, though its description is
// the name without the ID.
func TestWithoutAnIDButAnotherVolumes(t *testing.T) {
	inBubble(t, simulator.ReadLags{"block_snapshots": 20 * time.Second}, func(t *testing.T, r *rig) {
		v, other := r.volume(), r.volume()
		theirs := r.byHand(other, bareName)
		snap := r.create(ownName, v)
		if snap.VolumeID != v || snap.ID == theirs.ID {
			t.Errorf("answered is %+v", snap)
		}
		time.Sleep(3 * time.Minute) // of the fake clock
		r.only(bareName, theirs.ID)
		r.only(ownName, snap.ID)
	})
}

// TestDeletesOfBothDescriptions: what has the cluster's ID is certainly its own, and goes with the snapshot without one that
// Kubernetes was told of. The other way round it may be another cluster's, and stays.
func TestDeletesOfBothDescriptions(t *testing.T) {
	for name, deleted := range map[string]string{"without the ID": bareName, "with the ID": ownName} {
		for _, soon := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, soon %t", name, soon), func(t *testing.T) {
				inBubble(t, simulator.ReadLags{"block_snapshots": 20 * time.Second}, func(t *testing.T, r *rig) {
					v := r.volume()
					made := map[string]string{bareName: r.byHand(v, bareName).ID}
					time.Sleep(5 * time.Second) // of the fake clock
					made[ownName] = r.byHand(v, ownName).ID
					wait := 5 * time.Minute
					if soon { // as soon as it shows, which the other one does not always
						wait = map[string]time.Duration{bareName: 16 * time.Second, ownName: 21 * time.Second}[deleted]
					}
					time.Sleep(wait) // of the fake clock
					r.another().removeAsked(made[deleted])
					time.Sleep(10 * time.Minute) // of the fake clock
					if left := r.inTruth(ownName); len(left) != 0 {
						t.Errorf("with the ID %s are left", left)
					}
					var want []string
					if deleted == ownName {
						want = []string{made[bareName]}
					}
					if left := r.inTruth(bareName); !slices.Equal(left, want) {
						t.Errorf("without the ID %s are left, want %s", left, want)
					}
				})
			})
		}
	}
}
