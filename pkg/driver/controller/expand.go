package controller

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
)

// ControllerExpandVolume grows a volume. The node always has to look as well: the guest may see the new size late,
// and only the node can tell that it does.
func (s *Service) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if req.GetVolumeId() != "" && req.GetCapacityRange() == nil {
		return nil, status.Error(codes.InvalidArgument, "capacity_range is missing")
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	if c := req.GetVolumeCapability(); c != nil {
		if err := checkCapabilities([]*csi.VolumeCapability{c}); err != nil {
			return nil, asStatus(err)
		}
	}
	id := platformID(req.GetVolumeId())
	end, err := s.begin(id, "ControllerExpandVolume")
	if err != nil {
		return nil, err
	}
	defer end()
	v, err := s.store.Expand(ctx, id, capacityOf(req.GetCapacityRange()))
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: v.Bytes(), NodeExpansionRequired: true}, nil
}
