package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// tcpFront is a listening port. What happens to a connection depends on the rule that the port has when it comes, so
// a rule can change from tcp to https without a moment in which nobody listens.
type tcpFront struct {
	b        *balancer
	port     int
	listener net.Listener
	conns    conns
	plain    *webServer
	tls      *webServer

	// ctx ends when the front closes; dials in progress end with it.
	ctx    context.Context //nolint:containedctx // the life of the front, not of a call
	cancel context.CancelFunc
	work   sync.WaitGroup
}

func newTCPFront(b *balancer, port int, listener net.Listener) *tcpFront {
	f := &tcpFront{b: b, port: port, listener: listener, conns: conns{budget: b.budget}}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.plain, f.tls = newWebServer(f, false), newWebServer(f, true)
	return f
}

func (f *tcpFront) start() {
	f.work.Go(f.plain.serve)
	f.work.Go(f.tls.serve)
	f.work.Go(f.accept)
}

// close ends the listener and every connection that came through it.
func (f *tcpFront) close() {
	f.cancel()
	_ = f.listener.Close() // closing is idempotent
	f.conns.close()
	f.plain.close()
	f.tls.close()
	f.work.Wait()
}

func (f *tcpFront) accept() {
	for {
		conn, err := f.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Out of descriptors, mostly: the queue must not be asked again at full speed.
			f.b.log.Error(err, "Accepting a connection", "port", f.port)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-f.ctx.Done():
				return
			}
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			f.take(tcp)
		}
	}
}

// take hands a new connection to whoever serves the port's rule, or refuses it.
func (f *tcpFront) take(conn *net.TCPConn) {
	s := f.b.settings.Load()
	rule, ok := s.tcp[f.port]
	if !ok || !s.firewall.admits(f.port, sourceOf(conn.RemoteAddr())) {
		refuse(conn)
		return
	}
	client, ok := f.conns.track(conn)
	if !ok {
		f.b.log.V(2).Info("Too many connections", "port", f.port)
		refuse(conn)
		return
	}
	switch rule.FrontendProtocol {
	case "http":
		f.plain.feed(client)
	case "https":
		f.tls.feed(client)
	default:
		f.work.Go(func() { f.forward(s, rule, client) })
	}
}

// refuse resets the connection: unlike a firewall it cannot make it look as if nobody were there.
func refuse(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // the close is what counts
	_ = conn.Close()      // nothing was said on it
}

// forward joins the client with a backend. One that cannot be reached is passed over for the next.
func (f *tcpFront) forward(s *settings, rule simulator.BalancerRule, client *tracked) {
	defer func() { _ = client.Close() }() // relay may have closed it already
	want := choice{listener: listenerOf(rule), algorithm: s.spec.Algorithm, tried: map[*member]bool{}}
	for {
		one, ok := f.b.members.acquire(want)
		if !ok {
			_ = client.SetLinger(0) // as a refusal
			return
		}
		backend, err := f.dial(s, rule, one, client)
		if err != nil {
			f.b.members.release(one)
			f.b.log.V(2).Info("Backend cannot be reached", "port", f.port, "instance", one.backend.InstanceID, "reason", reasonOf(err))
			want.tried[one] = true
			continue
		}
		relay(client.TCPConn, backend, s.timeout)
		_ = backend.Close() // relay may have closed it already
		f.b.members.release(one)
		return
	}
}

func (f *tcpFront) dial(s *settings, rule simulator.BalancerRule, one *member, client net.Conn) (*net.TCPConn, error) {
	target := net.JoinHostPort(one.backend.Address, strconv.Itoa(rule.BackendPort))
	conn, err := f.b.guarded(dialFrom(s.own))(f.ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	backend, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("dialling TCP gave a %T", conn), conn.Close())
	}
	if s.spec.ProxyProtocol {
		if err := announce(backend, client.RemoteAddr(), client.LocalAddr()); err != nil {
			return nil, errors.Join(err, backend.Close())
		}
	}
	return backend, nil
}
