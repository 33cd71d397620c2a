package node

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
)

// NodeExpandVolume brings the growth of a volume to its user. The size that it answers was measured.
func (s *Service) NodeExpandVolume(ctx context.Context, req *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if err := s.checkVolumePath(req.GetVolumeId(), req.GetVolumePath()); err != nil {
		return nil, about(req.GetVolumeId(), err)
	}
	if staging := req.GetStagingTargetPath(); staging != "" {
		if err := s.checkPath("staging_target_path", staging); err != nil {
			return nil, about(req.GetVolumeId(), err)
		}
	}
	end, err := s.begin(ctx, req.GetVolumeId(), "NodeExpandVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	stager, err := s.stagerOf(req.GetVolumeId(), req.GetVolumePath())
	if err != nil {
		return nil, about(req.GetVolumeId(), err)
	}
	growth := staging.Growth{Required: req.GetCapacityRange().GetRequiredBytes()}
	if growth.Keys, err = keysOf(req.GetSecrets()); err != nil {
		return nil, about(req.GetVolumeId(), err)
	}
	if c := req.GetVolumeCapability(); c.GetBlock() != nil || c.GetMount() != nil {
		block := c.GetBlock() != nil
		growth.Block = &block
	}
	size, err := stager.Expand(ctx, req.GetVolumeId(), req.GetVolumePath(), growth)
	if err != nil {
		return nil, about(req.GetVolumeId(), err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}
