package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// maxSessions bounds what strangers can make a port keep by sending datagrams.
	maxSessions = 4096
	// udpIdle bounds how long a silent client keeps its backend; the timeout of connections is far too long for it.
	udpIdle = time.Minute
	// maxDatagram is the largest that UDP can carry.
	maxDatagram = 64 << 10
)

// udpFront is a port for datagrams. A client (address and port) keeps its backend while it goes on sending.
type udpFront struct {
	b    *balancer
	port int
	conn *net.UDPConn
	work sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	sessions map[netip.AddrPort]*session
}

// session is one client's way to its backend.
type session struct {
	one         *member
	backendPort int
	conn        net.Conn
	quiet       *idleClock
}

func newUDPFront(b *balancer, port int, conn net.PacketConn) (*udpFront, error) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("listening on udp gave a %T", conn)
	}
	return &udpFront{b: b, port: port, conn: udp, sessions: map[netip.AddrPort]*session{}}, nil
}

func (f *udpFront) start() { f.work.Go(f.receive) }

func (f *udpFront) close() {
	_ = f.conn.Close() // closing twice is no matter
	f.mu.Lock()
	f.closed = true
	for _, one := range f.sessions {
		_ = one.conn.Close() // its reader may have closed it already
	}
	f.mu.Unlock()
	f.work.Wait()
}

func (f *udpFront) receive() {
	datagram := make([]byte, maxDatagram)
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

var (
	errNoBackend   = errors.New("no healthy backend")
	errTooManyPeer = errors.New("too many clients")
)

// sessionOf finds the client's session, or makes one: also when its backend has become unhealthy, or the rule now
// leads elsewhere.
func (f *udpFront) sessionOf(s *settings, rule simulator.BalancerRule, client netip.AddrPort) (*session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if way := f.sessions[client]; way != nil {
		if way.backendPort == rule.BackendPort && f.b.members.usable(way.one) {
			return way, nil
		}
		delete(f.sessions, client)
		_ = way.conn.Close() // its reader gives the backend back
	}
	if f.closed || len(f.sessions) >= maxSessions {
		return nil, errTooManyPeer
	}
	one, ok := f.b.members.acquire(s.spec.Algorithm, "", nil)
	if !ok {
		return nil, errNoBackend
	}
	target := net.JoinHostPort(one.backend.Address, strconv.Itoa(rule.BackendPort))
	conn, err := dialFrom(s.address)(context.Background(), "udp", target) // sends nothing and waits for nobody
	if err != nil {
		f.b.members.release(one)
		return nil, err
	}
	way := &session{one: one, backendPort: rule.BackendPort, conn: conn, quiet: &idleClock{limit: min(s.timeout, udpIdle)}}
	way.quiet.touch()
	f.sessions[client] = way
	f.work.Go(func() { f.answer(client, way) })
	return way, nil
}

// answer brings the backend's datagrams to the client until the session has been silent for too long.
func (f *udpFront) answer(client netip.AddrPort, way *session) {
	defer f.b.members.release(way.one)
	defer f.forget(client, way)
	datagram := make([]byte, maxDatagram)
	for {
		if way.conn.SetReadDeadline(way.quiet.expiry()) != nil {
			return
		}
		n, err := way.conn.Read(datagram)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(way.quiet.expiry()):
			continue // the client sent something meanwhile
		case err != nil: // idle, closed, or the backend's port is closed: the next datagram looks for another
			return
		}
		way.quiet.touch()
		_, _ = f.conn.WriteToUDPAddrPort(datagram[:n], client) // a datagram may be lost
	}
}

func (f *udpFront) forget(client netip.AddrPort, way *session) {
	_ = way.conn.Close() // it may have been closed to end the session
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sessions[client] == way {
		delete(f.sessions, client)
	}
}
