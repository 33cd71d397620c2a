package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/syscut"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
)

const (
	kubeletRoot = "/var/lib/kubelet"
	socketDir   = "/csi"
	stateDir    = socketDir + "/state"
	// readyWithin is generous: the guest's processor is emulated.
	readyWithin = time.Minute
)

// plugin is the node plugin. The zero value is ready to be started.
type plugin struct {
	mu     sync.Mutex
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	tracer *syscut.Tracer // nil for one that is not traced
	// end ends one that is more than a process, nil for others.
	end func() error
}

// StartPlugin starts the node plugin as its manifest does, and waits until it answers.
func (s *service) StartPlugin(agent.None, *agent.None) error {
	return s.plugin.start(socketDir+"/csi.sock", program(), func(cmd *exec.Cmd) error { return cmd.Start() })
}

// StartTraced does the same with one that can be killed at its system calls.
func (s *service) StartTraced(agent.None, *agent.None) error {
	return s.plugin.start(socketDir+"/csi.sock", program(), func(cmd *exec.Cmd) (err error) {
		s.plugin.tracer, err = syscut.Start(cmd, guest.PluginLog)
		return err
	})
}

// program is the node plugin as a process of the guest.
func program() *exec.Cmd {
	//nolint:noctx // it runs until it is killed
	return exec.Command(guest.Plugin, "--mode=node", "--region=ewr", "--node-id=3f2504e0-4f89-41d3-9a0c-0305e82c3301",
		"--endpoint=unix://"+socketDir+"/csi.sock", "--http-endpoint=", "--plugin-registration-dir=", "--kubelet-root="+kubeletRoot, "--state-dir="+stateDir, "-v=4")
}

// start starts a node plugin that will answer at the socket.
func (p *plugin) start(socket string, cmd *exec.Cmd, launch func(*exec.Cmd) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return errors.New("the plugin is running")
	}
	log, err := os.OpenFile(guest.PluginLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the plugin has its own
	cmd.Stdout, cmd.Stderr = log, log
	p.tracer, p.end = nil, nil
	if err := launch(cmd); err != nil {
		return err
	}
	p.cmd = cmd
	if p.conn == nil {
		if p.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	resp, err := csi.NewIdentityClient(p.conn).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true))
	if err != nil || !resp.GetReady().GetValue() {
		return fmt.Errorf("the plugin is not ready: %w", err)
	}
	return nil
}

// KillPlugin ends the node plugin at once.
func (s *service) KillPlugin(agent.None, *agent.None) error {
	p := &s.plugin
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New("the plugin is not running")
	}
	if p.tracer != nil {
		if err := p.tracer.KillAll(); err != nil { // its tools as well
			return err
		}
	}
	kill := p.cmd.Process.Kill
	if p.end != nil {
		kill = p.end
	}
	if err := kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait() // it says that it was killed
	p.cmd = nil
	return nil
}

// KillAt kills the traced plugin, and the tools that it runs, right before their nth call from now on; 0 only counts.
func (s *service) KillAt(n int, _ *agent.None) error {
	tracer, err := s.plugin.traced()
	if err != nil {
		return err
	}
	tracer.KillAt(n)
	return nil
}

// Steps ends the counting.
func (s *service) Steps(_ agent.None, steps *agent.Steps) error {
	tracer, err := s.plugin.traced()
	if err != nil {
		return err
	}
	for _, step := range tracer.Stop() {
		steps.Calls = append(steps.Calls, step.String())
	}
	select {
	case <-tracer.Struck():
		steps.Killed = true
	default:
	}
	return tracer.Err()
}

func (p *plugin) traced() (*syscut.Tracer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tracer == nil {
		return nil, errors.New("the plugin is not traced")
	}
	return p.tracer, nil
}

// Forget takes away what the plugin has mounted and recorded.
func (s *service) Forget(agent.None, *agent.None) error {
	s.plugin.mu.Lock()
	defer s.plugin.mu.Unlock()
	if s.plugin.cmd != nil {
		return errors.New("the plugin is running")
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(table) {
		if strings.HasPrefix(e.Path, kubeletRoot+"/") {
			if err := unix.Unmount(e.Path, 0); err != nil {
				return fmt.Errorf("unmounting %s: %w", e.Path, err)
			}
		}
	}
	return os.RemoveAll(stateDir)
}

// CSI passes a call on to the plugin.
func (s *service) CSI(c agent.Call, r *agent.Reply) error {
	s.plugin.mu.Lock()
	conn := s.plugin.conn
	s.plugin.mu.Unlock()
	if conn == nil {
		return errors.New("the plugin was never started")
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	err := conn.Invoke(ctx, c.Method, c.Request, &r.Response, grpc.ForceCodecV2(raw{}), grpc.WaitForReady(true))
	r.Code, r.Message = uint32(status.Code(err)), status.Convert(err).Message()
	return nil
}

// raw passes messages on as they are.
type raw struct{}

// Marshal has nothing to do.
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	data, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("a raw message is %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

// Unmarshal has nothing to do either.
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	target, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a raw message is read into %T", v)
	}
	*target = data.Materialize()
	return nil
}

// Name is that of the messages which are passed on.
func (raw) Name() string { return "proto" }
