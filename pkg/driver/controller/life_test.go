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
)

// TestAPIBudget counts the calls of one volume's life. A poll may come just too early once.
func TestAPIBudget(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		r.create("warm-up") // waits out the settle time, once for a process
		budget := func(what string, most int, do func()) {
			t.Helper()
			before := r.calls()
			do()
			if n := r.calls() - before; n > most {
				t.Errorf("%s took %d calls, %d are planned", what, n, most)
			}
		}
		var id string
		budget("create: list, POST, polls", 4, func() { id = r.create("pvc-1").GetVolumeId() })
		budget("attach: POST, polls", 3, func() { r.publish(id, node) })
		budget("detach: GET, POST, polls", 4, func() {
			if err := r.unpublish(id, node); err != nil {
				t.Fatal(err)
			}
		})
		remove := func() {
			if _, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
				t.Fatal(err)
			}
		}
		budget("delete of what was just detached: DELETE", 1, remove)
		budget("delete again, as the provisioner does", 0, remove)
	})
}

// TestDeleteBudget: an ID that nothing shows is proven to be none by few calls, and once. A disk, also one that this
// process never saw, costs a look and the delete.
func TestDeleteBudget(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		budget := func(what, id string, most int) {
			t.Helper()
			before := r.calls()
			_, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			want(t, err, codes.OK)
			if n := r.calls() - before; n > most {
				t.Errorf("%s took %d calls, %d are planned", what, n, most)
			}
		}
		id, never := r.create("pvc-1").GetVolumeId(), uuid.NewString()
		time.Sleep(time.Minute) // of the fake clock: nothing read before is new enough
		budget("an ID that nothing shows: list, DELETE; GET, list, the account, DELETE; the same for file systems, with attachments", never, 13)
		budget("the same again", never, 0)
		r = newRigInBubble(t, r.cloud)
		time.Sleep(time.Minute)
		budget("a disk, for a fresh controller: list, DELETE", id, 2)
		budget("the same again", id, 0)
		r = newRigInBubble(t, r.cloud)
		budget("a deleted disk, for a fresh controller", id, 13)
		before := r.calls()
		want(t, r.unpublish(uuid.NewString(), uuid.NewString()), codes.OK)
		if n := r.calls() - before; n > 13 {
			t.Errorf("an unpublish of what nothing shows took %d calls", n)
		}
	})
}

// TestDeleteWithoutLists: without a list nobody knows where a volume is attached, and it is not deleted.
func TestDeleteWithoutLists(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(id, node)
		time.Sleep(time.Minute)
		fault := r.cloud.Fault(simulator.Fault{Operation: "list_blocks", Action: simulator.FaultStatus, Status: http.StatusInternalServerError})
		fresh := newRigInBubble(t, r.cloud)
		for _, c := range []*rig{r, fresh} {
			ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
			_, err := c.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
			cancel()
			if err == nil {
				t.Error("it was deleted although nobody knows where it is")
			}
		}
		if n := r.cloud.Count("delete_block"); n != 0 {
			t.Errorf("%d deletes were sent", n)
		}
		r.cloud.Sim.RemoveFault(fault)
		_, err := fresh.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
		want(t, err, codes.FailedPrecondition, node)
	})
}

// TestMalformedIDsCostNothing: an ID that cannot be one needs no call to be judged.
func TestMalformedIDsCostNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const id = "not-a-volume"
	before := r.calls()
	if _, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
		t.Errorf("delete: %v", err)
	}
	_, err := r.ControllerPublishVolume(t.Context(), publishRequest(id, uuid.NewString()))
	want(t, err, codes.NotFound)
	if err := r.unpublish(id, uuid.NewString()); err != nil {
		t.Errorf("unpublish, which the attacher repeats until it succeeds: %v", err)
	}
	_, err = r.ControllerExpandVolume(t.Context(), expandRequest(id, 20))
	want(t, err, codes.NotFound)
	_, err = r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
	want(t, err, codes.NotFound)
	_, err = r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{writer}})
	want(t, err, codes.NotFound)
	if n := r.calls() - before; n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

func TestDelete(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		v, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
		r.publish(v, node)
		del := func(id string) error {
			_, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		}
		want(t, del(v), codes.FailedPrecondition, node)
		if got := r.attachedTo(v); got != node {
			t.Fatalf("it was detached: attached to %q", got)
		}
		if err := r.unpublish(v, node); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := del(v); err != nil {
				t.Fatal(err)
			}
		}
		if left := r.cloud.Sim.View().Blocks; len(left) != 0 {
			t.Errorf("left is %+v", left)
		}
		want(t, del(""), codes.InvalidArgument)
		if err := del(uuid.NewString()); err != nil {
			t.Errorf("a volume that does not exist: %v", err)
		}
	})
}

func expandRequest(id string, sizeGiB int64) *csi.ControllerExpandVolumeRequest {
	return &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: sizeGiB * gib}}
}

func TestExpand(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id := r.create("pvc-1").GetVolumeId()
		for range 2 {
			resp, err := r.ControllerExpandVolume(t.Context(), expandRequest(id, 20))
			if err != nil {
				t.Fatal(err)
			}
			if resp.GetCapacityBytes() != 20*gib || !resp.GetNodeExpansionRequired() {
				t.Errorf("got %v", resp)
			}
		}
		if n := r.cloud.Count("update_block") + r.cloud.Count("resize_block"); n != 1 {
			t.Errorf("%d changes were sent", n)
		}
		shrink := expandRequest(id, 10)
		shrink.CapacityRange.LimitBytes = 15 * gib
		_, err := r.ControllerExpandVolume(t.Context(), shrink)
		want(t, err, codes.OutOfRange, "shrink")
		_, err = r.ControllerExpandVolume(t.Context(), expandRequest(id, 10001))
		want(t, err, codes.OutOfRange)
		_, err = r.ControllerExpandVolume(t.Context(), expandRequest(uuid.NewString(), 20))
		want(t, err, codes.NotFound)
		_, err = r.ControllerExpandVolume(t.Context(), &csi.ControllerExpandVolumeRequest{VolumeId: id})
		want(t, err, codes.InvalidArgument, "capacity_range")
	})
}

// TestListInPages reads a list in pages while it changes: the volume that a token names is deleted, others come.
func TestListInPages(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			r.create(name)
		}
		list := func(most int32, token string) *csi.ListVolumesResponse {
			t.Helper()
			resp, err := r.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: most, StartingToken: token})
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		first := list(2, "")
		if len(first.GetEntries()) != 2 || first.GetNextToken() == "" {
			t.Fatalf("the first page is %v", first)
		}
		last := first.GetEntries()[1].GetVolume().GetVolumeId()
		if _, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: last}); err != nil {
			t.Fatal(err)
		}
		restarted := newRigInBubble(t, r.cloud) // tokens need no memory
		rest, err := restarted.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: first.GetNextToken()})
		if err != nil {
			t.Fatal(err)
		}
		if len(rest.GetEntries()) != 3 || rest.GetNextToken() != "" {
			t.Errorf("the second page is %v", rest)
		}
		for _, e := range rest.GetEntries() {
			if id := e.GetVolume().GetVolumeId(); id == last || id == first.GetEntries()[0].GetVolume().GetVolumeId() {
				t.Errorf("volume %s came twice", id)
			}
		}
		published := rest.GetEntries()[0].GetVolume().GetVolumeId()
		r.publish(published, node)
		for _, e := range list(0, "").GetEntries() {
			nodes := e.GetStatus().GetPublishedNodeIds()
			if is := len(nodes) == 1 && nodes[0] == node; is != (e.GetVolume().GetVolumeId() == published) {
				t.Errorf("volume %s is published to %v", e.GetVolume().GetVolumeId(), nodes)
			}
		}
		for _, bad := range []string{"2", "!!", first.GetNextToken() + "x"} {
			_, err := r.ListVolumes(t.Context(), &csi.ListVolumesRequest{StartingToken: bad})
			want(t, err, codes.Aborted)
		}
		_, err = r.ListVolumes(t.Context(), &csi.ListVolumesRequest{MaxEntries: -1})
		want(t, err, codes.InvalidArgument)
	})
}

func TestGetAndValidate(t *testing.T) {
	r := newRig(t)
	id, node := r.create("pvc-1").GetVolumeId(), r.instance("node-1")
	r.publish(id, node)
	resp, err := r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetVolume().GetCapacityBytes() != 10*gib || len(resp.GetStatus().GetPublishedNodeIds()) != 1 {
		t.Errorf("got %v", resp)
	}
	_, err = r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: uuid.NewString()})
	want(t, err, codes.NotFound)

	for name, c := range map[string]struct {
		change  func(*csi.ValidateVolumeCapabilitiesRequest)
		confirm bool
	}{
		"as it is": {func(*csi.ValidateVolumeCapabilitiesRequest) {}, true},
		"fitting parameters": {func(q *csi.ValidateVolumeCapabilitiesRequest) {
			q.Parameters = map[string]string{"disk_type": "nvme"}
		}, true},
		"other type": {func(q *csi.ValidateVolumeCapabilitiesRequest) {
			q.Parameters = map[string]string{"disk_type": "hdd"}
		}, false},
		"shared": {func(q *csi.ValidateVolumeCapabilitiesRequest) {
			q.VolumeCapabilities = []*csi.VolumeCapability{capability(csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY)}
		}, false},
		"other kind": {func(q *csi.ValidateVolumeCapabilitiesRequest) {
			q.VolumeContext = map[string]string{"storage_type": "vfs"}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			req := &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: []*csi.VolumeCapability{writer}}
			c.change(req)
			resp, err := r.ValidateVolumeCapabilities(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if (resp.GetConfirmed() != nil) != c.confirm || (resp.GetMessage() == "") != c.confirm {
				t.Errorf("got %v", resp)
			}
		})
	}
}
