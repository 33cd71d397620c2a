package balancer

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// relay copies both ways until both directions have ended, one has failed, or nothing has moved for the idle time.
// Each end of input is passed on as one, so a client that has sent everything still gets its answer.
func relay(a, b net.Conn, idle time.Duration) {
	quiet := &idleClock{limit: idle}
	quiet.touch()
	var both sync.WaitGroup
	both.Go(func() { pump(b, a, quiet) })
	both.Go(func() { pump(a, b, quiet) })
	both.Wait()
}

// idleClock is shared by both directions: a long download is no idle connection although the client says nothing.
type idleClock struct {
	limit time.Duration
	last  atomic.Int64
}

func (c *idleClock) touch()            { c.last.Store(time.Now().UnixNano()) }
func (c *idleClock) expiry() time.Time { return time.Unix(0, c.last.Load()).Add(c.limit) }

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// pump copies one direction. When it fails it ends the other direction too, by closing both connections.
func pump(to, from net.Conn, quiet *idleClock) {
	err := copyUntilIdle(to, from, quiet)
	if err == nil {
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			err = half.CloseWrite()
		}
	}
	if err != nil {
		_ = to.Close()   // the other direction may have closed it already
		_ = from.Close() // the same
	}
}

func copyUntilIdle(to, from net.Conn, quiet *idleClock) error {
	buffer, ok := buffers.Get().(*[32 << 10]byte)
	if !ok {
		return errors.New("the buffer pool holds something else")
	}
	defer buffers.Put(buffer)
	for {
		if err := from.SetReadDeadline(quiet.expiry()); err != nil {
			return err
		}
		n, err := from.Read(buffer[:])
		if n > 0 {
			quiet.touch()
			if err := to.SetWriteDeadline(time.Now().Add(quiet.limit)); err != nil {
				return err
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			quiet.touch()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(quiet.expiry()):
			continue // the other direction moved meanwhile
		case err != nil:
			return err
		}
	}
}
