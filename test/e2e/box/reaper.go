package box

import (
	"errors"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// reaper starts children and collects every process that ends in the box, its
// own children and the orphans that fall to an init.
type reaper struct {
	mu       sync.Mutex
	children map[int]*child
	ended    chan os.Signal
}

// child is one program that the agent started.
type child struct {
	pid    int
	done   chan struct{} // closed when it has ended
	status unix.WaitStatus
}

// newReaper listens from now on: a child that ended before would never be collected.
func newReaper() *reaper {
	r := &reaper{children: map[int]*child{}, ended: make(chan os.Signal, 1)}
	signal.Notify(r.ended, unix.SIGCHLD)
	return r
}

// start runs a program. The lock is held from before it exists until it is
// known, so that it cannot end unnoticed.
func (r *reaper) start(path string, argv []string, attr *os.ProcAttr) (*child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	process, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return nil, err
	}
	c := &child{pid: process.Pid, done: make(chan struct{})}
	r.children[c.pid] = c
	return c, process.Release()
}

// run reaps for ever.
func (r *reaper) run() {
	for range r.ended {
		r.reap()
	}
}

// reap collects all that have ended by now: signals are merged by the kernel.
func (r *reaper) reap() {
	for {
		var status unix.WaitStatus
		r.mu.Lock()
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if c, known := r.children[pid]; known && pid > 0 {
			c.status = status
			close(c.done)
			delete(r.children, pid)
		}
		r.mu.Unlock()
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

// exitCode is what a shell would call it.
func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
