// Package registration makes the driver known to the kubelet, as csi-node-driver-registrar would: the kubelet
// watches a directory for sockets and asks on each who is behind it.
package registration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/server"
)

// Service implements the kubelet's plugin registration API.
type Service struct {
	registerapi.UnimplementedRegistrationServer

	name     string
	endpoint string

	mu       sync.Mutex
	refused  error
	accepted bool
}

// New makes the service of a driver whose CSI socket the kubelet finds at endpoint, a path on the host.
func New(name, endpoint string) *Service { return &Service{name: name, endpoint: endpoint} }

// GetInfo tells the kubelet what is behind the socket.
func (s *Service) GetInfo(ctx context.Context, _ *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	klog.FromContext(ctx).V(2).Info("The kubelet asks who we are", "name", s.name, "endpoint", s.endpoint)
	return &registerapi.PluginInfo{
		Type: registerapi.CSIPlugin, Name: s.name, Endpoint: s.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus hears from the kubelet how the registration went. The kubelet repeats a failed one by
// itself; until it succeeds the process counts as unhealthy, and says why.
func (s *Service) NotifyRegistrationStatus(ctx context.Context, status *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused, s.accepted = nil, status.GetPluginRegistered()
	if s.accepted {
		klog.FromContext(ctx).Info("Registered with the kubelet", "name", s.name)
	} else {
		s.refused = fmt.Errorf("the kubelet refused the registration: %s", status.GetError())
		klog.FromContext(ctx).Error(s.refused, "Not registered", "name", s.name)
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}

// Check tells whether the kubelet refused the registration.
func (s *Service) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Registered tells whether the kubelet accepted the registration.
func (s *Service) Registered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// SocketPath is where the registration socket of a driver is.
func SocketPath(dir, name string) string { return filepath.Join(dir, name+"-reg.sock") }

// Listen opens the registration socket in the kubelet's directory.
func (s *Service) Listen(dir string) (net.Listener, error) {
	return server.Listen(SocketPath(dir, s.name))
}

// Serve answers the kubelet until the context ends.
func (s *Service) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer()
	registerapi.RegisterRegistrationServer(g, s)
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	if err := g.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}
