package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// line is one conversation by a connection that outlives it.
type line struct {
	net.Conn

	reading sync.Mutex
	over    atomic.Bool
}

// Read reads until the conversation is over.
func (l *line) Read(p []byte) (int, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if l.over.Load() {
		return 0, io.EOF
	}
	return l.Conn.Read(p)
}

// Write writes as long as the conversation is not over.
func (l *line) Write(p []byte) (int, error) {
	if l.over.Load() {
		return 0, io.ErrClosedPipe
	}
	return l.Conn.Write(p)
}

// Close leaves the connection to its owner.
func (l *line) Close() error { return nil }

// leftovers is how long is waited for what was said last: it is on this machine already.
const leftovers = 50 * time.Millisecond

// end ends the conversation. Nobody may be speaking on the other side any more: what was said last, and not heard, is dropped, so
// that the next conversation does not begin in its middle.
func (l *line) end() error {
	l.over.Store(true)
	if err := l.SetReadDeadline(time.Now()); err != nil { // who reads comes back
		return err
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	if err := l.SetReadDeadline(time.Now().Add(leftovers)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, l.Conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.Join(errors.New("the connection has ended"), err)
	}
	return l.SetReadDeadline(time.Time{})
}
