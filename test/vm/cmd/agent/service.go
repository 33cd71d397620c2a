package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
)

// service has the methods that the tests call, in the form that net/rpc wants.
type service struct {
	plugin plugin

	mu   sync.Mutex
	last int
	open map[int]*os.File
}

func newService() *service { return &service{open: map[int]*os.File{}} }

// Hello answers with the kernel's release.
func (s *service) Hello(_ agent.None, release *string) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	*release = unix.ByteSliceToString(name.Release[:])
	return nil
}

// Run runs a program.
func (s *service) Run(c agent.Command, result *agent.Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) //nolint:gosec // the tests' own
	if _, err := os.Stat("/run/udev/control"); err != nil {
		cmd.Env = append(os.Environ(), "DM_DISABLE_UDEV=1") // cryptsetup would wait for udev, which is not there
	}
	out, err := cmd.CombinedOutput()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if err != nil && !failed {
		return err
	}
	result.Output = string(bytes.TrimSpace(out))
	if failed {
		result.Code = exit.ExitCode()
	}
	return nil
}

// readLimit is as much as is read at once.
const readLimit = 1 << 20

// Read reads a file, of a longer one its end, or the beginning of a device.
func (s *service) Read(path string, data *[]byte) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() && st.Size() > readLimit {
		if _, err := file.Seek(-readLimit, io.SeekEnd); err != nil {
			return err
		}
	}
	*data, err = io.ReadAll(io.LimitReader(file, readLimit))
	return err
}

// Write writes a file and flushes it.
func (s *service) Write(f agent.File, _ *agent.None) error {
	file, err := os.Create(f.Path)
	if err != nil {
		return err
	}
	_, err = file.Write(f.Data)
	return errors.Join(err, file.Sync(), file.Close())
}

// Open opens a file to be held open.
func (s *service) Open(path string, handle *int) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.open[s.last], *handle = file, s.last
	return nil
}

func (s *service) held(handle int) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.open[handle]
	if file == nil {
		return nil, fmt.Errorf("nothing is open as %d", handle)
	}
	return file, nil
}

// WriteOpen writes to a file that is held open.
func (s *service) WriteOpen(c agent.Chunk, result *agent.Errno) error {
	file, err := s.held(c.Handle)
	if err != nil {
		return err
	}
	_, err = file.Write(c.Data)
	if err == nil && c.Sync {
		err = file.Sync()
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		result.Number = number
		return nil
	}
	return err
}

// CloseOpen closes a file that was held open. What the kernel says is not a failure: its disk may be gone.
func (s *service) CloseOpen(handle int, _ *agent.None) error {
	file, err := s.held(handle)
	if err != nil {
		return err
	}
	_ = file.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, handle)
	return nil
}
