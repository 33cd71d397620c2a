package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// ControllerPublishVolume attaches a volume to an instance.
func (s *Service) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	accesses, err := checkPublish(req)
	if err != nil {
		return nil, about(req.GetVolumeId(), req.GetNodeId(), err)
	}
	id, node := platformID(req.GetVolumeId()), platformID(req.GetNodeId())
	key := id
	if !slices.ContainsFunc(accesses, func(a volume.Access) bool { return a.Mode.SingleNode() }) {
		key = atInstance(id, node) // several nodes get the volume, and none has to wait for another
	}
	end, err := s.begin(key, "ControllerPublishVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.checkReadOnly(ctx, id, node, req.GetReadonly()); err != nil {
		return nil, about(id, node, err)
	}
	a, err := s.volumes.Attach(ctx, id, node, accesses)
	if errors.Is(err, volume.ErrOtherRegion) {
		// The error shows with the pod. Of the two it is the claim that has to change, or where its pods may run.
		s.warner.Warn(ctx, events.Claim{Volume: id}, events.OtherRegion, err.Error()+". Its pods can run in that region only: "+
			"a PersistentVolume without node affinity does not tell the scheduler so")
	}
	if err != nil {
		return nil, about(id, node, err)
	}
	s.published.as(id, node, req.GetReadonly())
	return &csi.ControllerPublishVolumeResponse{PublishContext: publishContext(a, req.GetReadonly())}, nil
}

// atInstance is the key of operations on a volume that concern one instance alone.
func atInstance(id, node string) string { return id + " at instance " + node }

// publishContext is what the node needs to know to find the volume and to handle it right.
func publishContext(a volume.Attachment, readOnly bool) map[string]string {
	about := map[string]string{
		volume.ContextSerial:      a.Serial,
		volume.ContextStorageType: string(a.Volume.Kind),
	}
	if !a.Volume.Source.IsZero() {
		about[volume.ContextContentSource] = a.Volume.Source.String()
	}
	if readOnly {
		about[volume.ContextReadOnly] = "true"
	}
	return about
}

// checkPublish judges the request: what is missing first, then what names nothing that can exist.
func checkPublish(req *csi.ControllerPublishVolumeRequest) ([]volume.Access, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, volume.Errorf(volume.Invalid, "volume_id is missing")
	case req.GetNodeId() == "":
		return nil, volume.Errorf(volume.Invalid, "node_id is missing")
	case req.GetVolumeCapability() == nil:
		return nil, volume.Errorf(volume.Invalid, "volume_capability is missing")
	}
	accesses, err := accessesOf([]*csi.VolumeCapability{req.GetVolumeCapability()})
	if err != nil {
		return nil, err
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	return accesses, checkNodeID(req.GetNodeId())
}

func checkNodeID(id string) error {
	if !volume.ValidID(id) {
		return status.Errorf(codes.NotFound, "node %q does not exist: IDs of nodes are the UUIDs of instances", id)
	}
	return nil
}

// ControllerUnpublishVolume detaches a volume from an instance, or from whichever has it when none is named.
func (s *Service) ControllerUnpublishVolume(ctx context.Context, req *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume_id is missing")
	}
	// A malformed volume or instance ID names nothing, so there is nothing to detach. Another answer than success,
	// NotFound included, would be repeated by the attacher for ever, and the finalizers that it removes only after a
	// success would keep a PersistentVolume with a mistyped handle from ever being deleted.
	id, node := platformID(req.GetVolumeId()), platformID(req.GetNodeId())
	if !volume.ValidID(id) || (node != "" && !volume.ValidID(node)) {
		return &csi.ControllerUnpublishVolumeResponse{}, nil
	}
	endThere, err := s.begin(atInstance(id, node), "ControllerUnpublishVolume")
	if err != nil {
		return nil, err
	}
	defer endThere()
	// A drain or a rollout takes a ReadWriteMany volume from several instances at once. Which kind of volume it is the request
	// does not say, so they are taken one after the other; refused calls would come again later and later.
	turn, err := s.leaving.Enter(ctx, id)
	if err != nil {
		return nil, about(id, node, fmt.Errorf("waiting until volume %s is unpublished from another instance: %w", id, err))
	}
	defer turn.Leave()
	end, err := s.begin(id, "ControllerUnpublishVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := s.volumes.Detach(ctx, id, node); err != nil {
		return nil, about(id, node, err)
	}
	s.published.forget(id, node)
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}
