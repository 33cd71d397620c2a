package vm

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pace is how long a sidecar pauses before it repeats a call.
const pace = 500 * time.Millisecond

// insist repeats a call as the sidecars do, until it succeeds.
func insist(t *testing.T, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callPatience)
	defer cancel()
	again := time.NewTicker(pace)
	defer again.Stop()
	for {
		err := call(ctx)
		switch status.Code(err) { //nolint:exhaustive // the others are final
		case codes.OK:
			return
		case codes.Aborted, codes.Unavailable, codes.DeadlineExceeded:
		default:
			t.Fatal(err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// create makes a volume.
func (p *platform) create(t *testing.T, size int64, capability *csi.VolumeCapability, parameters map[string]string, source *csi.VolumeContentSource) *csi.Volume {
	t.Helper()
	request := &csi.CreateVolumeRequest{
		Name: "pvc-" + uuid.NewString(), CapacityRange: &csi.CapacityRange{RequiredBytes: size}, VolumeCapabilities: []*csi.VolumeCapability{capability},
		Parameters: parameters, VolumeContentSource: source,
	}
	var v *csi.Volume
	insist(t, func(ctx context.Context) error {
		resp, err := p.CreateVolume(ctx, request)
		v = resp.GetVolume()
		return err
	})
	return v
}

// deleteVolume deletes a volume that nobody has.
func (p *platform) deleteVolume(t *testing.T, v *csi.Volume) {
	t.Helper()
	insist(t, func(ctx context.Context) error {
		_, err := p.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.GetVolumeId()})
		return err
	})
}

// enter attaches a volume to a guest, and brings it to a pod there by what the controller returned.
func (p *platform) enter(t *testing.T, guest int, v *csi.Volume, capability *csi.VolumeCapability) *rig {
	t.Helper()
	p.mu.Lock()
	b := p.guests[p.instances[guest]]
	p.mu.Unlock()
	r := newRigIn(t, b, capability, v.GetVolumeId(), "")
	r.context = v.GetVolumeContext()
	insist(t, func(ctx context.Context) error {
		resp, err := p.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{
			VolumeId: r.id, NodeId: p.instances[guest], VolumeCapability: capability, VolumeContext: r.context,
		})
		r.about = resp.GetPublishContext()
		return err
	})
	for range 2 {
		r.up()
	}
	return r
}

// leave takes a volume from its pod and its guest.
func (p *platform) leave(r *rig, guest int) {
	r.t.Helper()
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	if n := r.mounts(); n != 0 {
		r.t.Errorf("%d mounts are left", n)
	}
	insist(r.t, func(ctx context.Context) error {
		_, err := p.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: r.id, NodeId: p.instances[guest]})
		return err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.at[r.id]; at != "" {
		r.t.Errorf("the disk is still plugged into instance %s", at)
	}
}

// isEmpty waits until the platform has thrown everything away.
func (p *platform) isEmpty(t *testing.T) {
	t.Helper()
	insist(t, func(context.Context) error {
		p.mu.Lock()
		disks, snapshots, shares := len(p.disks), len(p.snapshots), len(p.shares)
		p.mu.Unlock()
		systems, err := guestShares{p}.List(t.Context())
		if err != nil {
			return err
		}
		if disks+snapshots+shares+len(systems) > 0 {
			return status.Errorf(codes.Unavailable, "there are still %d disks, %d snapshots, %d file systems, %d attached", disks, snapshots, len(systems), shares)
		}
		return nil
	})
}

// TestPlatformOfGuests: the controller orders by the API of a simulated cloud, which plugs into guests what it attaches: the same
// disks and file systems, by the serials and tags that the controller tells the node plugins.
func TestPlatformOfGuests(t *testing.T) {
	needGuest(t)
	p := newPlatform(t, &shared.box, another(t))
	t.Run("disk", func(t *testing.T) { diskOfThePlatform(t, p) })
	t.Run("file system", func(t *testing.T) { fileSystemOfThePlatform(t, p) })
	p.isEmpty(t)
}

// diskOfThePlatform: a volume grows in use, goes to another guest, and a copy of it to the first.
func diskOfThePlatform(t *testing.T, p *platform) {
	const size, grown = 10 * gib, 12 * gib
	capability, parameters := mounted("ext4"), map[string]string{"storage_type": "block", "disk_type": "nvme"}
	v := p.create(t, size, capability, parameters, nil)
	a := p.enter(t, 0, v, capability)
	a.write(a.target, "file", "data")
	held := a.open(a.target, "held")

	insist(t, func(ctx context.Context) error {
		resp, err := p.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{
			VolumeId: a.id, CapacityRange: &csi.CapacityRange{RequiredBytes: grown}, VolumeCapability: capability,
		})
		if err == nil && (resp.GetCapacityBytes() != grown || !resp.GetNodeExpansionRequired()) {
			t.Errorf("expanded: %v", resp)
		}
		return err
	})
	if got, err := a.expand(a.target, grown); err != nil || got != grown {
		t.Errorf("expanded in the guest: %d, %v", got, err)
	}
	if total, err := a.total(a.target); err != nil || total < grown*9/10 {
		t.Errorf("it has %d bytes of %d, %v", total, grown, err)
	}
	if errno := held.write("data"); errno != 0 {
		t.Error(errno)
	}
	held.end()

	snapshot := p.snapshot(t, v)
	a.write(a.target, "later", "after the snapshot")
	p.leave(a, 0)
	b := p.enter(t, 1, v, capability)
	b.wantFile(b.target, "file", "data")
	b.wantFile(b.target, "later", "after the snapshot")

	source := &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot}}}
	restored := p.create(t, grown, capability, parameters, source)
	c := p.enter(t, 0, restored, capability)
	c.wantFile(c.target, "file", "data")
	if text, err := c.agent.Read(c.soon(), filepath.Join(c.target, "later")); err == nil {
		t.Errorf("the copy has what was written after the snapshot: %q", text)
	}
	p.leave(b, 1)
	p.leave(c, 0)
	p.deleteVolume(t, v)
	p.deleteVolume(t, restored)
	insist(t, func(ctx context.Context) error {
		_, err := p.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: snapshot})
		return err
	})
}

// snapshot makes a snapshot, and returns when volumes can be made from it.
func (p *platform) snapshot(t *testing.T, v *csi.Volume) (id string) {
	t.Helper()
	request := &csi.CreateSnapshotRequest{SourceVolumeId: v.GetVolumeId(), Name: "snapshot-" + uuid.NewString()}
	insist(t, func(ctx context.Context) error {
		resp, err := p.CreateSnapshot(ctx, request)
		id = resp.GetSnapshot().GetSnapshotId()
		if err == nil && !resp.GetSnapshot().GetReadyToUse() {
			err = status.Error(codes.Unavailable, "it is not ready")
		}
		return err
	})
	return id
}

// fileSystemOfThePlatform: two guests have a file system, each by the tag that the controller told it.
func fileSystemOfThePlatform(t *testing.T, p *platform) {
	capability := forMany(readWrite)
	v := p.create(t, 10*gib, capability, map[string]string{"storage_type": "vfs", "disk_type": "nvme"}, nil)
	a, b := p.enter(t, 0, v, capability), p.enter(t, 1, v, capability)
	a.write(a.target, "file", "of the first")
	b.wantFile(b.target, "file", "of the first")
	p.leave(a, 0)
	b.write(b.target, "file", "of the second")
	again := p.enter(t, 0, v, capability)
	again.wantFile(again.target, "file", "of the second")
	p.leave(again, 0)
	p.leave(b, 1)
	p.deleteVolume(t, v)
}
