package balancer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conns are the open connections of one listener: bounded, and closed together.
type conns struct {
	mu     sync.Mutex
	closed bool
	open   map[*tracked]struct{}
	// budget is shared by all listeners of a load balancer.
	budget *budget
}

// budget bounds what a load balancer has of something.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take() bool {
	if b.used.Add(1) <= b.limit {
		return true
	}
	b.used.Add(-1)
	return false
}

func (b *budget) giveBack() { b.used.Add(-1) }

// tracked is an accepted connection that leaves its set when it is closed.
type tracked struct {
	*net.TCPConn
	once    sync.Once
	onDone  func()
	leaving atomic.Bool
}

// Close closes the connection. It is idempotent.
func (t *tracked) Close() error {
	err := net.ErrClosed
	t.once.Do(func() {
		err = t.TCPConn.Close()
		t.onDone()
	})
	return err
}

// leave lets the connection read until then and no longer, whatever deadline it is given after that: Go's HTTP server
// takes deadlines away when a handler returns, and then reads what is left of the request.
func (t *tracked) leave(by time.Time) {
	t.leaving.Store(true)
	_ = t.TCPConn.SetReadDeadline(by) // fails only where the connection is closed already
}

// SetReadDeadline sets the deadline unless the connection is leaving.
func (t *tracked) SetReadDeadline(by time.Time) error {
	if t.leaving.Load() {
		return nil
	}
	return t.TCPConn.SetReadDeadline(by)
}

type trackedKey struct{}

// withTracked is for http.Server's ConnContext.
func withTracked(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return context.WithValue(ctx, trackedKey{}, conn)
}

// trackedOf is the connection that a request came over; those of HTTP/3 are none.
func trackedOf(ctx context.Context) (*tracked, bool) {
	conn, ok := ctx.Value(trackedKey{}).(*tracked)
	return conn, ok
}

// track takes the connection in, or tells that there is no room or the listener has ended.
func (c *conns) track(conn *net.TCPConn) (*tracked, bool) {
	if !c.budget.take() {
		return nil, false
	}
	t := &tracked{TCPConn: conn}
	t.onDone = func() {
		c.budget.giveBack()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.budget.giveBack()
		return nil, false
	}
	if c.open == nil {
		c.open = map[*tracked]struct{}{}
	}
	c.open[t] = struct{}{}
	return t, true
}

// close closes all connections and lets no further one in.
func (c *conns) close() {
	c.mu.Lock()
	c.closed = true
	all := make([]*tracked, 0, len(c.open))
	for t := range c.open {
		all = append(all, t)
	}
	c.mu.Unlock()
	for _, t := range all {
		_ = t.Close() // its user may have closed it already
	}
}
