package soak

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pace keeps the fake clock from running faster than the real one while something real is waited for: a lock that another
// process has, a device that a program holds open. Without it minutes would pass before the kernel has done anything.
type pace struct {
	mu    sync.Mutex
	users int
}

const beat = time.Millisecond

// hold keeps the pace until release is called.
func (p *pace) hold() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users++; p.users == 1 {
		go p.run()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.users--
	}
}

func (p *pace) run() {
	for p.isHeld() {
		wait := unix.NsecToTimespec(int64(beat))
		_ = unix.Nanosleep(&wait, nil) // a signal ends it early, which does no harm
		time.Sleep(beat)               // of the fake clock
	}
}

func (p *pace) isHeld() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users > 0
}
