package controller_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// cutOff asks for something and gives up after a second, as a sidecar does whose process ends.
func (r *rig) cutOff(call func(ctx context.Context) error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
	defer cancel()
	if err := call(ctx); err == nil {
		r.t.Fatal("the call was over too early for this test")
	}
}

func (r *rig) unpublishes(id, node string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := r.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: node})
		return err
	}
}

func (r *rig) publishes(id, node string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := r.ControllerPublishVolume(ctx, publishRequest(id, node))
		return err
	}
}

// TestCutOffUnderMixedLags: single reads and lists lag differently, an unpublish is cut off and repeated, by the same
// controller or by one that was just started, and the volume is published to the same node again. One kind of read may
// still show it free as it was before the attach, when the other shows it attached.
func TestCutOffUnderMixedLags(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Detach = 8 * time.Second
	for _, lags := range []simulator.ReadLags{
		nil,
		{"blocks.get": 20 * time.Second},
		{"blocks.list": 20 * time.Second},
		{"blocks.get": 12 * time.Second, "blocks.list": 3 * time.Second},
		{"blocks.get": 3 * time.Second, "blocks.list": 12 * time.Second},
		{"blocks": 20 * time.Second},
	} {
		for _, used := range []time.Duration{0, 2 * time.Second, 6 * time.Second, 15 * time.Second, 40 * time.Second} {
			for _, restarted := range []bool{false, true} {
				inBubble(t, simulator.Config{ReadLags: lags, Delays: delays}, func(t *testing.T, r *rig) {
					where := fmt.Sprintf("reads lag %v, used for %s, restarted %t", lags, used, restarted)
					id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
					time.Sleep(time.Minute) // of the fake clock: every read shows it free
					r.publish(id, node)
					time.Sleep(used)
					r.cutOff(r.unpublishes(id, node))
					if restarted {
						r = newRigInBubble(t, r.cloud)
					}
					time.Sleep(2 * time.Second) // of the fake clock: no list is so new that it would do
					if err := r.patiently(r.unpublishes(id, node)); err != nil {
						t.Errorf("%s: %v", where, err)
					}
					t.Log(where)
					r.settled(id, "")
					if err := r.patiently(r.publishes(id, node)); err != nil {
						t.Errorf("%s: %v", where, err)
					}
					r.settled(id, node)
				})
			}
		}
	}
}

// TestDetachThatHangs: a detach that the platform accepted is carried out minutes later. Until then the volume is not
// published to the node that it will be taken from, however often that is asked for.
func TestDetachThatHangs(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Detach = 3 * time.Minute
	for what, action := range map[string]simulator.FaultAction{
		"accepted": "", "the answer was lost": simulator.FaultResetAfter, "delivered twice": simulator.FaultDuplicate,
	} {
		inBubble(t, simulator.Config{Delays: delays}, func(t *testing.T, r *rig) {
			id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
			r.publish(id, node)
			if action != "" {
				r.cloud.Fault(simulator.Fault{Operation: "detach_block", Action: action, Times: 1})
			}
			r.cutOff(r.unpublishes(id, node))
			time.Sleep(35 * time.Second) // of the fake clock
			began := time.Now()
			want(t, r.publishes(id, node)(t.Context()), codes.Unavailable, id, node, "detach")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: it took %s to say so", what, took)
			}
			if err := r.patiently(r.publishes(id, node)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			r.settled(id, node)
			time.Sleep(10 * time.Minute)
			r.settled(id, node)
		})
	}
}

// TestRefusedDetachIsRepeated: while an attach is under way that an old read shows as done, the platform refuses the detach.
// That passes by itself, and the caller is told so.
func TestRefusedDetachIsRepeated(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(id, node)
		r.cloud.Fault(simulator.Fault{
			Operation: "detach_block", Action: simulator.FaultStatus, Status: http.StatusBadRequest, Times: 1,
			Body: `{"error":"Unable to detach block storage","status":400}`,
		})
		want(t, r.unpublish(id, node), codes.Unavailable, id, node, "Unable to detach")
		want(t, r.unpublish(id, node), codes.OK)
		r.settled(id, "")
	})
}

// TestAttachThatHangs: an attach that the platform accepted is carried out minutes later, and meanwhile the publish is taken
// back. The volume does not count as free before, or it would stay attached with nobody to take it away. An instance that is
// destroyed meanwhile can have none.
func TestAttachThatHangs(t *testing.T) {
	delays := simulator.DefaultDelays()
	delays.Attach = 3 * time.Minute
	for _, destroyed := range []string{"", "at once", "late"} {
		inBubble(t, simulator.Config{Delays: delays}, func(t *testing.T, r *rig) {
			id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
			r.cutOff(r.publishes(id, node))
			if destroyed != "at once" {
				want(t, r.unpublishes(id, node)(t.Context()), codes.Unavailable, id, node, "accepted an attach")
			}
			if destroyed != "" {
				r.destroy(node)
			}
			since := time.Now()
			if err := r.patiently(r.unpublishes(id, node)); err != nil {
				t.Errorf("destroyed %q: %v", destroyed, err)
			}
			if took := time.Since(since); destroyed != "" && took > 90*time.Second {
				t.Errorf("destroyed %q: %s until the volume counted as free", destroyed, took)
			}
			if destroyed == "" {
				r.settled(id, "")
			}
			time.Sleep(10 * time.Minute) // of the fake clock
			r.settled(id, "")
		})
	}
}

// TestDetachThatIsNeverDone: the detach was lost, and its answer too. Nobody waits for it for ever.
func TestDetachThatIsNeverDone(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(id, node)
		r.cloud.Fault(simulator.Fault{Operation: "detach_block", Action: simulator.FaultResetBefore, Times: 1})
		r.cutOff(r.unpublishes(id, node))
		time.Sleep(11 * time.Minute)
		r.publish(id, node)
		r.settled(id, node)
		if n := r.cloud.Count("attach_block"); n > 2 {
			t.Errorf("%d attaches were sent", n)
		}
		want(t, r.unpublish(id, node), codes.OK)
		r.settled(id, "")
	})
}
