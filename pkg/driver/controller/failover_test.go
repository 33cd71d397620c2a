package controller_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// awaitCall waits until more requests of an operation have ended than before.
func (r *rig) awaitCall(operation string, before int) {
	r.t.Helper()
	r.await("a "+operation, func() bool { return r.cloud.Count(operation) > before })
}

// TestUnpublishAfterAKilledAttach: one controller is killed with an attach on its way, which nothing shows yet, and
// another one, or the same one restarted, is asked for the detach. Were the volume believed to be free, it would
// be attached for ever.
func TestUnpublishAfterAKilledAttach(t *testing.T) {
	t.Parallel()
	for name, action := range map[string]simulator.FaultAction{
		"before the work": simulator.FaultHoldBefore, "after the work": simulator.FaultHoldAfter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			delays := simulator.DefaultDelays()
			delays.Attach = 50 * time.Second // one at the scale of the tests
			cloud := simtest.Start(t, simtest.Options{Config: simulator.Config{Delays: delays}})
			first, second := newRigOn(t, cloud, cloud.Key), newRigOn(t, cloud, cloud.Key)
			second.restart(patience)
			v, node := first.create("pvc-1").GetVolumeId(), first.instance("node-1")
			hold := cloud.Hold("attach_block", action)
			ctx, kill := context.WithCancel(t.Context())
			died := make(chan error, 1)
			go func() {
				_, err := first.ControllerPublishVolume(ctx, publishRequest(v, node))
				died <- err
			}()
			hold.Wait()
			kill()
			if err := <-died; err == nil {
				t.Fatal("the cut-off publish succeeded")
			}
			looks := cloud.Count("get_instance")
			detached := make(chan error, 1)
			go func() {
				_, err := second.ControllerUnpublishVolume(t.Context(), &csi.ControllerUnpublishVolumeRequest{VolumeId: v, NodeId: node})
				detached <- err
			}()
			second.awaitCall("get_instance", looks) // it has seen that nothing is attached
			hold.Release()
			if err := <-detached; err != nil {
				t.Fatal(err)
			}
			for _, b := range cloud.Sim.View().Blocks {
				if b.AttachedTo != "" || b.Pending != "" {
					t.Errorf("left is %+v", b)
				}
			}
			if n := cloud.Count("detach_block"); n != 1 {
				t.Errorf("%d detaches were sent", n)
			}
		})
	}
}

// TestUnpublishBelieves: whoever has known the volume for long enough, and whoever is asked about an instance that is gone,
// believes at once that a volume is free.
func TestUnpublishBelieves(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		const window = 30 * time.Second
		r.restart(window)
		unpublish := func(ctx context.Context, node string) error {
			_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v, NodeId: node})
			return err
		}
		began := time.Now()
		if err := unpublish(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < window {
			t.Errorf("a fresh caller was believed after %s", took)
		}
		time.Sleep(10 * time.Second) // of the fake clock: nobody else can have led meanwhile
		before := r.calls()
		if err := unpublish(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		if n := r.calls() - before; n > 1 {
			t.Errorf("it took %d calls, one look is enough", n)
		}
		time.Sleep(30 * time.Second) // of the fake clock: another one may have led
		began = time.Now()
		if err := unpublish(t.Context(), node); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < window {
			t.Errorf("long after it had looked it was believed after %s", took)
		}

		r.restart(24 * time.Hour)
		began = time.Now()
		if err := unpublish(t.Context(), uuid.NewString()); err != nil || time.Since(began) > time.Minute {
			t.Errorf("from an instance that is gone: %v, after %s", err, time.Since(began))
		}
		// An instance of which nobody can tell is not gone.
		r.cloud.Fault(simulator.Fault{Operation: "get_instance", Action: simulator.FaultStatus, Status: http.StatusInternalServerError})
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := unpublish(short, uuid.NewString()); err == nil {
			t.Error("an instance of which nobody can tell counts as gone")
		}
	})
}

// TestWaitForALateAttachHoldsUpNobody: while one volume is waited for, others of the same instance come and go.
func TestWaitForALateAttachHoldsUpNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	free, other, node := r.create("pvc-1").GetVolumeId(), r.create("pvc-2").GetVolumeId(), r.instance("node-1")
	r.restart(24 * time.Hour)
	ctx, giveUp := context.WithCancel(t.Context())
	looks := r.cloud.Count("get_instance")
	waiting := make(chan error, 1)
	go func() {
		_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: free, NodeId: node})
		waiting <- err
	}()
	r.awaitCall("get_instance", looks) // it has seen that nothing is attached
	short, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := r.ControllerPublishVolume(short, publishRequest(other, node)); err != nil {
		t.Errorf("publish of another volume: %v", err)
	}
	if _, err := r.ControllerUnpublishVolume(short, &csi.ControllerUnpublishVolumeRequest{VolumeId: other, NodeId: node}); err != nil {
		t.Errorf("unpublish of another volume: %v", err)
	}
	giveUp()
	want(t, <-waiting, codes.Canceled)
}
