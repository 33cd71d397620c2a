package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// listenAs is the socket on which the test binary, started again, listens until its standard input ends.
const listenAs = "SERVER_TEST_LISTEN_ON"

func TestMain(m *testing.M) {
	if path := os.Getenv(listenAs); path != "" {
		os.Exit(listenForOthers(path))
	}
	os.Exit(m.Run())
}

func listenForOthers(path string) int {
	l, err := Listen(path)
	if err != nil {
		return 1
	}
	s := New(Services{Identity: identity{}}, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		if _, err := os.Stdout.WriteString("listening\n"); err == nil {
			_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that is waited for
		}
	}()
	if Serve(ctx, s, l) != nil {
		return 1
	}
	return 0
}

// GetPluginInfo answers, so that a process that serves is alive.
func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{}, nil
}

func TestHealthAndMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	var ready atomic.Bool
	ready.Store(true)
	_, socket, stop := start(t, Services{Identity: identity{probe: func(context.Context) (*csi.ProbeResponse, error) {
		return &csi.ProbeResponse{Ready: wrapperspb.Bool(ready.Load())}, nil
	}}}, Options{Metrics: NewMetrics(registry)})
	h := httptest.NewServer(Handler(
		func(ctx context.Context) error { return Alive(ctx, socket) },
		func(ctx context.Context) error { return Ready(ctx, socket) }, registry, nil))
	defer h.Close()
	get := func(path string, want int) string {
		t.Helper()
		resp, err := http.Get(h.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %s, %v", path, resp.Status, err)
		}
		return string(body)
	}
	get("/healthz", http.StatusOK)
	get("/readyz", http.StatusOK)
	ready.Store(false)
	get("/healthz", http.StatusOK)
	get("/readyz", http.StatusServiceUnavailable)
	if text := get("/metrics", http.StatusOK); !strings.Contains(text, `csi_rpc_duration_seconds_count{code="OK",method="Probe"} 2`) {
		t.Errorf("the metrics are %s", text)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	get("/healthz", http.StatusServiceUnavailable)
	get("/readyz", http.StatusServiceUnavailable)
}

// TestAliveNeedsTheFile: who is connected notices nothing when the socket's file goes, but nobody new gets in.
func TestAliveNeedsTheFile(t *testing.T) {
	conn, socket, _ := start(t, Services{Identity: identity{}}, Options{})
	call := func() error {
		_, err := csi.NewIdentityClient(conn).GetPluginInfo(t.Context(), &csi.GetPluginInfoRequest{})
		return err
	}
	if err := errors.Join(call(), Alive(t.Context(), socket)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Errorf("an old connection: %v", err)
	}
	if err := Alive(t.Context(), socket); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("without its socket it is alive: %v", err)
	}
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Alive(t.Context(), socket); err == nil {
		t.Error("with a file in place of its socket it is alive")
	}
}

// TestAliveNeedsThisProcess: another process that took over the path answers just as well, and is not us.
func TestAliveNeedsThisProcess(t *testing.T) {
	_, socket, stop := start(t, Services{Identity: identity{}}, Options{})
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	end := other(t, socket)
	if err := Alive(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "not a socket of this process") {
		t.Errorf("with another process on its socket it is alive: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("it took the other process's socket along: %v", err)
	}
	end()
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the other process left its socket: %v", err)
	}
}

// other starts a process that listens on the socket, and returns what ends it.
func other(t *testing.T, socket string) (end func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), listenAs+"="+socket)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("it does not listen: %v, %v", err, cmd.Wait())
	}
	return func() {
		t.Helper()
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
}

// TestAliveNeedsAnAnswer: a socket whose queue takes connections is not yet a server that answers.
func TestAliveNeedsAnAnswer(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := l.Accept(); err == nil {
			cancel() // connected, and nothing will be said
			defer conn.Close()
			<-t.Context().Done()
		}
	}()
	if err := Alive(ctx, socket); err == nil {
		t.Error("a process that does not answer is alive")
	}
}
