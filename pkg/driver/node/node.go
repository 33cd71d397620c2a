// Package node is the CSI node service: it finds disks, makes and mounts their file systems and shows them to
// pods. It talks to nobody but the machine it runs on.
package node

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
)

const (
	// defaultPatience is how long the node waits for a disk to appear, to show a new size, or to be let go.
	defaultPatience = 30 * time.Second
	// formatsAtOnce bounds the memory of mkfs.
	formatsAtOnce = 2
)

// Self is what the node is called.
type Self struct {
	ID     string // the instance's UUID
	Region string
	// OfficialRegion is what the official driver reports as the node's region, to be reported too; "" reports nothing.
	OfficialRegion string
}

// Config is what the service needs.
type Config struct {
	// Self tells who the node is; it may fail while nobody knows yet.
	Self func(ctx context.Context) (Self, error)
	// MaxVolumes is how many volumes the node can have.
	MaxVolumes int64
	Finder     device.Finder
	State      *state.Store
	// KubeletRoot is the kubelet's directory, absolute. Nothing is mounted or unmounted outside of it; "" is no limit.
	KubeletRoot string
	// BootID is the present boot of the machine.
	BootID string
	// Patience is how long to wait for devices; 0 is 30 seconds.
	Patience time.Duration
}

// Service implements csi.NodeServer. It is safe for concurrent use.
type Service struct {
	csi.UnimplementedNodeServer

	cfg       Config
	formatter *blockfs.Formatter
	busy      inflight.Set
	looks     looks
}

// New makes the service.
func New(cfg Config) *Service {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.KubeletRoot != "" {
		cfg.KubeletRoot = filepath.Clean(cfg.KubeletRoot)
	}
	return &Service{cfg: cfg, formatter: blockfs.NewFormatter(formatsAtOnce)}
}

// Capabilities are what the service announces.
var Capabilities = []csi.NodeServiceCapability_RPC_Type{
	csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
	csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
	csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
}

// NodeGetCapabilities announces Capabilities.
func (s *Service) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, c := range Capabilities {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: c}},
		})
	}
	return resp, nil
}

// NodeGetInfo says who and where the node is. Unless told otherwise it reports the driver's own topology key only: the
// kubelet refuses a registration that reports another value for a key than a label that the node already has.
func (s *Service) NodeGetInfo(ctx context.Context, _ *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	self, err := s.cfg.Self(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "it is not known yet which instance this is: %v", err)
	}
	return &csi.NodeGetInfoResponse{
		NodeId:             self.ID,
		MaxVolumesPerNode:  s.cfg.MaxVolumes,
		AccessibleTopology: &csi.Topology{Segments: topology.NodeSegments(self.Region, self.OfficialRegion)},
	}, nil
}

// begin claims the volume for an operation.
func (s *Service) begin(volumeID, operation string) (end func(), err error) {
	end, busyWith := s.busy.Begin(strings.ToLower(volumeID), operation)
	if busyWith != "" {
		return nil, status.Errorf(codes.Aborted, "%s of volume %s is still under way", busyWith, volumeID)
	}
	return end, nil
}

func asStatus(err error) error { return rpcerr.Status(err) }

func missing(field string) error {
	return status.Errorf(codes.InvalidArgument, "%s is missing", field)
}
