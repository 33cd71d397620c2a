package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// ControllerExpandVolume grows a volume.
func (s *Service) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if req.GetVolumeId() != "" && req.GetCapacityRange() == nil {
		return nil, status.Error(codes.InvalidArgument, "capacity_range is missing")
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	id := platformID(req.GetVolumeId())
	end, err := s.begin(id, "ControllerExpandVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	v, nodeStep, err := s.expand(ctx, id, req)
	if err != nil {
		return nil, about(id, "", err)
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Bytes(), NodeExpansionRequired: nodeStep}, nil
}

func (s *Service) expand(ctx context.Context, id string, req *csi.ControllerExpandVolumeRequest) (volume.Volume, bool, error) {
	backend, err := s.volumes.Of(ctx, id)
	if err != nil {
		return volume.Volume{}, false, err
	}
	if c := req.GetVolumeCapability(); c != nil {
		accesses, err := accessesOf([]*csi.VolumeCapability{c})
		if err == nil {
			err = backend.CheckAccess(accesses)
		}
		if err != nil {
			return volume.Volume{}, false, err
		}
	}
	return backend.Expand(ctx, id, capacityOf(req.GetCapacityRange()))
}
