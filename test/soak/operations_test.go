package soak

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// choices are the operations that the cluster may begin on a volume as it is. which chooses a node or a size.
func (w *world) choices(v *vol, which int) []func() *op {
	var all []func() *op
	for _, u := range v.uses {
		switch {
		case u.node.dead:
			all = append(all, func() *op { return w.unpublish(v, u) })
		case !u.attached:
			all = append(all, func() *op { return w.publish(v, u) })
		case u.published:
			all = append(all, func() *op { return w.nodeUnpublish(v, u) })
		case u.staged:
			all = append(all, func() *op { return w.nodePublish(v, u) }, func() *op { return w.unstage(v, u) })
		case u.tried:
			all = append(all, func() *op { return w.stage(v, u) }, func() *op { return w.unstage(v, u) })
		default:
			all = append(all, func() *op { return w.stage(v, u) }, func() *op { return w.stage(v, u) }, func() *op { return w.unpublish(v, u) })
		}
		if u.staged && v.grown && !u.node.dead && (u.published || v.fsType != "") && w.machines.growsInUse(v.fsType) {
			all = append(all, func() *op { return w.nodeExpand(v, u) })
		}
	}
	free := slices.DeleteFunc(slices.Clone(w.nodes[:]), func(n *host) bool {
		return slices.ContainsFunc(v.uses, func(u *use) bool { return u.node == n })
	})
	if len(v.uses) == 0 || v.shared && len(free) > 0 && w.machines.apart() {
		n := free[which%len(free)]
		add := func() *op {
			u := &use{node: n}
			v.uses = append(v.uses, u)
			return w.publish(v, u)
		}
		all = append(all, add)
		if !v.shared {
			all = append(all, add, add)
		}
	}
	used := slices.ContainsFunc(v.uses, func(u *use) bool { return u.tried })
	if !v.grown && v.capacity < 60*gib && (!used || v.shared || w.machines.growsInUse(v.fsType)) {
		all = append(all, func() *op { return w.expand(v, v.capacity/gib+int64(1+which%5)) })
	}
	if len(v.uses) == 0 && v.needed == 0 {
		all = append(all, func() *op { return w.deleteVolume(v) })
	}
	if !v.shared {
		all = append(all, func() *op { return w.modify(v, []string{"", "team a", "team b"}[which%3]) })
	}
	return all
}

func (w *world) publish(v *vol, u *use) *op {
	req := &csi.ControllerPublishVolumeRequest{VolumeId: v.id, NodeId: u.node.id, VolumeCapability: v.capability(), VolumeContext: v.context}
	o := &op{name: "publish", vol: v, use: u, call: func(ctx context.Context, on asked) (func(), error) {
		resp, err := on.controller.ControllerPublishVolume(ctx, req)
		return func() {
			u.context, u.attached = resp.GetPublishContext(), true
			at, settled := holds(w.cloud.Sim.View(), v.id, u.node.id)
			// What is going back has been published: a look that is old shows it where it was by chance.
			if goingBack := slices.Contains(v.been, u.node.id) && w.isGoing(v, u.node.id); goingBack {
				settled = true
			}
			v.been = append(v.been, u.node.id)
			if !u.node.dead && (!settled || !slices.Contains(at, u.node.id)) {
				w.fail("a wrong publish", "volume %s (%s) is told to be at %s, it is at %v, settled %t", v.id, v.name, u.node.id, at, settled)
			}
		}, err
	}}
	return o
}

// isGoing reports whether a disk is about to be attached to an instance.
func (w *world) isGoing(v *vol, instance string) bool {
	return slices.ContainsFunc(w.cloud.Sim.View().Blocks, func(b simulator.BlockView) bool {
		return b.ID == v.id && b.Pending == "attach" && b.PendingInstance == instance
	})
}

func (w *world) unpublish(v *vol, u *use) *op {
	req := &csi.ControllerUnpublishVolumeRequest{VolumeId: v.id, NodeId: u.node.id}
	return &op{name: "unpublish", vol: v, use: u, call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.controller.ControllerUnpublishVolume(ctx, req)
		return func() {
			v.been = append(v.been, u.node.id)
			v.uses = slices.DeleteFunc(v.uses, func(o *use) bool { return o == u })
			if at, _ := holds(w.cloud.Sim.View(), v.id, u.node.id); slices.Contains(at, u.node.id) && !u.node.dead {
				w.fail("a wrong unpublish", "volume %s (%s) is told not to be at %s, it is at %v", v.id, v.name, u.node.id, at)
			}
		}, err
	}}
}

func (w *world) stage(v *vol, u *use) *op {
	u.tried = true
	staging, _ := w.machines.paths(u.node.id, v.id)
	req := &csi.NodeStageVolumeRequest{
		VolumeId: v.id, PublishContext: u.context, StagingTargetPath: staging, VolumeCapability: v.capability(), VolumeContext: v.context,
	}
	return &op{name: "stage", vol: v, use: u, at: u.node, call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.node.NodeStageVolume(ctx, req)
		return func() {
			u.staged, v.formatted = true, true
			v.grown = v.grown && w.machines.growsInUse(v.fsType) // else the stage has seen to it
			w.staged[[2]string{v.id, u.node.id}] = v
		}, err
	}}
}

func (w *world) unstage(v *vol, u *use) *op {
	staging, _ := w.machines.paths(u.node.id, v.id)
	u.staged = false // from now on nobody may rely on it
	return &op{name: "unstage", vol: v, use: u, at: u.node, call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: v.id, StagingTargetPath: staging})
		return func() {
			u.tried = false
			delete(w.staged, [2]string{v.id, u.node.id})
		}, err
	}}
}

func (w *world) nodePublish(v *vol, u *use) *op {
	staging, target := w.machines.paths(u.node.id, v.id)
	req := &csi.NodePublishVolumeRequest{
		VolumeId: v.id, PublishContext: u.context, StagingTargetPath: staging, TargetPath: target, VolumeCapability: v.capability(), VolumeContext: v.context,
	}
	return &op{name: "node publish", vol: v, use: u, at: u.node, call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.node.NodePublishVolume(ctx, req)
		return func() {
			u.published = true
			w.verify(v, u)
		}, err
	}}
}

func (w *world) nodeUnpublish(v *vol, u *use) *op {
	_, target := w.machines.paths(u.node.id, v.id)
	u.published = false
	return &op{name: "node unpublish", vol: v, use: u, at: u.node, call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.id, TargetPath: target})
		return func() {}, err
	}}
}

func (w *world) expand(v *vol, sizeGiB int64) *op {
	req := &csi.ControllerExpandVolumeRequest{VolumeId: v.id, CapacityRange: &csi.CapacityRange{RequiredBytes: sizeGiB * gib}, VolumeCapability: v.capability()}
	return &op{name: "expand", vol: v, call: func(ctx context.Context, on asked) (func(), error) {
		resp, err := on.controller.ControllerExpandVolume(ctx, req)
		return func() {
			size, _, _ := w.inTruth(v)
			if resp.GetCapacityBytes() < sizeGiB*gib || resp.GetCapacityBytes() != int64(size)*gib {
				w.fail("a wrong expand", "volume %s (%s) is told to have %d bytes, asked for were %d GiB, it has %d", v.id, v.name, resp.GetCapacityBytes(), sizeGiB, size)
			}
			v.capacity, v.grown = resp.GetCapacityBytes(), resp.GetNodeExpansionRequired()
		}, err
	}}
}

func (w *world) nodeExpand(v *vol, u *use) *op {
	staging, target := w.machines.paths(u.node.id, v.id)
	req := &csi.NodeExpandVolumeRequest{
		VolumeId: v.id, VolumePath: staging, StagingTargetPath: staging, CapacityRange: &csi.CapacityRange{RequiredBytes: v.capacity}, VolumeCapability: v.capability(),
	}
	if u.published {
		req.VolumePath = target
	}
	// FailedPrecondition: the guest does not see the new size yet.
	return &op{name: "node expand", vol: v, use: u, at: u.node, codes: []codes.Code{codes.FailedPrecondition}, call: func(ctx context.Context, on asked) (func(), error) {
		resp, err := on.node.NodeExpandVolume(ctx, req)
		return func() {
			v.grown = false
			if resp.GetCapacityBytes() < req.GetCapacityRange().GetRequiredBytes() {
				w.fail("a wrong node expand", "volume %s (%s) has %d bytes at the node, the platform %d", v.id, v.name, resp.GetCapacityBytes(), v.capacity)
			}
		}, err
	}}
}

func (w *world) modify(v *vol, note string) *op {
	return &op{name: "modify", vol: v, call: func(ctx context.Context, on asked) (func(), error) {
		w.locked(func() { v.asking = append(v.asking, note) })
		_, err := on.controller.ControllerModifyVolume(ctx, &csi.ControllerModifyVolumeRequest{VolumeId: v.id, MutableParameters: map[string]string{"label": note}})
		w.locked(func() {
			v.asking = slices.Delete(v.asking, slices.Index(v.asking, note), slices.Index(v.asking, note)+1)
			if err != nil {
				v.late = append(v.late, note)
			}
		})
		return func() {
			v.note = note
			v.late = append(v.late, v.asking...)
		}, err
	}}
}

func (w *world) deleteVolume(v *vol) *op {
	return &op{name: "delete", vol: v, call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: v.id})
		return func() {
			if size, _, _ := w.inTruth(v); size != 0 {
				w.fail("a wrong delete", "volume %s (%s) is told to be deleted, and is there", v.id, v.name)
			}
			w.volumes = slices.DeleteFunc(w.volumes, func(o *vol) bool { return o == v })
			w.free = append(w.free, v.name)
		}, err
	}}
}

// snap is a snapshot as the cluster knows it.
type snap struct {
	name   string
	of     *vol
	began  time.Time
	id     string
	ready  bool
	fsType string
	// formatted is set when its volume had been staged.
	formatted bool
	sizeGiB   int64
	texts     []string // one of them it has
	op        *op
	// using counts the volumes that are being made from it.
	using int
}

func (w *world) newSnapshot(v *vol) *op {
	w.names++
	s := &snap{name: fmt.Sprintf("snapshot-%08d-0000-4000-8000-000000000000", w.names), of: v, began: time.Now(), fsType: v.fsType, formatted: v.formatted}
	w.snapshots = append(w.snapshots, s)
	v.needed++
	s.op = w.createSnapshot(s)
	return s.op
}

// errNotReady is what the snapshotter makes of a snapshot that is not complete.
type notReadyError struct{}

func (notReadyError) Error() string { return "the snapshot is not ready" }

func (w *world) createSnapshot(s *snap) *op {
	return &op{name: "snapshot", vol: s.of, call: func(ctx context.Context, on asked) (func(), error) {
		resp, err := on.controller.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: s.name, SourceVolumeId: s.of.id})
		told := resp.GetSnapshot()
		if err == nil {
			w.locked(func() { w.toldSnapshot(s, told) })
			if !told.GetReadyToUse() {
				err = notReadyError{}
			}
		}
		return func() {
			s.ready, s.sizeGiB = true, told.GetSizeBytes()/gib
			s.texts = s.of.data.between(s.began, time.Now())
			s.of.needed--
		}, err
	}}
}

// toldSnapshot compares an answer with the platform.
func (w *world) toldSnapshot(s *snap, told *csi.Snapshot) {
	if s.id != "" && s.id != told.GetSnapshotId() {
		w.fail("two snapshots of a name", "snapshot %s was told to be %s, then %s", s.name, s.id, told.GetSnapshotId())
	}
	s.id = told.GetSnapshotId()
	w.told[s.name] = toldSnapshot{s.id, told.GetCreationTime().GetSeconds()}
	for _, view := range w.cloud.Sim.View().Snapshots {
		if view.ID != s.id {
			continue
		}
		if told.GetReadyToUse() && view.State != "COMPLETE" || view.Description != s.name || view.BlockID != s.of.id {
			w.fail("a wrong snapshot", "told was %v, the platform has %+v", told, view)
		}
		return
	}
	w.fail("a wrong snapshot", "told was %v, the platform has none", told)
}

func (w *world) deleteSnapshot(s *snap) *op {
	return &op{name: "delete snapshot", call: func(ctx context.Context, on asked) (func(), error) {
		_, err := on.controller.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: s.id})
		return func() {
			for _, view := range w.cloud.Sim.View().Snapshots {
				if view.ID == s.id {
					w.fail("a wrong delete", "snapshot %s (%s) is told to be deleted, and is there", s.id, s.name)
				}
			}
			w.snapshots = slices.DeleteFunc(w.snapshots, func(o *snap) bool { return o == s })
		}, err
	}}
}
