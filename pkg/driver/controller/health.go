package controller

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/health"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// healthAge is how old the lists may be that health is read from: so it is usually read from what is read anyway.
const healthAge = time.Minute

// ControllerGetVolumeHealth says what the platform shows to be wrong with a volume.
func (s *Service) ControllerGetVolumeHealth(ctx context.Context, req *csi.ControllerGetVolumeHealthRequest) (*csi.ControllerGetVolumeHealthResponse, error) {
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	conditions, err := s.examine(ctx, platformID(req.GetVolumeId()))
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.ControllerGetVolumeHealthResponse{VolumeHealth: health.ToCSI(req.GetVolumeId(), conditions)}, nil
}

func (s *Service) examine(ctx context.Context, id string) ([]volume.Condition, error) {
	backend, err := s.volumes.Of(ctx, id)
	if err != nil {
		return nil, err
	}
	examiner, can := backend.(volume.Examiner)
	if !can {
		_, err := backend.Read(ctx, id)
		return nil, err // nothing is known to be wrong with a volume that exists
	}
	return examiner.Examine(ctx, id)
}

// ControllerListVolumeHealth lists the volumes with which something is wrong, ordered by ID. It pages as ListVolumes does.
func (s *Service) ControllerListVolumeHealth(ctx context.Context, req *csi.ControllerListVolumeHealthRequest) (*csi.ControllerListVolumeHealthResponse, error) {
	if req.GetMaxEntries() < 0 {
		return nil, status.Errorf(codes.InvalidArgument, "max_entries is %d, it must not be negative", req.GetMaxEntries())
	}
	after, err := parseToken(req.GetStartingToken())
	if err != nil {
		return nil, err
	}
	all, err := s.volumes.ExamineAll(ctx, healthAge)
	if err != nil {
		return nil, asStatus(err)
	}
	unwell := slices.Sorted(maps.Keys(all))
	page, more := pageAfter(unwell, func(id string) string { return id }, after, int(req.GetMaxEntries()))
	resp := &csi.ControllerListVolumeHealthResponse{}
	for _, id := range page {
		resp.Entries = append(resp.Entries, health.ToCSI(id, all[id]))
	}
	if more {
		resp.NextToken = token(page[len(page)-1])
	}
	return resp, nil
}
