// Package syscut cuts programs off between any two of their system calls.
//
// A Tracer sees each system call by which a program and its children change the machine, right before it is carried out:
// what they mount, write, sync, rename, run. It counts them, and at the one that it was told it kills all of these
// processes, as the end of a container does, or has the call fail. The program is as it is released: the kernel tells, by
// seccomp's user notifications (Linux 5.19).
package syscut

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/sys/unix"
)

// Step is a system call that changes the machine.
type Step struct {
	// Program is the name of the process, Call that of the system call, Object what it is about: a path, most often.
	Program, Call, Object string
}

// String is for people.
func (s Step) String() string { return s.Program + ": " + s.Call + " " + s.Object }

// Tracer watches a program and its children.
type Tracer struct {
	listener int
	// mark is in the environment of all these processes.
	mark   string
	ignore []string

	mu       sync.Mutex
	counting bool
	at       int
	failure  unix.Errno
	steps    []Step
	struck   chan struct{}
	err      error // of a strike that did not go through
}

// Start starts the command watched. Of what is written to files whose path ends with one of ignore nothing is counted.
// The test's own program has to call Main first in its TestMain.
func Start(cmd *exec.Cmd, ignore ...string) (*Tracer, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()   //nolint:errcheck // only read from
	defer theirs.Close() //nolint:errcheck // the child has its own
	t := &Tracer{mark: newMark(), ignore: ignore, struck: make(chan struct{})}
	cmd.ExtraFiles = append([]*os.File{theirs}, cmd.ExtraFiles...)
	cmd.Env = append(cmd.Environ(), envProgram+"="+cmd.Path, t.mark)
	cmd.Path = "/proc/self/exe"
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	conn, err := connection(ours, theirs)
	if err == nil {
		defer conn.Close() //nolint:errcheck // only read from
		t.listener, err = receive(conn)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return nil, fmt.Errorf("watching the system calls of %s (needs root and Linux 5.19): %w", cmd.Args[0], err)
	}
	go t.serve()
	// It closes its end when it has become the program: what it does until then does not count.
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return nil, errors.Join(err, t.KillAll())
	}
	return t, nil
}

// Count begins to count from zero, and strikes at nothing.
func (t *Tracer) Count() { t.arm(0, 0) }

// KillAt counts from zero and kills all processes right before the nth call.
func (t *Tracer) KillAt(n int) { t.arm(n, 0) }

// FailAt counts from zero and has the nth call fail with the error, without being carried out.
func (t *Tracer) FailAt(n int, err unix.Errno) { t.arm(n, err) }

func (t *Tracer) arm(n int, err unix.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counting, t.at, t.failure, t.steps, t.struck = true, n, err, nil, make(chan struct{})
}

// Stop ends counting and returns what was counted.
func (t *Tracer) Stop() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counting = false
	return t.steps
}

// Struck is closed when the call was struck at, and the processes are gone if that was to kill them.
func (t *Tracer) Struck() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.struck
}

// Err says why a strike did not go through.
func (t *Tracer) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// KillAll kills the program and its children, wherever they are, and returns when they are gone.
func (t *Tracer) KillAll() error { return killMarked(t.mark) }

// serve answers the kernel until all watched processes are gone.
func (t *Tracer) serve() {
	defer unix.Close(t.listener) //nolint:errcheck // nothing was written to it
	for {
		n, err := next(t.listener)
		switch {
		case err == nil:
			answer(t.listener, n.id, t.judge(n))
		case errors.Is(err, errGone):
			return
		}
	}
}

// judge counts a call and returns the error with which it is to fail, 0 to have it carried out.
func (t *Tracer) judge(n notification) unix.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.counting {
		return 0
	}
	step, counts := describe(n, t.ignore)
	if !counts {
		return 0
	}
	t.steps = append(t.steps, step)
	if len(t.steps) != t.at {
		return 0
	}
	if t.failure == 0 {
		t.err = killMarked(t.mark)
		t.counting = false
	}
	close(t.struck)
	return t.failure
}

// socketPair makes the connection by which the listener comes.
func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(pair[0]), "listener"), os.NewFile(uintptr(pair[1]), "listener"), nil //nolint:gosec // descriptors are positive
}

// connection is our end. theirs is closed: should the child end without a word, there is nothing to wait for.
func connection(ours, theirs *os.File) (*net.UnixConn, error) {
	if err := theirs.Close(); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("the connection is a %T", conn)
	}
	return unixConn, nil
}

// receive waits for the listener.
func receive(conn *net.UnixConn) (int, error) {
	text, control := make([]byte, 512), make([]byte, unix.CmsgSpace(4))
	n, cn, _, _, err := conn.ReadMsgUnix(text, control)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(messages) == 0 {
		return 0, fmt.Errorf("no listener came: %s", text[:n])
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("%d descriptors came: %w", len(fds), errors.Join(err, fs.ErrInvalid))
	}
	return fds[0], nil
}
