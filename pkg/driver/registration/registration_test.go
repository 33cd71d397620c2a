package registration

import (
	"context"
	"errors"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// TestRegistration does what the kubelet does: it finds the socket, asks who is there, and tells how it went.
func TestRegistration(t *testing.T) {
	dir := t.TempDir()
	s := New("block.csi.vultr.com", "/var/lib/kubelet/plugins/x/csi.sock")
	l, err := s.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	socket := SocketPath(dir, "block.csi.vultr.com")
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kubelet := registerapi.NewRegistrationClient(conn)
	info, err := kubelet.GetInfo(t.Context(), &registerapi.InfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if info.GetType() != registerapi.CSIPlugin || info.GetName() != "block.csi.vultr.com" ||
		info.GetEndpoint() != "/var/lib/kubelet/plugins/x/csi.sock" || len(info.GetSupportedVersions()) != 1 {
		t.Errorf("info is %v", info)
	}
	tell := func(ok bool, why string) {
		t.Helper()
		if _, err := kubelet.NotifyRegistrationStatus(t.Context(), &registerapi.RegistrationStatus{PluginRegistered: ok, Error: why}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Registered() || s.Check(t.Context()) != nil {
		t.Error("before the kubelet came it is registered or unhealthy")
	}
	tell(false, "another value for the topology key")
	if err := s.Check(t.Context()); err == nil || s.Registered() {
		t.Errorf("a refused registration is healthy")
	}
	tell(true, "")
	if err := s.Check(t.Context()); err != nil || !s.Registered() {
		t.Errorf("a registration that went well: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
