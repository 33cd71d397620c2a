// Package controller is the CSI controller service: it translates requests, keeps operations on one volume apart, and
// hands the work to the backend that has the volume. It does not know what volumes are made of.
package controller

import (
	"context"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/events"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Volumes finds the backend of a volume.
type Volumes interface {
	// For returns the backend of a kind, for a volume that does not exist yet. Of returns the backend that has the
	// volume; NotFound is proof that none has it.
	For(kind volume.Kind) (volume.Backend, error)
	Of(ctx context.Context, id string) (volume.Backend, error)
	// Attach gives the volume of whichever kind to an instance, if its kind can be used so.
	Attach(ctx context.Context, id, instance string, accesses []volume.Access) (volume.Attachment, error)
	// Detach takes the volume of whichever kind from an instance, "" for every one that has it. It is success when it is
	// proven that the instance does not have it.
	Detach(ctx context.Context, id, instance string) error
	// Delete removes the volume of whichever kind; one that is proven not to exist is success.
	Delete(ctx context.Context, id string) error
	// Made notes the kind of a volume that a backend made or found.
	Made(v volume.Volume)
	// List returns the volumes of all kinds, ordered by ID.
	List(ctx context.Context, maxAge time.Duration) ([]volume.Volume, error)
	// Snapshotter returns the backend that has snapshots.
	Snapshotter() (volume.Snapshotter, error)
	// ExamineAll returns the volumes of all kinds with which something is wrong, and what.
	ExamineAll(ctx context.Context, maxAge time.Duration) (map[string][]volume.Condition, error)
}

// RegionSource returns the region of volumes for which nobody names one. It fails while that is not known.
type RegionSource func(ctx context.Context) (string, error)

// Service implements csi.ControllerServer. It is safe for concurrent use.
type Service struct {
	csi.UnimplementedControllerServer

	volumes       Volumes
	defaultRegion RegionSource
	warner        events.Warner
	busy          inflight.Set
	leaving       inflight.Queue // volumes that are unpublished
	published     publications
}

// New makes the service. What the owners of claims should know goes to the warner.
func New(volumes Volumes, defaultRegion RegionSource, warner events.Warner) *Service {
	return &Service{volumes: volumes, defaultRegion: defaultRegion, warner: warner, published: newPublications()}
}

// Capabilities are what the service announces.
var Capabilities = []csi.ControllerServiceCapability_RPC_Type{
	csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
	csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
	csi.ControllerServiceCapability_RPC_PUBLISH_READONLY,
	csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
	csi.ControllerServiceCapability_RPC_LIST_VOLUMES_PUBLISHED_NODES,
	csi.ControllerServiceCapability_RPC_GET_VOLUME,
	csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
	csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
	csi.ControllerServiceCapability_RPC_GET_SNAPSHOT,
	csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
	csi.ControllerServiceCapability_RPC_GET_CAPACITY,
	csi.ControllerServiceCapability_RPC_GET_VOLUME_HEALTH,
	csi.ControllerServiceCapability_RPC_LIST_VOLUME_HEALTH,
	csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	csi.ControllerServiceCapability_RPC_MODIFY_VOLUME,
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

// asStatus gives an error its gRPC code.
func asStatus(err error) error { return rpcerr.Status(err) }

// about is asStatus of what concerns a volume, by its ID or name, and, unless that is "", an instance: the error names them.
func about(id, node string, err error) error {
	return asStatus(rpcerr.About(rpcerr.About(err, "instance", node), "volume", id))
}

// begin claims the volume for an operation.
func (s *Service) begin(key, operation string) (end func(), err error) {
	end, busyWith := s.busy.Begin(key, operation)
	if busyWith != "" {
		return nil, status.Errorf(codes.Aborted, "%s of volume %s is still under way", busyWith, key)
	}
	return end, nil
}
