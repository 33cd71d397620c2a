package controller_test

import (
	"net/http"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

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

// TestSharedFileSystemsAreRefused: every call about a shared file system is refused in words, nothing is taken for done,
// and nothing of it changes.
func TestSharedFileSystemsAreRefused(t *testing.T) {
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		node := r.instance("node-1")
		id := r.fileSystem(node)
		for range 2 { // by finding out what it is, and by remembering
			_, err := r.ControllerPublishVolume(t.Context(), publishRequest(id, node))
			want(t, err, codes.FailedPrecondition, id, "vfs")
			want(t, r.unpublish(id, node), codes.FailedPrecondition, id, "vfs", "left as it is")
			_, err = r.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			want(t, err, codes.FailedPrecondition, id, "vfs")
			_, err = r.ControllerExpandVolume(t.Context(), expandRequest(id, 20))
			want(t, err, codes.FailedPrecondition, "vfs")
			_, err = r.ControllerGetVolume(t.Context(), &csi.ControllerGetVolumeRequest{VolumeId: id})
			want(t, err, codes.FailedPrecondition, "vfs")
		}
		a, err := r.api.FileSystemAttachment(t.Context(), id, node)
		if err != nil || !a.Attached() {
			t.Errorf("its attachment is %+v, %v", a, err)
		}
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
