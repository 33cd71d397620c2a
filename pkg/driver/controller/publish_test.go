package controller_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

func TestPublishTwiceIsOnce(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		first := r.publish(v, node)
		if again := r.publish(v, node); !maps.Equal(first, again) {
			t.Errorf("contexts differ: %v, %v", first, again)
		}
		made, err := r.api.Volume(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"mount_vol_name": made.MountID, "storage_type": "block"}; !maps.Equal(first, want) {
			t.Errorf("the context is %v, want %v", first, want)
		}
		for _, i := range r.cloud.Sim.View().Instances {
			if i.Reboots != 0 {
				t.Errorf("instance %s was rebooted", i.Label)
			}
		}
	})
}

func TestPublishRefusals(t *testing.T) {
	r := newRig(t)
	v := r.create("pvc-1").GetVolumeId()
	node, other := r.instance("node-1"), r.instance("node-2")
	elsewhere := r.cloud.AddInstance(simulator.NewServer{Label: "node-3", Region: "lax"})
	locked := r.cloud.AddInstance(simulator.NewServer{Label: "node-4", Region: "ewr", Locked: true})
	metal := r.cloud.AddBareMetal(simulator.NewServer{Label: "metal", Region: "ewr"})
	taken := r.create("pvc-2").GetVolumeId()
	r.publish(taken, other)
	for name, c := range map[string]struct {
		volume, node string
		code         codes.Code
		words        []string
	}{
		"other node":        {taken, node, codes.FailedPrecondition, []string{taken, other}},
		"other region":      {v, elsewhere, codes.InvalidArgument, []string{"ewr", "lax"}},
		"locked":            {v, locked, codes.Unavailable, []string{"locked"}},
		"bare metal":        {v, metal, codes.InvalidArgument, []string{"bare metal"}},
		"no such volume":    {uuid.NewString(), node, codes.NotFound, []string{"volume"}},
		"no such node":      {v, uuid.NewString(), codes.NotFound, []string{"instance"}},
		"malformed volume":  {"some-volume", node, codes.NotFound, []string{"some-volume"}},
		"malformed node":    {v, "some-node", codes.NotFound, []string{"some-node"}},
		"volume is missing": {"", node, codes.InvalidArgument, nil},
		"node is missing":   {v, "", codes.InvalidArgument, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.ControllerPublishVolume(t.Context(), publishRequest(c.volume, c.node))
			want(t, err, c.code, c.words...)
		})
	}
	if got := r.attachedTo(v); got != "" {
		t.Errorf("the volume is attached to %s", got)
	}
}

func TestAttachLimit(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		var all sync.WaitGroup
		errs := make([]error, 16)
		for i := range errs {
			v := r.create(fmt.Sprintf("pvc-%d", i)).GetVolumeId()
			all.Go(func() { _, errs[i] = r.ControllerPublishVolume(t.Context(), publishRequest(v, node)) })
		}
		all.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("volume %d of 16 that are attached at once: %v", i, err)
			}
		}
		_, err := r.ControllerPublishVolume(t.Context(), publishRequest(r.create("pvc-16").GetVolumeId(), node))
		want(t, err, codes.ResourceExhausted, "16 volumes")
	})
}

func TestPublishWithLostAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
	r.cloud.Fault(simulator.Fault{Operation: "attach_block", Action: simulator.FaultResetAfter, Times: 1})
	deadline := time.Now().Add(patience)
	for {
		_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, node))
		if err == nil {
			break
		}
		// Whatever is said meanwhile must make the caller try again.
		want(t, err, codes.Unavailable)
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if got := r.attachedTo(v); got != node {
		t.Errorf("the volume is attached to %q", got)
	}
}

func TestAnswersBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
	hold := r.cloud.Hold("attach_block", simulator.FaultHoldBefore)
	defer hold.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := r.ControllerPublishVolume(ctx, publishRequest(v, node))
	want(t, err, codes.DeadlineExceeded)
}

func TestUnpublish(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node, other := r.create("pvc-1").GetVolumeId(), r.instance("node-1"), r.instance("node-2")
		r.publish(v, node)
		if err := r.unpublish(v, other); err != nil {
			t.Errorf("from a node that does not have it: %v", err)
		}
		if got := r.attachedTo(v); got != node {
			t.Fatalf("it was taken from the other node: attached to %q", got)
		}
		for range 2 {
			if err := r.unpublish(v, node); err != nil {
				t.Fatal(err)
			}
			if got := r.attachedTo(v); got != "" {
				t.Fatalf("still attached to %s", got)
			}
		}
		if n := r.cloud.Count("detach_block"); n != 1 {
			t.Errorf("%d detaches were sent", n)
		}
		r.publish(v, other)
		if err := r.unpublish(v, ""); err != nil || r.attachedTo(v) != "" {
			t.Errorf("from whichever node has it: %v, attached to %q", err, r.attachedTo(v))
		}
		if err := r.unpublish(uuid.NewString(), node); err != nil {
			t.Errorf("a volume that does not exist: %v", err)
		}
		if err := r.unpublish("some-volume", node); err != nil {
			t.Errorf("what cannot be a volume: %v", err)
		}
		want(t, r.unpublish("", node), codes.InvalidArgument)
	})
}

func TestUnpublishHidesNoError(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(v, node)
		for _, f := range []simulator.Fault{
			{Method: http.MethodGet, Action: simulator.FaultStatus, Status: http.StatusInternalServerError},
			{Operation: "detach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Body: `{"error":"Unable to detach block storage","status":400}`},
		} {
			fresh := newRigInBubble(t, r.cloud) // it knows nothing, so it has to look
			id := r.cloud.Fault(f)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, err := fresh.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v, NodeId: node})
			cancel()
			if err == nil || r.attachedTo(v) != node {
				t.Errorf("%s%s failed and the answer is success", f.Method, f.Operation)
			}
			r.cloud.Sim.RemoveFault(id)
		}
	})
}

func TestRefusedKeyIsRetried(t *testing.T) {
	t.Parallel()
	r := newRigOn(t, simtest.Start(t, simtest.Options{}), "SOMEOTHERKEY0123456789ABCDEFGHIJKLMN")
	_, err := r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: uuid.NewString()})
	want(t, err, codes.Unavailable, "401")
}

// TestPublishAcrossRegions: where volumes and instances are is asked once.
func TestPublishAcrossRegions(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, near := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		far := r.cloud.AddInstance(simulator.NewServer{Label: "node-2", Region: "lax"})
		for round, most := range []int{2, 0} { // the attach and a look at the instance; then nothing
			before := r.calls()
			_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, far))
			want(t, err, codes.InvalidArgument, "ewr", "lax")
			if n := r.calls() - before; n > most {
				t.Errorf("round %d: %d calls, %d are needed", round, n, most)
			}
		}
		r.publish(v, near)
	})
}

// TestCapitals: a UUID in capitals is the same volume and the same node.
func TestCapitals(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := r.ControllerPublishVolume(ctx, publishRequest(strings.ToUpper(v), strings.ToUpper(node))); err != nil {
			t.Fatal(err)
		}
		if got := r.attachedTo(v); got != node {
			t.Errorf("it is attached to %q", got)
		}
		_, err := r.ControllerExpandVolume(ctx, expandRequest(strings.ToUpper(v), 20))
		want(t, err, codes.OK)
		if err := r.unpublish(strings.ToUpper(v), strings.ToUpper(node)); err != nil || r.attachedTo(v) != "" {
			t.Errorf("unpublish: %v, attached to %q", err, r.attachedTo(v))
		}
		_, err = r.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: strings.ToUpper(v)})
		if left := r.cloud.Sim.View().Blocks; err != nil || len(left) != 0 {
			t.Errorf("delete: %v, left is %+v", err, left)
		}
	})
}

// TestAttachedByOthers: a volume that somebody else has attached, to an instance that is no node of ours.
func TestAttachedByOthers(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		foreign := r.cloud.AddInstance(simulator.NewServer{Label: "another-cluster", Region: "ewr"})
		if err := r.api.AttachVolume(t.Context(), v, foreign); err != nil {
			t.Fatal(err)
		}
		// Both while the attach is under way and when it is done.
		for range 2 {
			_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, node))
			want(t, err, codes.FailedPrecondition, v, foreign, node)
			if err := r.unpublish(v, node); err != nil {
				t.Errorf("it is not at our node, and the answer is %v", err)
			}
			_, err = r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: v})
			want(t, err, codes.FailedPrecondition, foreign)
			_, err = r.ControllerExpandVolume(t.Context(), expandRequest(v, 10))
			want(t, err, codes.OK)
			if got := r.attachedTo(v); got != foreign {
				t.Fatalf("it is attached to %q", got)
			}
		}
		if n := r.cloud.Count("detach_block"); n != 0 {
			t.Errorf("%d detaches were sent", n)
		}
	})
}

// TestRepeatedPublishCostsNothing: the attacher asks twice in a row.
func TestRepeatedPublishCostsNothing(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node, other := r.create("pvc-1").GetVolumeId(), r.instance("node-1"), r.instance("node-2")
		first := r.publish(v, node)
		before := r.calls()
		if again := r.publish(v, node); !maps.Equal(first, again) || r.calls() != before {
			t.Errorf("%d calls, contexts %v and %v", r.calls()-before, first, again)
		}
		_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, other))
		want(t, err, codes.FailedPrecondition, node)
		if err := r.unpublish(v, node); err != nil {
			t.Fatal(err)
		}
		r.publish(v, node)
		if got := r.attachedTo(v); got != node {
			t.Errorf("after a detach it was not attached again: %q", got)
		}
	})
}

// TestUnpublishWaitsForAnAttachUnderWay: a publish that ran out of time has ordered an attach, which takes effect
// after the volume seemed free.
func TestUnpublishWaitsForAnAttachUnderWay(t *testing.T) {
	t.Parallel()
	delays := simulator.DefaultDelays()
	delays.Attach = 100 * time.Second // two at the scale of the tests
	r := newRigOn(t, simtest.Start(t, simtest.Options{Config: simulator.Config{Delays: delays}}), simtest.Key)
	r.restart(patience)
	v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := r.ControllerPublishVolume(ctx, publishRequest(v, node))
	want(t, err, codes.DeadlineExceeded)
	if got := r.attachedTo(v); got != "" {
		t.Fatalf("the attach is visible too early for this test: %q", got)
	}
	if err := r.unpublish(v, node); err != nil {
		t.Fatal(err)
	}
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.AttachedTo != "" || b.Pending != "" {
			t.Errorf("left is %+v", b)
		}
	}
	if n := r.cloud.Count("detach_block"); n != 1 {
		t.Errorf("%d detaches were sent", n)
	}
}
