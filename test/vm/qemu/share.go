package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// server is what serves a file system to a machine. It comes with Debian's QEMU.
const server = "/usr/lib/qemu/virtiofsd"

// Share is a directory of this machine that a virtual one has as a shared file system, with a server of its own.
type Share struct {
	machine *Machine
	name    string
	slot    int
	cmd     *exec.Cmd
	gone    <-chan struct{}
}

// Attach gives a directory to the running machine, as the file system with the tag.
func (m *Machine) Attach(ctx context.Context, dir, tag string) (_ *Share, err error) {
	where, err := os.MkdirTemp("", "vm-share-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(where)) }() // QEMU has connected by then
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(where, "socket"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close() //nolint:errcheck // the server has its own
	socket, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close() //nolint:errcheck // as above
	s := &Share{machine: m}
	if s.name, s.slot, err = m.slot(); err != nil {
		return nil, err
	}
	//nolint:gosec,noctx // it ends with its connection to QEMU, or is killed
	s.cmd = exec.Command(server, "-f", "--fd=3", "-o", "sandbox=chroot", "--rlimit-nofile=0", "-o", "cache=none", "-o", "source="+dir)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.ExtraFiles = m.console, m.console, []*os.File{socket} // descriptor 3
	if s.gone, err = launch(s.cmd); err != nil {
		return nil, fmt.Errorf("serving %s: %w", dir, err)
	}
	err = m.qmp.Do(ctx, "chardev-add", map[string]any{"id": s.name, "backend": map[string]any{"type": "socket", "data": map[string]any{
		"addr": map[string]any{"type": "unix", "data": map[string]any{"path": listener.Addr().String()}}, "server": false,
	}}}, nil)
	if err == nil {
		err = m.qmp.Do(ctx, "device_add", map[string]any{
			"driver": "vhost-user-fs-pci", "id": s.name, "chardev": s.name, "tag": tag, "bus": fmt.Sprintf("slot%d", s.slot),
		}, nil)
	}
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("attaching the file system with tag %s: %w", tag, err)
	}
	return s, nil
}

// Detach asks the guest to give the file system back, as the platform does, and returns when it has and the server is gone.
func (s *Share) Detach(ctx context.Context) error {
	if err := s.machine.remove(ctx, s.name, s.slot); err != nil {
		return fmt.Errorf("file system %s: %w", s.name, err)
	}
	err := s.machine.qmp.Do(ctx, "chardev-remove", map[string]any{"id": s.name}, nil)
	s.Kill()
	return err
}

// Kill ends the server at once: the guest has the file system still, and nobody answers.
func (s *Share) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.gone
}
