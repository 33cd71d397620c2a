package balancer

import (
	"io"
	"net"
	"sync"
	"time"
)

// spliceAfter is how much one direction carries through memory before the kernel is asked to move the rest by itself.
// Most connections are short: the pipe that splice(2) needs would cost them more than it saves.
const spliceAfter = 256 << 10

// relay copies both ways until both directions have ended, one has failed, or nothing has moved for the idle time.
// Each end of input is passed on as one, so a client that has sent everything still gets its answer.
func relay(a, b *net.TCPConn, idle time.Duration) {
	pair := []*net.TCPConn{a, b}
	watch := watchIdle(idle, func() time.Duration { return quietest(pair, idle) }, func() {
		_ = a.Close() // either may have ended meanwhile
		_ = b.Close() // the same
	})
	defer watch.stop()
	var both sync.WaitGroup
	both.Go(func() { pump(b, a) })
	both.Go(func() { pump(a, b) })
	both.Wait()
}

// pump copies one direction.
func pump(to, from *net.TCPConn) {
	err := copyAll(to, from)
	switch {
	case err == nil:
		_ = to.CloseWrite() // where it has ended meanwhile the other direction learns that as well
	case broken(from):
		abort(to)
		_ = from.Close() // the other direction may have closed it already
	case broken(to):
		// What its other end said before may still wait here: the other direction brings it, and then ends too.
	default:
		_ = to.Close()   // the other direction may have closed it already
		_ = from.Close() // the same
	}
}

// tcpClosed is the kernel's state of a connection that was reset, or given up because nobody answers.
const tcpClosed = 7

func broken(conn *net.TCPConn) bool {
	info := tcpInfo(conn)
	return info != nil && info.State == tcpClosed
}

// abort resets the connection, so that its other end does not take a piece for the whole. Data that is still on its way
// there would be lost by that: then the connection only ends.
func abort(conn *net.TCPConn) {
	if info := tcpInfo(conn); info != nil && info.Unacked == 0 && info.Notsent_bytes == 0 {
		_ = conn.SetLinger(0) // the close is what counts
	}
	_ = conn.Close() // the other direction may have closed it already
}

// copyAll copies to the end of input: a little through memory, and what is more by splice(2), which is what io.Copy
// makes of two TCP connections.
func copyAll(to, from *net.TCPConn) error {
	source, err := newReadiness(from)
	if err != nil {
		return err
	}
	write := func(bytes []byte) error {
		_, err := to.Write(bytes)
		return err
	}
	for copied := 0; copied < spliceAfter; {
		n, err := source.read(write)
		if n == 0 || err != nil {
			return err
		}
		copied += n
	}
	_, err = io.Copy(to, from)
	return err
}
