package server

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
)

// identity answers Probe as a test tells it.
type identity struct {
	csi.UnimplementedIdentityServer
	probe func(ctx context.Context) (*csi.ProbeResponse, error)
}

func (i identity) Probe(ctx context.Context, _ *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return i.probe(ctx)
}

// node answers NodeStageVolume as a test tells it.
type node struct {
	csi.UnimplementedNodeServer
	stage func(ctx context.Context) error
}

func (n node) NodeStageVolume(ctx context.Context, _ *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	return &csi.NodeStageVolumeResponse{}, n.stage(ctx)
}

// start serves on a socket until the test ends or the returned function is called.
func start(t *testing.T, services Services, o Options) (conn *grpc.ClientConn, socket string, stop func() error) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, New(services, o), l) }()
	conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), stop()); err != nil {
			t.Error(err)
		}
	})
	return conn, socket, stop
}

func TestPanicIsOneCallsError(t *testing.T) {
	var calls atomic.Int32
	conn, _, _ := start(t, Services{Identity: identity{probe: func(context.Context) (*csi.ProbeResponse, error) {
		if calls.Add(1) == 1 {
			panic("oops")
		}
		return &csi.ProbeResponse{}, nil
	}}}, Options{})
	client := csi.NewIdentityClient(conn)
	if _, err := client.Probe(t.Context(), &csi.ProbeRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("a panic is %v", err)
	}
	if _, err := client.Probe(t.Context(), &csi.ProbeRequest{}); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestDeadlineIsEarlierThanTheCallers(t *testing.T) {
	conn, _, _ := start(t, Services{Node: node{stage: func(ctx context.Context) error {
		<-ctx.Done()
		return status.Error(codes.DeadlineExceeded, "the reason in words")
	}}}, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := csi.NewNodeClient(conn).NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{})
	if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "the reason in words") || ctx.Err() != nil {
		t.Errorf("got %v, %v", err, ctx.Err())
	}
	if margin(100*time.Second) != time.Second || margin(time.Second) != 100*time.Millisecond {
		t.Error("the margin is not what it should be")
	}
}

func TestDrain(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	conn, socket, stop := start(t, Services{Node: node{stage: func(context.Context) error {
		close(entered)
		<-release
		return nil
	}}}, Options{})
	result := make(chan error, 1)
	go func() {
		_, err := csi.NewNodeClient(conn).NodeStageVolume(context.Background(), &csi.NodeStageVolumeRequest{})
		result <- err
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("it ended with a call under way: %v", err)
	case <-time.After(200 * time.Millisecond): // too short a wait misses a fault, and never invents one
	}
	close(release)
	if err := errors.Join(<-result, <-stopped); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// TestSecretsStayOutOfLogs has a secret in a request that fails, at the highest verbosity.
func TestSecretsStayOutOfLogs(t *testing.T) {
	var log bytes.Buffer
	klog.LogToStderr(false)
	klog.SetOutput(&log)
	var level klog.Level
	if err := level.Set("10"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		klog.Flush()
		klog.LogToStderr(true)
		if err := level.Set("0"); err != nil {
			t.Error(err)
		}
	}()
	conn, _, stop := start(t, Services{Node: node{stage: func(context.Context) error { return errors.New("fails") }}}, Options{})
	_, err := csi.NewNodeClient(conn).NodeStageVolume(t.Context(), &csi.NodeStageVolumeRequest{
		VolumeId: "the-volume", Secrets: map[string]string{"passphrase": "CANARY"},
	})
	if err == nil {
		t.Error("it did not fail")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	klog.Flush()
	if text := log.String(); strings.Contains(text, "CANARY") || !strings.Contains(text, `subject="the-volume"`) {
		t.Errorf("the log is %s", text)
	}
}

// TestSubject: what the lines of a call are about is what others name in their logs.
func TestSubject(t *testing.T) {
	for want, reqs := range map[string][]any{
		"pvc-1":      {&csi.CreateVolumeRequest{Name: "pvc-1"}},
		"snapshot-1": {&csi.CreateSnapshotRequest{Name: "snapshot-1", SourceVolumeId: "v"}},
		"v": {
			&csi.DeleteVolumeRequest{VolumeId: "v"}, &csi.ControllerPublishVolumeRequest{VolumeId: "v", NodeId: "n"},
			&csi.ControllerUnpublishVolumeRequest{VolumeId: "v"}, &csi.ControllerExpandVolumeRequest{VolumeId: "v"},
			&csi.ControllerModifyVolumeRequest{VolumeId: "v"}, &csi.ValidateVolumeCapabilitiesRequest{VolumeId: "v"},
			&csi.NodeStageVolumeRequest{VolumeId: "v"}, &csi.NodePublishVolumeRequest{VolumeId: "v"}, &csi.NodeExpandVolumeRequest{VolumeId: "v"},
			&csi.NodeUnpublishVolumeRequest{VolumeId: "v"}, &csi.NodeUnstageVolumeRequest{VolumeId: "v"}, &csi.NodeGetVolumeStatsRequest{VolumeId: "v"},
		},
		"s": {&csi.DeleteSnapshotRequest{SnapshotId: "s"}, &csi.GetSnapshotRequest{SnapshotId: "s"}, &csi.ListSnapshotsRequest{SnapshotId: "s"}},
		"":  {&csi.ListVolumesRequest{}, &csi.ProbeRequest{}, &csi.NodeGetInfoRequest{}},
	} {
		for _, req := range reqs {
			if got := subjectOf(req); got != want {
				t.Errorf("%T is about %q, not %q", req, got, want)
			}
		}
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %v, %v", st.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "already listens") {
		t.Errorf("a socket in use: %v", err)
	}
	own, ok := l.(*ownListener)
	if !ok {
		t.Fatalf("listening is %T", l)
	}
	if err := own.UnixListener.Close(); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	l, err = Listen(path)
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "data" {
		t.Errorf("the file is now %q, %v", raw, err)
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{"unix:///csi/csi.sock": "/csi/csi.sock", "unix:/a": "/a", "/a/b": "/a/b"} {
		if got, err := ParseEndpoint(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "tcp://127.0.0.1:1", "unix://", "unix://relative", "csi.sock"} {
		if got, err := ParseEndpoint(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}
