package soak

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"sync"
	"time"
)

var errDead = errors.New("the process was killed")

// link is the network of one process. A process that stands still sends and receives nothing: what it was about to send
// goes out when it goes on, whatever has become of those who wait for the answer. A killed one sends nothing more.
type link struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// orderFor is how late an attach or a detach may go out; later ones are lost, and so are changes of a size or a label that
	// are late at all. No successor can wait for longer, and no program can keep itself from being stopped between its last
	// look and the write.
	orderFor time.Duration

	mu     sync.Mutex
	frozen chan struct{} // closed when the process goes on, nil while it runs
	dead   bool
	ends   map[*end]struct{}
}

func newLink(dial func(context.Context, string, string) (net.Conn, error), orderFor time.Duration) *link {
	return &link{dial: dial, orderFor: orderFor, ends: map[*end]struct{}{}}
}

// Dial connects, when the process runs.
func (l *link) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := l.wait(); err != nil {
		return nil, err
	}
	conn, err := l.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	e := &end{Conn: conn, link: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[e] = struct{}{}
	return e, nil
}

// wait returns when the process runs, or is dead.
func (l *link) wait() error {
	for {
		l.mu.Lock()
		frozen, dead := l.frozen, l.dead
		l.mu.Unlock()
		switch {
		case dead:
			return errDead
		case frozen == nil:
			return nil
		}
		<-frozen
	}
}

func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen == nil && !l.dead {
		l.frozen = make(chan struct{})
	}
}

func (l *link) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen != nil {
		close(l.frozen)
		l.frozen = nil
	}
	for e := range l.ends {
		e.closeIfDone()
	}
}

func (l *link) kill() {
	l.mu.Lock()
	l.dead = true
	ends := l.ends
	l.ends = map[*end]struct{}{}
	l.mu.Unlock()
	for e := range ends {
		_ = e.Conn.Close() // a pipe
	}
	l.thaw()
}

// end is a process's end of a connection.
type end struct {
	net.Conn

	link *link

	// mu is below the link's.
	mu      sync.Mutex
	writing int
	closing bool
}

func (e *end) Write(b []byte) (int, error) {
	e.mark(1)
	defer e.mark(-1)
	began := time.Now()
	if err := e.link.wait(); err != nil {
		return 0, err
	}
	if time.Since(began) > e.link.lateFor(b) {
		return 0, errDead
	}
	return e.Conn.Write(b)
}

// lateFor is how late a request may go out.
func (l *link) lateFor(request []byte) time.Duration {
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	method, path, _ := bytes.Cut(line, []byte(" "))
	switch {
	case string(method) == http.MethodGet:
	case bytes.Contains(path, []byte("/attach")), bytes.Contains(path, []byte("/detach")):
		return l.orderFor
	case string(method) == http.MethodPut, string(method) == http.MethodPatch:
		return 0
	}
	return math.MaxInt64
}

func (e *end) mark(by int) {
	e.mu.Lock()
	e.writing += by
	e.mu.Unlock()
	if by < 0 {
		e.closeIfDone()
	}
}

// Read returns what has arrived when the process runs.
func (e *end) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if dead := e.link.wait(); dead != nil {
		return 0, dead
	}
	return n, err
}

// Close closes when nothing is about to be written.
func (e *end) Close() error {
	e.link.mu.Lock()
	frozen := e.link.frozen != nil
	if !frozen {
		delete(e.link.ends, e)
	}
	e.link.mu.Unlock()
	e.mu.Lock()
	e.closing = true
	held := frozen && e.writing > 0
	e.mu.Unlock()
	if held {
		return nil
	}
	return e.Conn.Close()
}

func (e *end) closeIfDone() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing && e.writing == 0 {
		_ = e.Conn.Close() // a pipe
	}
}
