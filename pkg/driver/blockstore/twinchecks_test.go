package blockstore

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestRemovalOutlivesTheCaller: the delete of a twin has to be repeated, and the caller gives up meanwhile.
func TestRemovalOutlivesTheCaller(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		elder := r.byHand(requestOf("pvc-1"))
		time.Sleep(2 * time.Second)
		r.byHand(requestOf("pvc-1"))
		time.Sleep(10 * time.Second) // of the fake clock: both show
		r.cloud.Fault(simulator.Fault{Operation: "delete_block", Action: simulator.FaultStatus, Status: http.StatusServiceUnavailable, RetryAfter: 5, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _ = r.Create(ctx, specOf("pvc-1")) // its answer does not matter
		if left := r.named("pvc-1"); !slices.Equal(left, []string{elder}) {
			t.Errorf("left are %s, the elder is %s", left, elder)
		}
	})
}

// TestTwinIsLookedAtAgain: a twin is attached by somebody between the list that showed it and its delete, and
// single reads may be too old to show that.
func TestTwinIsLookedAtAgain(t *testing.T) {
	t.Run("fresh reads", func(t *testing.T) { inBubble(t, nil, lookAtTheTwinAgain) })
	t.Run("old reads", func(t *testing.T) {
		inBubble(t, simulator.ReadLags{"blocks.get": 20 * time.Second}, lookAtTheTwinAgain)
	})
}

func lookAtTheTwinAgain(t *testing.T, r *rig) {
	r.byHand(requestOf("pvc-1"))
	time.Sleep(2 * time.Second)
	twin, instance := r.byHand(requestOf("pvc-1")), r.instance("node-1")
	time.Sleep(30 * time.Second) // of the fake clock: both show
	hold := r.cloud.Hold("get_block", simulator.FaultHoldBefore)
	done := make(chan error, 1)
	go func() {
		_, err := r.Create(t.Context(), specOf("pvc-1"))
		done <- err
	}()
	hold.Wait()
	if err := r.another().api.AttachVolume(t.Context(), twin, instance); err != nil {
		t.Fatal(err)
	}
	r.await("the attach", func() bool { return r.attachedTo(twin) == instance })
	time.Sleep(2 * time.Second) // of the fake clock: lists show it
	hold.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := r.cloud.Count("delete_block"); n != 0 || len(r.named("pvc-1")) != 2 {
		t.Errorf("%d deletes were sent, left are %s", n, r.named("pvc-1"))
	}
}

// TestChecksEnd: a volume that no list shows any more is looked at a few times, not for ever.
func TestChecksEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		if err := r.another().Delete(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		before, began := r.cloud.Count("list_blocks"), time.Now()
		time.Sleep(time.Hour)
		for _, request := range r.cloud.Requests() {
			if late := request.Began.Sub(began); late > twinAge {
				t.Errorf("%s after the create there was a %s: what was found then could not be deleted any more", late, request.Operation)
			}
		}
		if n := r.cloud.Count("list_blocks") - before; n == 0 || n > checkAgain {
			t.Errorf("%d lists were read in an hour, %d are enough", n, checkAgain)
		}
	})
}

// TestCheckByAnOldList: the list that is read for a check is older than the volume itself. It proves nothing about twins.
func TestCheckByAnOldList(t *testing.T) {
	inBubble(t, keepsThePast, func(t *testing.T, r *rig) {
		v := r.create("pvc-1")
		if err := r.cloud.Sim.SetReadLags(simulator.ReadLags{"blocks.list": time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.byHand(requestOf("pvc-1"))
		time.Sleep(5 * time.Minute)
		if left := r.named("pvc-1"); !slices.Equal(left, []string{v.ID}) {
			t.Errorf("left are %s, the answer was %s", left, v.ID)
		}
	})
}

// TestDeletedTwinIsGone: lists show a deleted twin for a while. It is not deleted again.
func TestDeletedTwinIsGone(t *testing.T) {
	inBubble(t, simulator.ReadLags{"blocks.list": 20 * time.Second}, func(t *testing.T, r *rig) {
		r.byHand(requestOf("pvc-1"))
		time.Sleep(2 * time.Second)
		r.byHand(requestOf("pvc-1"))
		time.Sleep(time.Minute) // of the fake clock: both show
		for range 3 {
			r.names.forget("pvc-1")
			r.create("pvc-1")
			time.Sleep(time.Second)
		}
		if n := testutil.ToFloat64(r.twins.deleted); n != 1 || r.cloud.Count("delete_block") != 1 {
			t.Errorf("%g deletes are counted, %d were sent", n, r.cloud.Count("delete_block"))
		}
	})
}

// TestAttachedHere: without a serial the guest can't find the disk yet.
func TestAttachedHere(t *testing.T) {
	d := disk{Volume: volume.Volume{AttachedTo: []string{"i"}}, serial: "s"}
	if !attachedHere(d, "i") || attachedHere(d, "j") {
		t.Error("where it is attached is mistaken")
	}
	if d.serial = ""; attachedHere(d, "i") {
		t.Error("a disk without a serial counts as attached")
	}
}
