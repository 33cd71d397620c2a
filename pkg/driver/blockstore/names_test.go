package blockstore

import (
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestOldListsProveNoAbsence: a volume that another controller made a minute ago is found, not made again and given up.
func TestOldListsProveNoAbsence(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		r.create("warm-up")
		time.Sleep(time.Minute) // of the fake clock: nothing is left to be looked at
		v := r.another().create("pvc-1")
		time.Sleep(31 * time.Second)
		if found := r.create("pvc-1"); found.ID != v.ID {
			t.Errorf("got %s, made was %s", found.ID, v.ID)
		}
		if n := r.cloud.Count("create_block"); n != 2 {
			t.Errorf("%d creates were sent", n)
		}
	})
}

// TestDeletedVolumesHaveNoName: lists show for a while what was deleted. Who asks for the name again gets a new volume.
func TestDeletedVolumesHaveNoName(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks.list": 20 * time.Second}, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		time.Sleep(time.Minute)
		if err := r.Delete(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if again := r.create("pvc-1"); again.ID == v.ID {
			t.Error("the deleted volume was answered again")
		}
	})
}

// TestTwinsFromBefore: a predecessor's create was delivered twice, and it was killed. Its successor leaves one volume.
func TestTwinsFromBefore(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		elder := r.byHand(requestOf("pvc-1"))
		time.Sleep(2 * time.Second)
		r.byHand(requestOf("pvc-1"))
		time.Sleep(10 * time.Second)
		for range 2 {
			if v := r.create("pvc-1"); v.ID != elder {
				t.Errorf("got %s, the elder is %s", v.ID, elder)
			}
		}
		if left := r.named("pvc-1"); !slices.Equal(left, []string{elder}) {
			t.Errorf("left are %s, the elder is %s", left, elder)
		}
	})
}

// TestAnsweredVolumeIsKept: a volume was found and answered before an elder one of its name shows. It stays the volume of
// the name: somebody was told of it.
func TestAnsweredVolumeIsKept(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		stale := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStale})
		r.byHand(requestOf("pvc-1")) // which no list shows
		time.Sleep(2 * time.Second)
		r.cloud.Sim.RemoveFault(stale)
		younger := r.byHand(requestOf("pvc-1"))
		time.Sleep(10 * time.Second)
		m := made{id: younger, at: time.Now(), answered: true}
		r.names.put("pvc-1", m)
		if v := r.create("pvc-1"); v.ID != younger {
			t.Errorf("got %s, answered was %s", v.ID, younger)
		}
		r.names.forget("pvc-1")
		d, err := r.look(t.Context(), younger)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := r.join(t.Context(), d, specOf("pvc-1")); err != nil || v.ID != younger {
			t.Errorf("got %+v, %v", v, err)
		}
		if v := r.create("pvc-1"); v.ID != younger || len(r.named("pvc-1")) != 2 {
			t.Errorf("got %s of %s, answered was %s", v.ID, r.named("pvc-1"), younger)
		}
	})
}

// TestTwinsOfKilledPredecessors: each predecessor created the name again, because nothing showed yet, and was killed. The
// successor finds the first one, and the others when they show.
func TestTwinsOfKilledPredecessors(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks": 9 * time.Second}, func(t *testing.T, r *rig) {
		first := r.byHand(requestOf("pvc-1"))
		time.Sleep(7 * time.Second)
		r.byHand(requestOf("pvc-1"))
		time.Sleep(6 * time.Second) // of the fake clock: the first one shows, the second does not
		if v := r.create("pvc-1"); v.ID != first {
			t.Errorf("got %s, the first is %s", v.ID, first)
		}
		time.Sleep(2 * time.Minute)
		if left := r.named("pvc-1"); !slices.Equal(left, []string{first}) {
			t.Errorf("left are %s, the first is %s", left, first)
		}
	})
}

// TestAnsweredVolumeWasDeletedByAnother: the name is free again, as soon as reads can be believed.
func TestAnsweredVolumeWasDeletedByAnother(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		if err := r.another().Delete(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		r.cloud.AwaitReads()
		again, err := r.repeatCreate(3*time.Minute, specOf("pvc-1"))
		if err != nil || again.ID == v.ID || !slices.Equal(r.named("pvc-1"), []string{again.ID}) {
			t.Errorf("got %+v, %v; left are %s", again, err, r.named("pvc-1"))
		}
	})
}
