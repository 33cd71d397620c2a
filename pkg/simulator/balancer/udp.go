package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// udpIdle bounds how long a silent client keeps its backend; the timeout of connections is far too long for it.
const udpIdle = time.Minute

// udpFront is a port for datagrams. A client (address and port) keeps its backend while it goes on sending.
type udpFront struct {
	b    *balancer
	port int
	conn *net.UDPConn
	work sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	sessions *sessions
}

func newUDPFront(b *balancer, port int, conn net.PacketConn) (*udpFront, error) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("listening on udp gave a %T", conn)
	}
	return &udpFront{b: b, port: port, conn: udp, sessions: newSessions(b.limits.sessions)}, nil
}

func (f *udpFront) start() { f.work.Go(f.receive) }

func (f *udpFront) close() {
	_ = f.conn.Close() // closing is idempotent
	f.mu.Lock()
	f.closed = true
	for _, s := range f.sessions.all() {
		_ = s.conn.Close() // its reader may have closed it already
	}
	f.mu.Unlock()
	f.work.Wait()
}

func (f *udpFront) receive() {
	datagram := make([]byte, bufferSize)
	for {
		n, client, err := f.conn.ReadFromUDPAddrPort(datagram)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			f.b.log.V(2).Info("Receiving a datagram failed", "port", f.port, "reason", err.Error())
			continue
		}
		f.take(client, datagram[:n])
	}
}

func (f *udpFront) take(client netip.AddrPort, datagram []byte) {
	s := f.b.settings.Load()
	rule, ok := s.udp[f.port]
	if !ok || !s.firewall.admits(f.port, client.Addr()) {
		return
	}
	way, err := f.sessionOf(s, rule, client)
	if err != nil {
		f.b.log.V(2).Info("Datagram dropped", "port", f.port, "reason", err.Error())
		return
	}
	way.quiet.touch()
	_, _ = way.conn.Write(datagram) // a datagram may be lost; the session's reader sees what is wrong
}

var errNoBackend = errors.New("no healthy backend")

// sessionOf finds the client's session, or makes one: also when its backend has become unhealthy, or the rule now
// leads elsewhere.
func (f *udpFront) sessionOf(s *settings, rule simulator.BalancerRule, client netip.AddrPort) (*session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, net.ErrClosed
	}
	if way, ok := f.sessions.find(client); ok {
		if way.backendPort == rule.BackendPort && f.b.members.usable(way.one) {
			return way, nil
		}
		f.sessions.remove(way)
		_ = way.conn.Close() // its reader gives the backend back
	}
	one, ok := f.b.members.acquire(choice{listener: listenerOf(rule), algorithm: s.spec.Algorithm})
	if !ok {
		return nil, errNoBackend
	}
	way, err := f.open(s, one, rule.BackendPort)
	if err != nil {
		f.b.members.release(one)
		return nil, err
	}
	way.client = client
	if displaced := f.sessions.add(way); displaced != nil {
		_ = displaced.conn.Close() // its reader gives the backend back
	}
	f.work.Go(func() { f.answer(way) })
	return way, nil
}

func (f *udpFront) open(s *settings, one *member, backendPort int) (*session, error) {
	target := hostWithPort(one.backend.Address, backendPort)
	conn, err := f.b.guarded(dialFrom(s.own))(context.Background(), "udp", target) // sends nothing and waits for nobody
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("dialling UDP gave a %T", conn), conn.Close())
	}
	input, err := newReadiness(udp)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	way := &session{one: one, backendPort: backendPort, conn: udp, input: input}
	way.quiet.limit = min(s.timeout, udpIdle)
	way.quiet.touch()
	return way, nil
}

// answer brings the backend's datagrams to the client until the session has been silent for too long.
func (f *udpFront) answer(way *session) {
	defer f.b.members.release(way.one)
	defer f.forget(way)
	bring := func(datagram []byte) error {
		way.quiet.touch()
		_, _ = f.conn.WriteToUDPAddrPort(datagram, way.client) // a datagram may be lost
		return nil
	}
	for {
		if way.conn.SetReadDeadline(way.quiet.expiry()) != nil {
			return
		}
		_, err := way.input.read(bring)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(way.quiet.expiry()):
			continue // the client sent something meanwhile
		case err != nil: // idle, closed, or the backend's port is closed: the next datagram looks for another
			return
		}
	}
}

func (f *udpFront) forget(way *session) {
	_ = way.conn.Close() // it may have been closed to end the session
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions.remove(way)
}
