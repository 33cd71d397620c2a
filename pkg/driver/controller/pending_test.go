package controller_test

import (
	"slices"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestPendingVolumes: a volume that somebody else has just made is not active yet. A create of its name waits for it, and
// what can't be done yet is refused in words.
func TestPendingVolumes(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		v, err := r.api.CreateVolume(t.Context(), vultr.VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond) // of the fake clock: lists show it
		_, err = r.ControllerPublishVolume(t.Context(), publishRequest(v.ID, node))
		want(t, err, codes.Unavailable, v.ID, "not active yet")
		if made := r.create("pvc-1"); made.GetVolumeId() != v.ID {
			t.Errorf("got %s, there was %s", made.GetVolumeId(), v.ID)
		}
		if now := r.cloud.Sim.View().Blocks[0]; !now.Active {
			t.Error("the create answered with a volume that is not active")
		}
		r.publish(v.ID, node)
	})
}

// TestListIsFresh: the first page of a list shows what was done a moment ago by anybody; the pages after it may be from
// the same list.
func TestListIsFresh(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		for _, name := range []string{"a", "b", "c"} {
			r.create(name)
		}
		time.Sleep(time.Minute) // of the fake clock: nothing else is read
		other, node := newRigInBubble(t, r.cloud), r.instance("node-1")
		list := func(token string) *csi.ListVolumesResponse {
			resp, err := r.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: 2, StartingToken: token})
			want(t, err, codes.OK)
			return resp
		}
		var seen []string
		id := list("").GetEntries()[0].GetVolume().GetVolumeId()
		other.publish(id, node)
		before := r.cloud.Count("list_blocks")
		page := list("")
		if got := page.GetEntries()[0].GetStatus().GetPublishedNodeIds(); len(got) != 1 || got[0] != node {
			t.Errorf("it is published to %s", got)
		}
		for {
			for _, e := range page.GetEntries() {
				seen = append(seen, e.GetVolume().GetVolumeId())
			}
			if page.GetNextToken() == "" {
				break
			}
			page = list(page.GetNextToken())
		}
		if n := r.cloud.Count("list_blocks") - before; n != 1 {
			t.Errorf("two pages took %d lists", n)
		}
		if slices.Sort(seen); len(slices.Compact(slices.Clone(seen))) != 3 || len(seen) != 3 {
			t.Errorf("three volumes came as %s", seen)
		}
	})
}

// TestValidateByContext: a volume context that names another region is not confirmed.
func TestValidateByContext(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").GetVolumeId()
		for region, confirmed := range map[string]bool{"ewr": true, "lax": false} {
			resp, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{writer}, VolumeContext: in(region).GetRequisite()[0].GetSegments(),
			})
			if want(t, err, codes.OK); (resp.GetConfirmed() != nil) != confirmed {
				t.Errorf("region %s: %v", region, resp)
			}
		}
	})
}

// TestAccessIsJudgedEverywhere: what a disk can't serve is refused by each call that names it.
func TestAccessIsJudgedEverywhere(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		shared := capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		_, err := r.ControllerPublishVolume(t.Context(), &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: node, VolumeCapability: shared})
		want(t, err, codes.InvalidArgument, "one instance at a time")
		grow := expandRequest(id, 20)
		grow.VolumeCapability = shared
		_, err = r.ControllerExpandVolume(t.Context(), grow)
		want(t, err, codes.InvalidArgument, "one instance at a time")
		if n := r.cloud.Count("attach_block") + r.cloud.Count("resize_block") + r.cloud.Count("update_block"); n != 0 {
			t.Errorf("%d changes were sent", n)
		}
	})
}

// TestExpandByAnOldRead: single reads lag, and show a volume smaller than it is. A smaller wish than its size is met.
func TestExpandByAnOldRead(t *testing.T) {
	for _, lags := range []simulator.ReadLags{{"blocks.get": 20 * time.Second}, {"blocks.list": 5 * time.Second}, {"blocks": 5 * time.Second}} {
		inBubble(t, simulator.Config{ReadLags: lags}, func(t *testing.T, r *rig) {
			id := r.create("pvc-1").GetVolumeId()
			time.Sleep(time.Minute) // of the fake clock: every read shows it
			for _, size := range []int64{30, 20} {
				resp, err := r.ControllerExpandVolume(t.Context(), expandRequest(id, size))
				want(t, err, codes.OK)
				if resp.GetCapacityBytes() != 30*gib {
					t.Errorf("reads lag %v, to %d GiB: %v", lags, size, resp)
				}
			}
		})
	}
}

// TestExpandIsSeen: the answer comes when the platform shows the new size, and says that the node has to look.
func TestExpandIsSeen(t *testing.T) {
	inBubble(t, simulator.Config{ReadLags: simulator.ReadLags{"blocks": 5 * time.Second}}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").GetVolumeId()
		for _, size := range []int64{20, 15} {
			resp, err := r.ControllerExpandVolume(t.Context(), expandRequest(id, size))
			want(t, err, codes.OK)
			if resp.GetCapacityBytes() != 20*gib || !resp.GetNodeExpansionRequired() {
				t.Errorf("to %d GiB: %v", size, resp)
			}
		}
		if n := r.cloud.Count("update_block") + r.cloud.Count("resize_block"); n != 1 {
			t.Errorf("%d changes were sent", n)
		}
	})
}

// TestListsFollowWhatWasDone: lists of the platform that are late, even if those before them were not, show in no answer what this
// controller has deleted, attached or detached otherwise. Another controller's answer is as late as its list.
func TestListsFollowWhatWasDone(t *testing.T) {
	longest := simulator.ReadLags{"vpcs": time.Minute} // what was is kept for so long
	inBubble(t, simulator.Config{ReadLags: longest}, func(t *testing.T, r *rig) {
		other, node := newRigInBubble(t, r.cloud), r.instance("node-1")
		kept, deleted := r.create("kept").GetVolumeId(), r.create("deleted").GetVolumeId()
		snapshot := r.snapshot("snapshot-1", kept).GetSnapshotId()
		lag := func(lags simulator.ReadLags) {
			if err := r.cloud.Sim.SetReadLags(lags); err != nil {
				t.Fatal(err)
			}
		}
		shows := func(r *rig, when string, volumes, nodes, snapshots int) {
			t.Helper()
			lag(simulator.ReadLags{"vpcs": time.Minute, "all.list": 20 * time.Second})
			resp, err := r.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
			want(t, err, codes.OK)
			published := 0
			for _, e := range resp.GetEntries() {
				published += len(e.GetStatus().GetPublishedNodeIds())
			}
			ids, _ := r.listSnapshots(&csi.ListSnapshotsRequest{})
			if len(resp.GetEntries()) != volumes || published != nodes || len(ids) != snapshots {
				t.Errorf("%s: %d volumes, published to %d nodes, and %d snapshots; want %d, %d and %d",
					when, len(resp.GetEntries()), published, len(ids), volumes, nodes, snapshots)
			}
			lag(longest)
		}
		time.Sleep(time.Minute) // of the fake clock
		r.publish(kept, node)
		shows(other, "another's, attached", 2, 0, 1)
		shows(r, "attached", 2, 1, 1)
		time.Sleep(time.Minute) // of the fake clock
		want(t, r.unpublish(kept, node), codes.OK)
		shows(other, "another's, detached", 2, 1, 1)
		shows(r, "detached", 2, 0, 1)
		time.Sleep(time.Minute) // of the fake clock
		want(t, r.delete(deleted), codes.OK)
		_, err := r.DeleteSnapshot(t.Context(), &csi.DeleteSnapshotRequest{SnapshotId: snapshot})
		want(t, err, codes.OK)
		shows(other, "another's, deleted", 2, 0, 1)
		shows(r, "deleted", 1, 0, 0)
	})
}
