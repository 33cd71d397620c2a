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
	socket   string // "" until it is open
}

// New returns the service of a driver whose CSI socket the kubelet finds at endpoint, a path on the host.
func New(name, endpoint string) *Service { return &Service{name: name, endpoint: endpoint} }

// GetInfo answers the kubelet what is behind the socket.
func (s *Service) GetInfo(ctx context.Context, _ *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	// The health check asks too, so this says little.
	klog.FromContext(ctx).V(4).Info("Asked what is behind the registration socket", "name", s.name, "endpoint", s.endpoint)
	return &registerapi.PluginInfo{
		Type: registerapi.CSIPlugin, Name: s.name, Endpoint: s.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus is told by the kubelet how the registration went. The kubelet retries a failed one by
// itself; until it succeeds the process is not ready, and says why.
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

// errPending is returned while the kubelet has not accepted or refused the registration.
var errPending = errors.New("the kubelet has not registered the driver yet")

// Check reports whether the kubelet has registered the driver. It is a matter of readiness: a restart helps neither
// against a refusal, which the kubelet retries by itself, nor when the kubelet looks into another directory.
func (s *Service) Check(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil && !s.accepted {
		return errPending
	}
	return s.refused
}

// Alive reports whether the kubelet still finds this process behind the registration socket. It is a matter of
// liveness: the kubelet takes the driver off the node when the file goes, and only a restart makes a new one.
func (s *Service) Alive(ctx context.Context) error {
	s.mu.Lock()
	socket := s.socket
	s.mu.Unlock()
	if socket == "" {
		return nil
	}
	return server.AskSelf(ctx, socket, func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := registerapi.NewRegistrationClient(conn).GetInfo(ctx, &registerapi.InfoRequest{})
		return err
	})
}

// SocketPath is where the registration socket of a driver is.
func SocketPath(dir, name string) string { return filepath.Join(dir, name+"-reg.sock") }

// Listen opens the registration socket in the kubelet's directory.
func (s *Service) Listen(dir string) (net.Listener, error) {
	path := SocketPath(dir, s.name)
	l, err := server.Listen(path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.socket = path
	return l, nil
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
