// Package identity is the CSI identity service, which controller and node both have.
package identity

import (
	"context"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"k8s.io/klog/v2"
)

// DriverName is the name under which clusters know the driver. It is the official driver's.
const DriverName = "block.csi.vultr.com"

// Check reports whether the process can do its work; the error says in words what is wrong.
type Check func(ctx context.Context) error

// Service implements csi.IdentityServer.
type Service struct {
	csi.UnimplementedIdentityServer

	version string
	check   Check

	mu    sync.Mutex
	fault string // what the last Probe found, "" when it was ready
}

// New returns the service; check answers Probe.
func New(version string, check Check) *Service {
	return &Service{version: version, check: check}
}

// GetPluginInfo says who this is.
func (s *Service) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: DriverName, VendorVersion: s.version}, nil
}

// GetPluginCapabilities announces what the plugin as a whole can do.
func (s *Service) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	service := func(t csi.PluginCapability_Service_Type) *csi.PluginCapability {
		return &csi.PluginCapability{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: t}}}
	}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		service(csi.PluginCapability_Service_CONTROLLER_SERVICE),
		service(csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS),
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{
			Type: csi.PluginCapability_VolumeExpansion_ONLINE,
		}}},
	}}, nil
}

// Probe answers whether the process can do its work. Not ready is an answer, not an error: a sidecar that gets an
// error here ends and starts again, one that gets an answer waits.
func (s *Service) Probe(ctx context.Context, _ *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	err := s.check(ctx)
	s.note(ctx, err)
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(err == nil)}, nil
}

// note remembers what a probe found, and logs it when it is something else than before: probes come every few seconds.
func (s *Service) note(ctx context.Context, err error) {
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	s.mu.Lock()
	before := s.fault
	s.fault = fault
	s.mu.Unlock()
	switch {
	case fault == before:
	case err != nil:
		klog.FromContext(ctx).Error(err, "Not ready")
	default:
		klog.FromContext(ctx).Info("Ready again")
	}
}

// Fault returns what the last Probe found wrong, "" when it found nothing.
func (s *Service) Fault() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}
