// Package controller is the CSI controller service: it judges requests, keeps operations on one volume apart and
// hands the work to a store. It does not know what volumes are made of.
package controller

import (
	"context"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Store is where volumes are kept. Its operations may be cut off and repeated at any point; its errors carry the
// reasons of package volume or are those of the platform's API.
type Store interface {
	Create(ctx context.Context, spec volume.Spec) (volume.Volume, error)
	Delete(ctx context.Context, id string) error
	Attach(ctx context.Context, id, instance string) (volume.Volume, error)
	Detach(ctx context.Context, id, instance string) error
	Expand(ctx context.Context, id string, c volume.Capacity) (volume.Volume, error)
	Get(ctx context.Context, id string) (volume.Volume, error)
	List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error)
}

// RegionSource gives the region of volumes for which nobody names one. It fails while that is not known.
type RegionSource func(ctx context.Context) (string, error)

// Service implements csi.ControllerServer. It is safe for concurrent use.
type Service struct {
	csi.UnimplementedControllerServer

	store         Store
	defaultRegion RegionSource
	busy          inflight.Set
}

// New makes the service.
func New(store Store, defaultRegion RegionSource) *Service {
	return &Service{store: store, defaultRegion: defaultRegion}
}

// Capabilities are what the service announces.
var Capabilities = []csi.ControllerServiceCapability_RPC_Type{
	csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
	csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
	csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
	csi.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES,
	csi.ControllerServiceCapability_RPC_GET_VOLUME,
	csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
}

// ControllerGetCapabilities announces Capabilities.
func (s *Service) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	resp := &csi.ControllerGetCapabilitiesResponse{}
	for _, c := range Capabilities {
		resp.Capabilities = append(resp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: c}},
		})
	}
	return resp, nil
}

// platformID writes an ID as the platform does. People write UUIDs in PersistentVolumes and flags, and some of them in
// capitals.
func platformID(id string) string { return strings.ToLower(id) }

// begin claims the volume for an operation.
func (s *Service) begin(key, operation string) (end func(), err error) {
	end, busyWith := s.busy.Begin(key, operation)
	if busyWith != "" {
		return nil, status.Errorf(codes.Aborted, "%s of volume %s is still under way", busyWith, key)
	}
	return end, nil
}
