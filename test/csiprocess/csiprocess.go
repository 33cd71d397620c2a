// Package csiprocess builds the CSI driver and runs it as the processes that a cluster runs, for tests and benchmarks.
package csiprocess

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// startTimeout is generous: the machine may be busy with other tests.
const startTimeout = time.Minute

// Build builds the driver into the directory and returns its path. flags are those of go build, such as -race.
func Build(dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "csi")
	args := append([]string{"build", "-o", binary}, flags...)
	//nolint:noctx,gosec // it is built before there is a test; the arguments are the tests' own
	build := exec.Command("go", append(args, "github.com/cloud-provider-vultr/cloud-provider-vultr/cmd/csi")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building the driver: %w", err)
	}
	return binary, nil
}

// Driver describes one process of the driver.
type Driver struct {
	Binary string
	// Socket is where it is to listen; its log goes beside it.
	Socket string
	// Env comes on top of the test's own environment.
	Env []string
	// OwnMounts gives the process a mount namespace of its own: its mounts end with it.
	OwnMounts bool
	Args      []string
	// Launch starts the command; nil is its own Start.
	Launch func(*exec.Cmd) error
}

// Process is a running driver.
type Process struct {
	cmd    *exec.Cmd
	killed bool
}

// PID is the process's ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process at once, wherever it is, and returns when it is gone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.killed = true
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // it says that it was killed
}

// Start starts the process and waits until it is ready. It ends with the test, which fails if the process did not end
// well, unless it was killed, or wrote the API key into its log.
func Start(t testing.TB, d Driver) *Process {
	t.Helper()
	log, err := os.Create(d.Socket + ".log")
	if err != nil {
		t.Fatal(err)
	}
	//nolint:noctx,gosec // it is ended by a signal, and well; the arguments are the tests' own
	cmd := exec.Command(d.Binary, append(d.Args, "--endpoint=unix://"+d.Socket, "--http-endpoint=", "-v=4")...)
	cmd.Env = append(os.Environ(), d.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if d.OwnMounts {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	launch := d.Launch
	if launch == nil {
		launch = (*exec.Cmd).Start
	}
	if err := launch(cmd); err != nil {
		t.Fatal(errors.Join(err, log.Close()))
	}
	p := &Process{cmd: cmd}
	t.Cleanup(func() {
		if !p.killed {
			p.end(t)
		}
		_ = log.Close() // written by the driver
		checkLog(t, d.Socket)
	})
	awaitReady(t, d.Socket)
	return p
}

func (p *Process) end(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("the driver ended early: %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the driver did not end well: %v", err)
	}
}

func checkLog(t testing.TB, socket string) {
	t.Helper()
	raw, err := os.ReadFile(socket + ".log")
	if err != nil {
		t.Error(err)
	}
	if t.Failed() || os.Getenv("DRIVER_LOGS") != "" {
		t.Logf("log of %s:\n%s", filepath.Base(socket), raw)
	}
	if strings.Contains(string(raw), simtest.Key) {
		t.Error("the API key is in the log")
	}
}

// Dial connects to a driver's socket until the test ends.
func Dial(t testing.TB, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// awaitReady waits until the driver says that it is ready and a node knows itself.
func awaitReady(t testing.TB, socket string) {
	t.Helper()
	conn := Dial(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	resp, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true))
	if err != nil || !resp.GetReady().GetValue() {
		t.Fatalf("the driver on %s is not ready: %v", socket, err)
	}
	// A node has to hear from the metadata service first; a controller does not implement this.
	for {
		_, err := csi.NewNodeClient(conn).NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
		if status.Code(err) != codes.Unavailable {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the node does not know itself: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
