// Package node is the CSI node service: it finds disks, makes and mounts their file systems, mounts shared ones, and
// shows them to pods. It talks to nobody but the machine it runs on.
package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockstage"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/topology"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/vfsstage"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// defaultPatience is how long the node waits for a disk to appear, to show a new size, or to be no longer in use.
const defaultPatience = 30 * time.Second

// Self is what the kubelet is told of the node.
type Self struct {
	ID     string // the instance's UUID
	Region string
	// OfficialRegion is what the official driver reports as the node's region, to be reported too; "" reports nothing.
	OfficialRegion string
	// MaxVolumes is how many volumes the node can have.
	MaxVolumes int64
}

// Config is what the service needs.
type Config struct {
	// Self tells who the node is; it may fail while nobody knows yet, or for a reason that somebody has to do away with.
	Self   func(ctx context.Context) (Self, error)
	Finder device.Finder
	// VFSDir is where shared file systems appear as directories named by their tags; "" is a real machine, with virtiofs.
	VFSDir string
	State  *state.Store
	// KubeletRoot is the kubelet's directory, absolute. Nothing is mounted or unmounted outside of it; "" is no limit.
	KubeletRoot string
	// BootID is the present boot of the machine.
	BootID string
	// Patience is how long to wait for devices; 0 is 30 seconds.
	Patience time.Duration
	// Registerer is where metrics go; nil is nowhere.
	Registerer prometheus.Registerer
}

// Service implements csi.NodeServer. It is safe for concurrent use.
type Service struct {
	csi.UnimplementedNodeServer

	cfg     Config
	stagers map[volume.Kind]Stager
	shared  *vfsstage.Stager // the stager of volume.VFS
	busy    inflight.Set
	work    longwork.Runner
	looks   looks.Looks
	// measured are the last stats of each volume.
	measured   measurements
	complaints complaints
	// told is how many volumes the kubelet was told last that the node can have, 0 before it asked.
	told atomic.Int64
}

// New makes the service.
func New(cfg Config) *Service {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.KubeletRoot != "" {
		cfg.KubeletRoot = filepath.Clean(cfg.KubeletRoot)
	}
	s := &Service{cfg: cfg}
	s.shared = vfsstage.New(vfsstage.Config{State: cfg.State, BootID: cfg.BootID, Patience: cfg.Patience, Dir: cfg.VFSDir})
	s.stagers = map[volume.Kind]Stager{
		volume.VFS: s.shared,
		volume.Block: blockstage.New(blockstage.Config{
			Finder: cfg.Finder, State: cfg.State, BootID: cfg.BootID, Patience: cfg.Patience, Work: &s.work, Registerer: cfg.Registerer,
		}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(collector{s})
	}
	return s
}

// Capabilities are what the service announces.
var Capabilities = []csi.NodeServiceCapability_RPC_Type{
	csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
	csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
	csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	csi.NodeServiceCapability_RPC_GET_VOLUME_HEALTH,
	csi.NodeServiceCapability_RPC_GET_STORAGE_HEALTH,
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
	if err != nil && ctx.Err() != nil {
		return nil, asStatus(fmt.Errorf("finding out which instance this is: %w: %w", ctx.Err(), err))
	}
	if err != nil && volume.ReasonOf(err) != 0 {
		return nil, asStatus(err)
	}
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "it cannot be told yet what this node is: %v", err)
	}
	s.told.Store(self.MaxVolumes)
	return &csi.NodeGetInfoResponse{
		NodeId:             self.ID,
		MaxVolumesPerNode:  self.MaxVolumes,
		AccessibleTopology: &csi.Topology{Segments: topology.NodeSegments(self.Region, self.OfficialRegion)},
	}, nil
}

// Shutdown is called when the process has to end, while calls are still being drained. It ends the long work, as far as
// that can be ended, and returns when there is none.
func (s *Service) Shutdown(ctx context.Context) { s.work.Shutdown(ctx) }

// begin claims the volume for a call. Long work that an earlier call of the same name began is waited for first, and
// its failure is the answer; while work of another call is running there is no other answer than that.
func (s *Service) begin(ctx context.Context, volumeID, call string) (end func(), err error) {
	end, busyWith := s.busy.Begin(strings.ToLower(volumeID), call)
	if busyWith != "" {
		if err := s.work.Running(volumeID); err != nil {
			return nil, asStatus(fmt.Errorf("volume %s is busy: %w", volumeID, err))
		}
		return nil, status.Errorf(codes.Aborted, "%s of volume %s is still under way", busyWith, volumeID)
	}
	if err := s.work.Join(ctx, volumeID, call); err != nil {
		end()
		return nil, asStatus(fmt.Errorf("volume %s: %w", volumeID, err))
	}
	return end, nil
}

// asStatus gives an error its code. Work that has not come to its end is Aborted: the caller retries, and does not take
// the call for failed. A call that was over before its time says only that: what it did not see proves nothing about
// the volume, whatever reason an error names.
func asStatus(err error) error {
	if _, running := errors.AsType[*longwork.RunningError](err); running || errors.Is(err, longwork.ErrEnding) {
		return status.Error(codes.Aborted, err.Error())
	}
	if _, hangs := errors.AsType[*looks.HangingError](err); hangs {
		return status.Error(codes.Unavailable, err.Error())
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	}
	return rpcerr.Status(err)
}

// about is asStatus of what concerns a volume, which the error names.
func about(id string, err error) error { return asStatus(rpcerr.About(err, "volume", id)) }

func missing(field string) error {
	return status.Errorf(codes.InvalidArgument, "%s is missing", field)
}
