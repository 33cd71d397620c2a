package controller_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// fileSystem makes a file system that is attached to the instance, as the official driver would.
func (r *rig) fileSystem(instance string) string {
	r.t.Helper()
	ctx := r.t.Context()
	f, err := r.api.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: "pvc-shared", Region: "ewr", SizeGB: 10})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.api.WaitFileSystem(ctx, f.ID, func(f vultr.FileSystem) (bool, error) { return f.Active(), nil }); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.api.AttachFileSystem(ctx, f.ID, instance); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.api.WaitFileSystemAttachment(ctx, f.ID, instance, func(a vultr.FileSystemAttachment) (bool, error) { return a.Attached(), nil }); err != nil {
		r.t.Fatal(err)
	}
	return f.ID
}

// TestSharedFileSystems: what the official driver made and attached is published to several nodes, to one alone where the
// access mode says so, grown, unpublished and deleted.
func TestSharedFileSystems(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		ctx, one, two := t.Context(), r.instance("node-1"), r.instance("node-2")
		id := r.fileSystem(one)
		publish := func(node string, mode csi.VolumeCapability_AccessMode_Mode) (map[string]string, error) {
			request := publishRequest(id, node)
			request.VolumeCapability = capability(mode)
			resp, err := r.ControllerPublishVolume(ctx, request)
			return resp.GetPublishContext(), err
		}
		const several, single = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
		for _, mode := range []csi.VolumeCapability_AccessMode_Mode{single, several} {
			about, err := publish(one, mode)
			want(t, err, codes.OK)
			a, err := r.api.FileSystemAttachment(ctx, id, one)
			if err != nil || about["mount_vol_name"] != a.MountTag || about["storage_type"] != "vfs" {
				t.Errorf("the publish context is %v, the attachment %+v, %v", about, a, err)
			}
		}
		_, err := publish(two, single)
		want(t, err, codes.FailedPrecondition, one, two)
		_, err = publish(two, several)
		want(t, err, codes.OK)
		block := publishRequest(id, two)
		block.VolumeCapability = capability(several)
		block.VolumeCapability.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		_, err = r.ControllerPublishVolume(ctx, block)
		want(t, err, codes.InvalidArgument, "vultr-nvme")
		got, err := r.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: id})
		if err != nil || len(got.GetStatus().GetPublishedNodeIds()) != 2 {
			t.Errorf("got %v, %v", got, err)
		}
		grown, err := r.ControllerExpandVolume(ctx, expandRequest(id, 20))
		if err != nil || grown.GetNodeExpansionRequired() || grown.GetCapacityBytes() != 20*volume.GiB {
			t.Errorf("got %v, %v", grown, err)
		}
		want(t, r.unpublish(id, one), codes.OK)
		want(t, r.delete(id), codes.FailedPrecondition, two)
		want(t, newRigInBubble(t, r.cloud).unpublish(id, two), codes.OK)
		want(t, r.delete(id), codes.OK)
	})
}

// TestNodesOfAccessModes: by which access modes a file system may be at a second instance. That one of several may write is kept by
// nobody, and is refused wherever it is asked for.
func TestNodesOfAccessModes(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		one, two := r.instance("node-1"), r.instance("node-2")
		id := r.fileSystem(one)
		for mode, code := range map[csi.VolumeCapability_AccessMode_Mode]codes.Code{
			csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER:        codes.FailedPrecondition,
			csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:   codes.FailedPrecondition,
			csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER: codes.FailedPrecondition,
			csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:  codes.FailedPrecondition,
			csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY:    codes.OK,
			csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER:   codes.OK,
			csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER:  codes.InvalidArgument,
		} {
			request := publishRequest(id, two)
			request.VolumeCapability = capability(mode)
			_, err := r.ControllerPublishVolume(t.Context(), request)
			if status.Code(err) != code {
				t.Errorf("%s: got %v, want %s", mode, err, code)
			}
			want(t, r.unpublish(id, two), codes.OK)
		}

		refused := []*csi.VolumeCapability{capability(csi.VolumeCapability_AccessMode_MULTI_NODE_SINGLE_WRITER)}
		create := createRequest("pvc-1", 10)
		create.Parameters, create.VolumeCapabilities = map[string]string{"storage_type": "vfs"}, refused
		_, err := r.CreateVolume(t.Context(), create)
		want(t, err, codes.InvalidArgument, "MULTI_NODE_SINGLE_WRITER", "ReadWriteMany")
		answer, err := r.ValidateVolumeCapabilities(t.Context(), &csi.ValidateVolumeCapabilitiesRequest{VolumeId: id, VolumeCapabilities: refused})
		if err != nil || answer.GetConfirmed() != nil || !strings.Contains(answer.GetMessage(), "MULTI_NODE_SINGLE_WRITER") {
			t.Errorf("got %v, %v", answer, err)
		}
	})
}

// TestCopyOfAnotherKind: of a shared file system no disk can be made. That is the answer, and not that there is no such volume.
func TestCopyOfAnotherKind(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		copyOf := func(id string) error {
			request := createRequest("pvc-copy", 10)
			request.VolumeContentSource = &csi.VolumeContentSource{
				Type: &csi.VolumeContentSource_Volume{Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: id}},
			}
			_, err := r.CreateVolume(t.Context(), request)
			return err
		}
		id := r.fileSystem(r.instance("node-1"))
		want(t, copyOf(id), codes.InvalidArgument, id, "vfs", "block")
		want(t, copyOf(uuid.NewString()), codes.NotFound)
		// While it cannot be found out what it is, nothing is proven.
		r = newRigInBubble(t, r.cloud)
		r.cloud.Fault(simulator.Fault{Path: "^/v2/vfs", Action: simulator.FaultStatus, Status: http.StatusForbidden})
		want(t, copyOf(id), codes.Unavailable)
		if all := r.cloud.Sim.View().Blocks; len(all) != 0 {
			t.Errorf("made are %+v", all)
		}
	})
}

// TestPublishToSeveralNodesAtOnce: none of the nodes of a ReadWriteMany volume waits for another one, and none is refused
// because another one's call is under way.
func TestPublishToSeveralNodesAtOnce(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id := r.fileSystem(r.instance("first"))
		var all sync.WaitGroup
		for _, name := range []string{"node-1", "node-2", "node-3"} {
			request := publishRequest(id, r.instance(name))
			request.VolumeCapability = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
			all.Go(func() {
				if _, err := r.ControllerPublishVolume(t.Context(), request); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if list, err := r.api.FileSystemAttachments(t.Context(), id, 0); err != nil || len(list.Items) != 4 {
			t.Errorf("attached are %+v, %v", list.Items, err)
		}
	})
}

// TestUnpublishFromSeveralNodesAtOnce: a ReadWriteMany volume is taken from all its nodes by calls that come together, and none
// is refused because of another one.
func TestUnpublishFromSeveralNodesAtOnce(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, nodes := r.sharedBy("node-1", "node-2", "node-3")
		var all sync.WaitGroup
		for _, node := range nodes {
			all.Go(func() {
				if err := r.unpublish(id, node); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if list, err := r.api.FileSystemAttachments(t.Context(), id, 0); err != nil || len(list.Items) != 0 {
			t.Errorf("attached are %+v, %v", list.Items, err)
		}
	})
}

// TestUnpublishWaitsWithinItsTime: a call that waits for the one of another node ends with its own time. One for the same node
// is refused, and operations on the volume are kept apart from those that wait as well.
func TestUnpublishWaitsWithinItsTime(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		id, nodes := r.sharedBy("node-1", "node-2")
		hold := r.cloud.Hold("detach_vfs", simulator.FaultHoldBefore)
		first := make(chan error, 1)
		go func() { first <- r.unpublish(id, nodes[0]) }()
		hold.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		want(t, r.unpublishes(id, nodes[1])(short), codes.DeadlineExceeded, id, "another instance")
		want(t, r.unpublish(id, nodes[0]), codes.Aborted, "ControllerUnpublishVolume")
		want(t, r.delete(id), codes.Aborted, "ControllerUnpublishVolume")

		second := make(chan error, 1)
		go func() { second <- r.unpublish(id, nodes[1]) }()
		synctest.Wait()
		again := publishRequest(id, nodes[1])
		again.VolumeCapability = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		_, err := r.ControllerPublishVolume(t.Context(), again)
		want(t, err, codes.Aborted, "ControllerUnpublishVolume")
		hold.Release()
		want(t, <-first, codes.OK)
		want(t, <-second, codes.OK)
	})
}

// sharedBy makes a file system that is published to new instances with these names.
func (r *rig) sharedBy(names ...string) (id string, nodes []string) {
	r.t.Helper()
	for _, name := range names {
		nodes = append(nodes, r.instance(name))
	}
	id = r.fileSystem(nodes[0])
	for _, node := range nodes {
		request := publishRequest(id, node)
		request.VolumeCapability = capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)
		_, err := r.ControllerPublishVolume(r.t.Context(), request)
		want(r.t, err, codes.OK)
	}
	return id, nodes
}

// TestSharedFileSystemClass: a claim of the shipped class becomes a file system, and asks for one in vain with disks that
// are not sold.
func TestSharedFileSystemClass(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		request := createRequest("pvc-1", 0)
		request.CapacityRange = nil
		request.Parameters = map[string]string{"storage_type": "vfs", "disk_type": "nvme"}
		request.VolumeCapabilities = []*csi.VolumeCapability{capability(csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER)}
		v, err := r.CreateVolume(t.Context(), request)
		want(t, err, codes.OK)
		if f, err := r.api.FileSystem(t.Context(), v.GetVolume().GetVolumeId()); err != nil || f.Label != "pvc-1" || f.SizeGB != 10 || v.GetVolume().GetCapacityBytes() != 10*volume.GiB {
			t.Errorf("made is %+v, %v, answered %v", f, err, v)
		}
		request.Parameters["disk_type"] = "hdd"
		_, err = r.CreateVolume(t.Context(), request)
		want(t, err, codes.InvalidArgument, "disk_type", "nvme")
	})
}

// TestWithoutProofNothingIsGone: a key that may not read file systems cannot prove that an ID is none.
func TestWithoutProofNothingIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id, node := uuid.NewString(), r.instance("node-1")
	forbidden := r.cloud.Fault(simulator.Fault{
		Operation: "get_vfs", Action: simulator.FaultStatus, Status: http.StatusForbidden, Body: `{"error":"Forbidden","status":403}`,
	})
	_, err := r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
	want(t, err, codes.Unavailable, id, "file system", "403")
	want(t, r.unpublish(id, node), codes.Unavailable, id, "403")
	r.cloud.Sim.RemoveFault(forbidden)
	_, err = r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
	want(t, err, codes.OK)
	want(t, r.unpublish(id, node), codes.OK)
}

// TestContentSourceIsPassedOn: what a volume was made from is in its volume context and its publish context, also if
// somebody else made it: the node must not format it.
func TestContentSourceIsPassedOn(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		source := r.create("pvc-source").GetVolumeId()
		s, err := r.api.CreateSnapshot(t.Context(), source, "backup")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.api.WaitSnapshot(t.Context(), s.ID, func(s vultr.Snapshot) (bool, error) { return s.Complete(), nil }); err != nil {
			t.Fatal(err)
		}
		v, err := r.api.CreateVolume(t.Context(), vultr.VolumeRequest{Label: "restored", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf, SnapshotID: s.ID})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.api.WaitVolume(t.Context(), "create", v.ID, func(v vultr.Volume) (bool, error) { return v.Active(), nil }); err != nil {
			t.Fatal(err)
		}
		wanted := "snapshot/" + s.ID
		if got := r.publish(v.ID, node)[volume.ContextContentSource]; got != wanted {
			t.Errorf("the publish context says %q", got)
		}
		read, err := r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: v.ID})
		if got := read.GetVolume().GetVolumeContext()[volume.ContextContentSource]; err != nil || got != wanted {
			t.Errorf("the volume context says %q, %v", got, err)
		}
		if got, ok := r.publish(source, node)[volume.ContextContentSource]; ok {
			t.Errorf("the publish context of an empty volume says %q", got)
		}
		// A claim for an empty volume must not get it.
		_, err = r.CreateVolume(t.Context(), createRequest("restored", 10))
		want(t, err, codes.AlreadyExists, wanted)
	})
}

// TestKindIsFoundOnce: a controller that was just started finds out with one list what all the volumes are that it is
// asked about.
func TestKindIsFoundOnce(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		var ids []string
		for _, name := range []string{"pvc-1", "pvc-2", "pvc-3"} {
			ids = append(ids, r.create(name).GetVolumeId())
		}
		fresh := newRigInBubble(t, r.cloud)
		lists, gets := r.cloud.Count("list_blocks"), r.cloud.Count("get_block")
		for _, id := range ids {
			_, err := fresh.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
			want(t, err, codes.OK)
		}
		if l, g := r.cloud.Count("list_blocks")-lists, r.cloud.Count("get_block")-gets; l != 1 || g != len(ids) {
			t.Errorf("it took %d lists and %d single reads", l, g)
		}
		fresh.publish(ids[0], node)
	})
}
