package soak

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ask calls once, beside whatever else there is, and judges the answer's code by those that are right.
func (w *world) ask(what string, right []codes.Code, call func(ctx context.Context, on asked) error) {
	w.count[what]++
	p := w.leading()
	lead := p.lead
	ctx, cancel := context.WithTimeout(lead, time.Minute)
	w.calls.Go(func() {
		err := call(ctx, asked{controller: p})
		canceled := lead.Err() != nil
		cancel()
		w.locked(func() {
			code := status.Code(err)
			allowed := slices.Contains(right, code) || slices.Contains(patient[1:], code) || canceled && code == codes.Canceled
			if !allowed {
				w.fail("a wrong code", "%s: %v", what, err)
			}
		})
	})
}

var ok = []codes.Code{codes.OK}

// readSomething asks for something that changes nothing.
func (w *world) readSomething(s step) {
	if s.b%3 == 0 {
		w.readLists(s)
		return
	}
	var known []*vol
	for _, v := range w.volumes {
		if v.id != "" && (v.op == nil || v.op.name != "delete") {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return
	}
	v := known[s.a%len(known)]
	// A volume that is deleted meanwhile may not be found.
	right := []codes.Code{codes.OK}
	switch s.b % 9 {
	case 1, 2:
		w.ask("get volume", right, func(ctx context.Context, on asked) error {
			resp, err := on.controller.ControllerGetVolume(ctx, &csi.ControllerGetVolumeRequest{VolumeId: v.id})
			if err == nil && resp.GetVolume().GetVolumeId() != v.id {
				err = status.Errorf(codes.DataLoss, "asked for was %s, the answer is %v", v.id, resp)
			}
			return v.unlessDeleted(w, err)
		})
	case 4:
		w.ask("validate", right, func(ctx context.Context, on asked) error {
			resp, err := on.controller.ValidateVolumeCapabilities(ctx, &csi.ValidateVolumeCapabilitiesRequest{
				VolumeId: v.id, VolumeCapabilities: []*csi.VolumeCapability{v.capability()}, VolumeContext: v.context,
			})
			if err == nil && resp.GetConfirmed() == nil {
				err = status.Errorf(codes.DataLoss, "what the volume was made for is not confirmed: %s", resp.GetMessage())
			}
			return v.unlessDeleted(w, err)
		})
	case 5:
		w.ask("get volume health", right, func(ctx context.Context, on asked) error {
			_, err := on.controller.ControllerGetVolumeHealth(ctx, &csi.ControllerGetVolumeHealthRequest{VolumeId: v.id})
			return v.unlessDeleted(w, err)
		})
	default:
		w.readAtNode(v, s)
	}
}

// unlessDeleted leaves out that a volume was not found that was deleted meanwhile.
func (v *vol) unlessDeleted(w *world, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if status.Code(err) == codes.NotFound && (!slices.Contains(w.volumes, v) || v.op != nil && v.op.name == "delete") {
		return nil
	}
	return err
}

// readAtNode asks a plugin for stats and health. A volume that is taken away meanwhile may not be found.
func (w *world) readAtNode(v *vol, s step) {
	for _, u := range v.uses {
		if !u.published {
			continue
		}
		staging, target := w.machines.paths(u.node.id, v.id)
		node := u.node.plugin
		w.ask("stats and health", ok, func(ctx context.Context, _ asked) error {
			_, err := node.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: v.id, VolumePath: target, StagingTargetPath: staging})
			if s.c%2 == 0 {
				_, err = node.NodeGetVolumeHealth(ctx, &csi.NodeGetVolumeHealthRequest{VolumeId: v.id, VolumePublishPath: target, StagingTargetPath: staging})
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if !u.published {
				return nil
			}
			return err
		})
		return
	}
}

// readLists asks for lists, and for what is said of none in particular.
func (w *world) readLists(s step) {
	switch s.b / 3 % 5 {
	case 0:
		w.ask("list volumes", ok, func(ctx context.Context, on asked) error {
			_, err := on.controller.ListVolumes(ctx, &csi.ListVolumesRequest{MaxEntries: int32(s.c % 5)}) //nolint:gosec // small
			return err
		})
	case 1:
		w.ask("list snapshots", ok, func(ctx context.Context, on asked) error {
			_, err := on.controller.ListSnapshots(ctx, &csi.ListSnapshotsRequest{MaxEntries: int32(s.c % 5)}) //nolint:gosec // small
			return err
		})
	case 2:
		w.ask("get capacity", ok, func(ctx context.Context, on asked) error {
			resp, err := on.controller.GetCapacity(ctx, &csi.GetCapacityRequest{Parameters: (&vol{shared: s.c%2 == 0}).parameters()})
			if err == nil && resp.GetAvailableCapacity() == 0 {
				err = status.Error(codes.DataLoss, "nothing is sold")
			}
			return err
		})
	case 3:
		w.ask("list volume health", ok, func(ctx context.Context, on asked) error {
			_, err := on.controller.ControllerListVolumeHealth(ctx, &csi.ControllerListVolumeHealthRequest{})
			return err
		})
	case 4:
		for _, sn := range w.snapshots {
			if sn.ready && sn.op == nil {
				w.ask("get snapshot", ok, func(ctx context.Context, on asked) error {
					resp, err := on.controller.GetSnapshot(ctx, &csi.GetSnapshotRequest{SnapshotId: sn.id})
					if err == nil && resp.GetSnapshot().GetSnapshotId() != sn.id {
						err = status.Errorf(codes.DataLoss, "asked for was %s, the answer is %v", sn.id, resp)
					}
					w.mu.Lock()
					defer w.mu.Unlock()
					if status.Code(err) == codes.NotFound && (sn.op != nil || !slices.Contains(w.snapshots, sn)) {
						return nil
					}
					return err
				})
				return
			}
		}
	}
}

const nobodys = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

// misuse asks for what must be refused, with the code that CSI names for it, and for what is done already.
func (w *world) misuse(s step) {
	var idle, attached []*vol
	for _, v := range w.volumes {
		if v.id == "" || v.op != nil {
			continue
		}
		idle = append(idle, v)
		if len(v.uses) == 1 && v.uses[0].attached && !v.uses[0].node.dead {
			attached = append(attached, v)
		}
	}
	switch {
	case len(attached) > 0 && s.b%3 > 0:
		w.misuseAttached(attached[s.a%len(attached)], s)
	case len(idle) > 0:
		w.misuseIdle(idle[s.a%len(idle)], s)
	}
}

func (w *world) misuseIdle(v *vol, s step) {
	begins := func(name string, right codes.Code, call func(context.Context, asked) error) {
		w.note("misuse: %s of %s", name, v.name)
		w.ask(name, []codes.Code{right}, call)
	}
	switch s.b / 3 % 5 {
	case 0:
		v.needed++ // to create it is right once it is deleted
		begins("create of another size", codes.AlreadyExists, func(ctx context.Context, on asked) error {
			req := v.createRequest()
			req.CapacityRange = &csi.CapacityRange{RequiredBytes: 100 * gib}
			_, err := on.controller.CreateVolume(ctx, req)
			w.locked(func() { v.needed-- })
			return err
		})
	case 1:
		begins("shrink", codes.OutOfRange, func(ctx context.Context, on asked) error {
			_, err := on.controller.ControllerExpandVolume(ctx, &csi.ControllerExpandVolumeRequest{VolumeId: v.id, CapacityRange: &csi.CapacityRange{LimitBytes: 5 * gib}})
			return err
		})
	case 2:
		node := w.node(s.c).id
		begins("publish of nothing", codes.NotFound, func(ctx context.Context, on asked) error {
			_, err := on.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: nobodys, NodeId: node, VolumeCapability: v.capability()})
			return err
		})
	case 3:
		begins("delete of nothing", codes.OK, func(ctx context.Context, on asked) error {
			_, err := on.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: nobodys})
			return err
		})
	case 4:
		begins("snapshot of nothing", codes.NotFound, func(ctx context.Context, on asked) error {
			_, err := on.controller.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: fmt.Sprint("none-", s.c), SourceVolumeId: nobodys})
			return err
		})
	}
}

// misuseAttached deletes a volume that is in use, publishes it where it cannot be, and takes it from where it is not.
func (w *world) misuseAttached(v *vol, s step) {
	id, other := v.id, w.node(v.uses[0].node.place+1).id
	begins := func(name string, right codes.Code, call func(context.Context, asked) error) {
		w.note("misuse: %s of %s", name, v.name)
		w.ask(name, []codes.Code{right}, func(ctx context.Context, on asked) error { return w.ifStillAt(v, call(ctx, on)) })
	}
	switch {
	case s.c%3 == 0:
		begins("delete while attached", codes.FailedPrecondition, func(ctx context.Context, on asked) error {
			_, err := on.controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		})
	case s.c%3 == 1 && !v.shared:
		begins("publish elsewhere", codes.FailedPrecondition, func(ctx context.Context, on asked) error {
			_, err := on.controller.ControllerPublishVolume(ctx, &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: other, VolumeCapability: v.capability()})
			return err
		})
	default:
		begins("unpublish elsewhere", codes.OK, func(ctx context.Context, on asked) error {
			_, err := on.controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: other})
			return err
		})
	}
}

// ifStillAt makes a refusal of what was overtaken one that is right: by an instance that was destroyed, or an unpublish.
func (w *world) ifStillAt(v *vol, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(v.uses) != 1 || v.uses[0].node.dead || !v.uses[0].attached || v.op != nil {
		return status.Error(codes.Unavailable, "overtaken")
	}
	return err
}
