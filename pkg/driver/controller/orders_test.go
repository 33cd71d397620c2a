package controller_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testcloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// keepingHistory has no lags of its own, and remembers what a fault shows that makes reads stale.
var keepingHistory = simulator.Config{ReadLags: simulator.ReadLags{"vfs": time.Minute}}

// settled checks where the volume is in truth, and that nothing is under way.
func (r *rig) settled(id, node string) {
	r.t.Helper()
	for _, b := range r.cloud.Sim.View().Blocks {
		if b.ID == id && (b.AttachedTo != node || b.Pending != "") {
			r.t.Errorf("it should be at %q, and is %+v", node, b)
		}
	}
}

// TestUnpublishAfterAnAttachWithoutAnswer: the attach was accepted and its answer was lost. The volume seems free when it
// is unpublished, and must not be attached afterwards.
func TestUnpublishAfterAnAttachWithoutAnswer(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.cloud.Fault(simulator.Fault{Operation: "attach_block", Action: simulator.FaultResetAfter, Times: 1})
		_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, node))
		want(t, err, codes.Unavailable)
		want(t, r.unpublish(v, node), codes.OK)
		r.settled(v, "")
		time.Sleep(time.Minute)
		r.settled(v, "")
	})
}

// TestPublishAfterADetachWithoutAnswer: the detach was accepted and its answer was lost. The volume seems attached still
// when it is published to the same node.
func TestPublishAfterADetachWithoutAnswer(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(v, node)
		r.cloud.Fault(simulator.Fault{Operation: "detach_block", Action: simulator.FaultResetAfter, Times: 1})
		want(t, r.unpublish(v, node), codes.Unavailable)
		r.publish(v, node)
		r.settled(v, node)
	})
}

// TestRepeatedDetachWaits: a detach that was cut off is asked for again while it is under way.
func TestRepeatedDetachWaits(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(v, node)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v, NodeId: node})
		want(t, err, codes.DeadlineExceeded)
		want(t, r.unpublish(v, node), codes.OK)
		r.settled(v, "")
	})
}

// TestDeleteDuringAnAttach: a volume whose attach is under way is not free, whatever reads show.
func TestDeleteDuringAnAttach(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.ControllerPublishVolume(ctx, publishRequest(v, node))
		want(t, err, codes.DeadlineExceeded)
		_, err = r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: v})
		want(t, err, codes.Unavailable, v, "being attached")
		if n := r.cloud.Count("delete_block"); n != 0 {
			t.Errorf("%d deletes were sent", n)
		}
	})
}

// TestAttachesOfOneNodeOverlap: orders to one instance follow each other at once, they do not wait for each other's effect.
func TestAttachesOfOneNodeOverlap(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		var ids []string
		for i := range 8 {
			ids = append(ids, r.create(fmt.Sprintf("pvc-%d", i)).GetVolumeId())
		}
		began := time.Now()
		done := make(chan error, len(ids))
		for _, id := range ids {
			go func() {
				_, err := r.ControllerPublishVolume(t.Context(), publishRequest(id, node))
				done <- err
			}()
		}
		for range ids {
			want(t, <-done, codes.OK)
		}
		if took := time.Since(began); took > 2*simulator.DefaultDelays().Attach {
			t.Errorf("%d attaches took %s, one takes %s", len(ids), took, simulator.DefaultDelays().Attach)
		}
	})
}

// TestAttachRefusedAfterADetach: the volume was detached, and the node refuses the next attach. An old list shows the
// volume there still, which is not the attach that was asked for.
func TestAttachRefusedAfterADetach(t *testing.T) {
	inBubble(t, keepingHistory, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(v, node)
		time.Sleep(time.Minute)
		want(t, r.unpublish(v, node), codes.OK)
		time.Sleep(5 * time.Second)
		r.cloud.Fault(simulator.Fault{
			Operation: "attach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest,
			Body: `{"error":"Server is currently locked","status":400}`, Times: 1,
		})
		stale := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStale, LagMS: 20000})
		_, err := r.ControllerPublishVolume(t.Context(), publishRequest(v, node))
		want(t, err, codes.Unavailable, v, node, "a moment ago")
		r.cloud.Sim.RemoveFault(stale)
		r.publish(v, node)
		r.settled(v, node)
	})
}

// TestClaims: while one operation on a volume is under way every other one on it, and a second create of a name, is
// refused and named.
func TestClaims(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		operations := map[string]func(ctx context.Context) error{
			"ControllerPublishVolume": func(ctx context.Context) error {
				_, err := r.ControllerPublishVolume(ctx, publishRequest(v, node))
				return err
			},
			"ControllerUnpublishVolume": func(ctx context.Context) error {
				_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: v, NodeId: node})
				return err
			},
			"ControllerExpandVolume": func(ctx context.Context) error {
				_, err := r.ControllerExpandVolume(ctx, expandRequest(v, 20))
				return err
			},
			"DeleteVolume": func(ctx context.Context) error {
				_, err := r.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v})
				return err
			},
			"CreateVolume": func(ctx context.Context) error {
				_, err := r.CreateVolume(ctx, createRequest("pvc-2", 10))
				return err
			},
		}
		for under, begin := range operations {
			time.Sleep(2 * time.Minute) // what was just seen or ordered, and the list that looks for twins, would do for some
			held := r.cloud.Fault(simulator.Fault{Action: simulator.FaultHang})
			ctx, giveUp := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- begin(ctx) }()
			time.Sleep(time.Second) // of the fake clock: it hangs in a call
			for name, second := range operations {
				if (under == "CreateVolume") == (name == "CreateVolume") {
					want(t, second(t.Context()), codes.Aborted, under)
				}
			}
			giveUp()
			want(t, <-ended, codes.Canceled)
			r.cloud.Sim.RemoveFault(held)
		}
	})
}

// TestUnpublishAfterSomebodyElsesAttach: the attach that is under way was ordered by somebody else, and the publish that
// found it refused is cut off.
func TestUnpublishAfterSomebodyElsesAttach(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		if err := newRigInBubble(t, r.cloud).api.AttachVolume(t.Context(), v, node); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.ControllerPublishVolume(ctx, publishRequest(v, node))
		want(t, err, codes.DeadlineExceeded)
		want(t, r.unpublish(v, node), codes.OK)
		r.settled(v, "")
		time.Sleep(time.Minute)
		r.settled(v, "")
	})
}

// TestLockedByOwnOrders: the platform locks an instance while it works on an order to it. The next order waits for that.
func TestLockedByOwnOrders(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		ids := []string{r.create("pvc-1").GetVolumeId(), r.create("pvc-2").GetVolumeId()}
		r.cloud.Fault(simulator.Fault{
			Operation: "attach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Nth: 2, Times: 1,
			Body: `{"error":"Server is currently locked","status":400}`,
		})
		done := make(chan error, 2)
		for _, id := range ids {
			go func() {
				_, err := r.ControllerPublishVolume(t.Context(), publishRequest(id, node))
				done <- err
			}()
		}
		want(t, <-done, codes.OK)
		want(t, <-done, codes.OK)
	})
}

// TestThreePodsChangePlaces: a database has three pods with three volumes each, every pod on a node of its own, and all of them go
// to the next node at once, while the platform locks nodes now and then. Every volume arrives, and none anywhere else.
func TestThreePodsChangePlaces(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		const pods, volumes = 3, 3
		var nodes, ids []string
		for i := range pods {
			nodes = append(nodes, r.instance(fmt.Sprintf("node-%d", i)))
			for range volumes {
				id := r.create(fmt.Sprintf("pvc-%d", len(ids))).GetVolumeId()
				r.publish(id, nodes[i])
				ids = append(ids, id)
			}
		}
		for _, operation := range []string{"attach_block", "detach_block"} {
			r.cloud.Fault(simulator.Fault{
				Operation: operation, Action: simulator.FaultStatus, Status: http.StatusBadRequest, Nth: 2, Times: 4,
				Body: `{"error":"Server is currently locked","status":400}`,
			})
		}
		began := time.Now()
		var all sync.WaitGroup
		for i, id := range ids {
			from, to := nodes[i/volumes], nodes[(i/volumes+1)%pods]
			all.Go(func() {
				err := testcloud.Repeat(t, time.Minute, func(ctx context.Context) error {
					_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: from})
					return err
				})
				if err == nil {
					err = testcloud.Repeat(t, time.Minute, func(ctx context.Context) error {
						_, err := r.ControllerPublishVolume(ctx, publishRequest(id, to))
						return err
					})
				}
				if err != nil {
					t.Errorf("volume %s from %s to %s: %v", id, from, to, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("that took %s", took)
		}
		for i, id := range ids {
			r.settled(id, nodes[(i/volumes+1)%pods])
		}
	})
}

// TestDetachIsNotMovedByAnOldLook: the detach is refused for its rate and repeated, and by then the look that goes before it
// comes from a read that lags behind the attach. That does not prove that the volume was taken away.
func TestDetachIsNotMovedByAnOldLook(t *testing.T) {
	inBubble(t, keepingHistory, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		time.Sleep(time.Minute) // of the fake clock: an old list shows it, too
		r.publish(v, node)
		r.cloud.Fault(simulator.Fault{Operation: "detach_block", Action: simulator.FaultStatus, Status: http.StatusTooManyRequests, RetryAfter: 5, Times: 1})
		stale := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStale, LagMS: 25000})
		want(t, r.unpublish(v, node), codes.Unavailable, v, node)
		r.cloud.Sim.RemoveFault(stale)
		want(t, r.unpublish(v, node), codes.OK)
		r.settled(v, "")
	})
}

// TestBlocksThatCannotBeRead: a controller that was just started can't read disks, but file systems. An ID of which nobody
// can tell is not gone.
func TestBlocksThatCannotBeRead(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, first *rig) {
		v, node := first.create("pvc-1").GetVolumeId(), first.instance("node-1")
		first.publish(v, node)
		r := newRigInBubble(t, first.cloud)
		for _, operation := range []string{"list_blocks", "get_block"} {
			r.cloud.Fault(simulator.Fault{Operation: operation, Action: simulator.FaultStatus, Status: http.StatusInternalServerError})
		}
		want(t, r.unpublish(v, node), codes.Unavailable, v, "500")
		_, err := r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: v})
		want(t, err, codes.Unavailable, v, "500")
		r.settled(v, node)
	})
}
