package controller_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func (r *rig) publishAs(id, node string, readOnly bool) (map[string]string, error) {
	r.t.Helper()
	req := publishRequest(id, node)
	req.Readonly = readOnly
	resp, err := r.ControllerPublishVolume(r.t.Context(), req)
	return resp.GetPublishContext(), err
}

// TestPublishReadOnly: the node is told, and one and the same volume is not published to it in both ways.
func TestPublishReadOnly(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		for _, readOnly := range []bool{true, false} {
			for range 2 { // it is idempotent
				about, err := r.publishAs(v, node, readOnly)
				want(t, err, codes.OK)
				if got := about[volume.ContextReadOnly]; (got == "true") != readOnly || (got != "") != readOnly {
					t.Errorf("read-only %t: the publish context says %q", readOnly, got)
				}
			}
			_, err := r.publishAs(v, node, !readOnly)
			want(t, err, codes.AlreadyExists, v, node, "read-only")
			_, err = r.publishAs(v, node, readOnly)
			want(t, err, codes.OK)
			want(t, r.unpublish(v, node), codes.OK)
		}
	})
}

// TestPublishReadOnlyElsewhere: how a volume was published to one node says nothing of another one.
func TestPublishReadOnlyElsewhere(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, one, two := r.create("pvc-1").GetVolumeId(), r.instance("node-1"), r.instance("node-2")
		_, err := r.publishAs(v, one, true)
		want(t, err, codes.OK)
		_, err = r.publishAs(v, two, false)
		want(t, err, codes.FailedPrecondition, one)
		want(t, r.unpublish(v, ""), codes.OK) // from whichever node
		_, err = r.publishAs(v, two, false)
		want(t, err, codes.OK)
		want(t, r.unpublish(v, two), codes.OK)
		_, err = r.publishAs(v, one, false)
		want(t, err, codes.OK)
	})
}

// TestPublishReadOnlyAfterAnotherLeader: what another controller unpublished meanwhile, and published again, is not held
// against a publish for ever.
func TestPublishReadOnlyAfterAnotherLeader(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		_, err := r.publishAs(v, node, false)
		want(t, err, codes.OK)
		other := newRigInBubble(t, r.cloud)
		want(t, other.unpublish(v, node), codes.OK)
		time.Sleep(time.Minute) // of the fake clock
		_, err = r.publishAs(v, node, true)
		want(t, err, codes.OK)

		want(t, other.unpublish(v, node), codes.OK)
		_, err = other.publishAs(v, node, false)
		want(t, err, codes.OK)
		time.Sleep(11 * time.Minute) // of the fake clock
		_, err = r.publishAs(v, node, false)
		want(t, err, codes.OK)
	})
}

// TestPublishReadOnlyCostsNothing: it is known without a call.
func TestPublishReadOnlyCostsNothing(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		cost := func(readOnly bool) int {
			v, node := r.create(map[bool]string{true: "pvc-1", false: "pvc-2"}[readOnly]).GetVolumeId(), r.instance("node")
			time.Sleep(time.Minute) // of the fake clock
			before := r.calls()
			req := publishRequest(v, node)
			req.Readonly = readOnly
			for range 2 {
				_, err := r.ControllerPublishVolume(t.Context(), req)
				want(t, err, codes.OK)
			}
			return r.calls() - before
		}
		if ro, rw := cost(true), cost(false); ro > rw {
			t.Errorf("it takes %d calls, read-write %d", ro, rw)
		}
		v, node := r.create("pvc-3").GetVolumeId(), r.instance("node")
		_, err := r.publishAs(v, node, true)
		want(t, err, codes.OK)
		want(t, r.unpublish(v, node), codes.OK)
		reads := r.cloud.Count("get_block")
		_, err = r.publishAs(v, node, false)
		want(t, err, codes.OK)
		if n := r.cloud.Count("get_block") - reads; n != 0 {
			t.Errorf("after it was unpublished it takes %d reads to publish it otherwise", n)
		}
	})
}
