package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// NodePublishVolume shows a staged volume to a pod.
func (s *Service) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	v, stager, err := s.checkPublish(req)
	if err != nil {
		return nil, about(v.ID, err)
	}
	end, err := s.begin(ctx, v.ID, "NodePublishVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	if err := stager.Publish(ctx, v, req.GetStagingTargetPath(), req.GetTargetPath()); err != nil {
		return nil, about(v.ID, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (s *Service) checkPublish(req *csi.NodePublishVolumeRequest) (staging.Volume, Stager, error) {
	v := staging.Volume{ID: req.GetVolumeId(), Context: req.GetVolumeContext(), Published: req.GetPublishContext()}
	switch {
	case v.ID == "":
		return v, nil, missing("volume_id")
	case req.GetVolumeCapability() == nil:
		return v, nil, missing("volume_capability")
	}
	if err := s.checkPath("target_path", req.GetTargetPath()); err != nil {
		return v, nil, err
	}
	kind, stager, err := s.stagerFor(v.Published)
	if err != nil {
		return v, nil, err
	}
	if v.Use, err = parseUse(kind, req.GetVolumeCapability()); err != nil {
		return v, nil, err
	}
	v.Use.ReadOnly = v.Use.ReadOnly || req.GetReadonly() || v.PublishedReadOnly()
	if err := rpcerr.CheckVolumeID(v.ID); err != nil {
		return v, nil, err
	}
	if req.GetStagingTargetPath() == "" {
		return v, nil, volume.Errorf(volume.InUse, "staging_target_path is missing: a volume is staged before it is published")
	}
	if err := s.checkPath("staging_target_path", req.GetStagingTargetPath()); err != nil {
		return v, nil, err
	}
	if err := addEncryption(&v, kind, req.GetSecrets()); err != nil {
		return v, nil, err
	}
	return v, stager, nil
}

// NodeUnpublishVolume takes a volume from a pod's path and removes the path.
func (s *Service) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	err := s.undo(ctx, req.GetVolumeId(), "NodeUnpublishVolume", "target_path", req.GetTargetPath(), Stager.Unpublish)
	if err != nil {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}
