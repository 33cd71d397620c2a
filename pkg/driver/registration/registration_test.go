package registration

import (
	"context"
	"errors"
	"os"
	"strings"
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
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "not registered") {
		t.Errorf("before the kubelet came it is ready: %v", err)
	}
	tell(false, "another value for the topology key")
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "another value for the topology key") {
		t.Errorf("with a refused registration it is ready: %v", err)
	}
	if err := s.Alive(t.Context()); err != nil {
		t.Errorf("a refused registration asks for a restart: %v", err)
	}
	tell(true, "")
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("after a registration that went well: %v", err)
	}
	tell(false, "again")
	if err := s.Check(t.Context()); err == nil {
		t.Error("a registration that was taken back is remembered as good")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestAlive: the kubelet takes the driver off the node when the socket's file goes, so that must not stay unnoticed.
func TestAlive(t *testing.T) {
	dir := t.TempDir()
	s := New("block.csi.vultr.com", "/x/csi.sock")
	if err := s.Alive(t.Context()); err != nil {
		t.Errorf("before it is open: %v", err)
	}
	l, err := s.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	if err := s.Alive(t.Context()); err != nil {
		t.Errorf("while it serves: %v", err)
	}
	if err := os.Remove(SocketPath(dir, "block.csi.vultr.com")); err != nil {
		t.Fatal(err)
	}
	if err := s.Alive(t.Context()); err == nil {
		t.Error("without its socket it is alive")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
