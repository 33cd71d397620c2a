package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// idleWatch ends something over which nothing has moved for too long. It asks when that was only when the time could
// be up, so that it costs what moves nothing.
type idleWatch struct {
	limit  time.Duration
	quiet  func() time.Duration
	expire func()

	mu      sync.Mutex
	stopped bool
	timer   *time.Timer
}

// watchIdle calls expire once quiet has been limit or more. After stop it never does.
func watchIdle(limit time.Duration, quiet func() time.Duration, expire func()) *idleWatch {
	w := &idleWatch{limit: limit, quiet: quiet, expire: expire}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(limit, w.look)
	return w
}

func (w *idleWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

func (w *idleWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	if left := w.limit - w.quiet(); left > 0 {
		w.timer.Reset(max(left, time.Millisecond))
		return
	}
	w.stopped = true
	w.expire()
}

// quietest tells how long ago any of the connections carried data, or atMost if that was longer ago.
func quietest(conns []*net.TCPConn, atMost time.Duration) time.Duration {
	for _, conn := range conns {
		if info := tcpInfo(conn); info != nil { // a closed connection carries nothing
			atMost = min(atMost, time.Duration(min(info.Last_data_sent, info.Last_data_recv))*time.Millisecond)
		}
	}
	return atMost
}

// tcpInfo is what the kernel knows of the connection, nil when it was closed here.
func tcpInfo(conn *net.TCPConn) *unix.TCPInfo {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	var info *unix.TCPInfo
	if err := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil {
		return nil
	}
	return info
}

// idleClock knows when something moved last.
type idleClock struct {
	limit time.Duration
	last  atomic.Int64
}

func (c *idleClock) touch()               { c.last.Store(time.Now().UnixNano()) }
func (c *idleClock) expiry() time.Time    { return time.Unix(0, c.last.Load()).Add(c.limit) }
func (c *idleClock) quiet() time.Duration { return time.Since(time.Unix(0, c.last.Load())) }

// errIdle is why an exchange was given up in which nothing moved.
var errIdle = errors.New("nothing moved for too long")

// whileMoving lets a request go on as long as a part of it, of its answer, or of what the two became moves now and
// then. When nothing does, the client gets the grace to take the last words. done must be called before the handler
// returns; what Go's server does after that is bounded as well.
func whileMoving(out http.ResponseWriter, r *http.Request, limit, grace time.Duration) (moving *http.Request, clock *idleClock, done func()) {
	clock = &idleClock{limit: limit}
	clock.touch()
	ctx, cancel := context.WithCancelCause(r.Context())
	control := http.NewResponseController(out)
	watch := watchIdle(limit, clock.quiet, func() {
		cancel(errIdle)
		// These fail only where the connection is gone already.
		_ = control.SetReadDeadline(time.Now())
		_ = control.SetWriteDeadline(time.Now().Add(grace))
	})
	moving = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		moving.Body = &requestBody{touchingBody: touchingBody{r.Body, clock}}
	}
	return moving, clock, func() {
		watch.stop()
		cancel(nil)
		_ = control.SetWriteDeadline(time.Now().Add(limit)) // fails only where the connection is gone already
		if conn, ok := trackedOf(ctx); ok && unfinished(moving) {
			conn.leave(time.Now().Add(grace))
		}
	}
}

// requestBody is what a client sends.
type requestBody struct {
	touchingBody
	ended atomic.Bool
}

// Read notes the end as well.
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.touchingBody.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// unfinished tells of a request over HTTP/1 whether the client has not said all of it yet, as far as it was read. The
// connection must end with the answer then: the rest could be taken for another request.
func unfinished(moving *http.Request) bool {
	body, ok := moving.Body.(*requestBody)
	return ok && moving.ProtoMajor == 1 && !body.ended.Load()
}

// touchingBody notes that something moves.
type touchingBody struct {
	io.ReadCloser
	clock *idleClock
}

func (b touchingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.clock.touch()
	}
	return n, err
}

// touchingTunnel is the same for a connection that speaks another protocol by now.
type touchingTunnel struct {
	io.ReadWriteCloser
	clock *idleClock
}

func (t touchingTunnel) Read(p []byte) (int, error) {
	return touchingBody{t.ReadWriteCloser, t.clock}.Read(p)
}

func (t touchingTunnel) Write(p []byte) (int, error) {
	n, err := t.ReadWriteCloser.Write(p)
	if n > 0 {
		t.clock.touch()
	}
	return n, err
}

// CloseWrite passes on that the client has said everything, while the answer may still come.
func (t touchingTunnel) CloseWrite() error {
	half, ok := t.ReadWriteCloser.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// touching makes a response's body note what moves.
func touching(response *http.Response, clock *idleClock) {
	if tunnel, ok := response.Body.(io.ReadWriteCloser); ok {
		response.Body = touchingTunnel{tunnel, clock}
		return
	}
	response.Body = touchingBody{response.Body, clock}
}
