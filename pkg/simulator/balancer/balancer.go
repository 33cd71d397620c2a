package balancer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// balancer is one load balancer. apply and close are never called at once.
type balancer struct {
	log      klog.Logger
	members  *members
	budget   *budget
	settings atomic.Pointer[settings]
	upstream atomic.Pointer[upstream]
	proxy    *httputil.ReverseProxy

	tcp map[int]*tcpFront
	udp map[int]*udpFront
}

// upstream is the HTTP transport to the backends. It is made anew when what it was made for changes.
type upstream struct {
	made      upstreamOptions
	transport *http.Transport
}

func newBalancer(log klog.Logger, maxConnections int) *balancer {
	b := &balancer{
		log: log, members: &members{log: log}, budget: &budget{limit: int64(maxConnections)},
		tcp: map[int]*tcpFront{}, udp: map[int]*udpFront{},
	}
	b.proxy = newProxy(b)
	return b
}

// apply opens what is new, then switches to the new settings, then closes what is not wanted any more. It fails only
// while nothing has changed yet. The address never changes.
func (b *balancer) apply(ctx context.Context, wanted *settings) error {
	opened, err := b.open(ctx, wanted)
	if err != nil {
		return err
	}
	b.switchTo(wanted) //nolint:contextcheck // health checks outlive the call that sets them up
	for port, front := range opened.tcp {
		b.tcp[port] = front
		front.start()
	}
	for port, front := range opened.udp {
		b.udp[port] = front
		front.start()
	}
	b.closeFronts(
		func(port int) bool { _, stays := wanted.tcp[port]; return stays },
		func(port int) bool { _, stays := wanted.udp[port]; return stays },
	)
	return nil
}

func (b *balancer) switchTo(wanted *settings) {
	dial := dialFrom(wanted.address)
	options := upstreamOptions{address: wanted.address, timeout: wanted.timeout, proxyProtocol: wanted.spec.ProxyProtocol}
	before := b.upstream.Load()
	if before == nil || before.made != options {
		b.upstream.Store(&upstream{made: options, transport: newTransport(options, dial)})
	}
	b.settings.Store(wanted)
	b.members.set(wanted.spec.Backends, wanted.spec.HealthCheck, dial)
	if before != nil && before != b.upstream.Load() {
		before.transport.CloseIdleConnections()
	}
}

type openedFronts struct {
	tcp map[int]*tcpFront
	udp map[int]*udpFront
}

// open listens on every port that has no listener yet; all or none.
func (b *balancer) open(ctx context.Context, wanted *settings) (opened openedFronts, err error) {
	opened = openedFronts{tcp: map[int]*tcpFront{}, udp: map[int]*udpFront{}}
	defer func() {
		if err == nil {
			return
		}
		for _, front := range opened.tcp {
			err = errors.Join(err, front.listener.Close())
		}
		for _, front := range opened.udp {
			err = errors.Join(err, front.conn.Close())
		}
	}()
	var config net.ListenConfig
	for port := range wanted.tcp {
		if b.tcp[port] != nil {
			continue
		}
		listener, err := config.Listen(ctx, "tcp4", hostPort(wanted.address, port))
		if err != nil {
			return opened, err
		}
		opened.tcp[port] = newTCPFront(b, port, listener)
	}
	for port := range wanted.udp {
		if b.udp[port] != nil {
			continue
		}
		conn, err := config.ListenPacket(ctx, "udp4", hostPort(wanted.address, port))
		if err != nil {
			return opened, err
		}
		front, err := newUDPFront(b, port, conn)
		if err != nil {
			return opened, errors.Join(err, conn.Close())
		}
		opened.udp[port] = front
	}
	return opened, nil
}

func hostPort(address netip.Addr, port int) string {
	return netip.AddrPortFrom(address, uint16(port)).String() //nolint:gosec // compile checked the port
}

func (b *balancer) closeFronts(tcpStays, udpStays func(port int) bool) {
	for port, front := range b.tcp {
		if !tcpStays(port) {
			front.close()
			delete(b.tcp, port)
		}
	}
	for port, front := range b.udp {
		if !udpStays(port) {
			front.close()
			delete(b.udp, port)
		}
	}
}

func (b *balancer) close() {
	none := func(int) bool { return false }
	b.closeFronts(none, none)
	b.members.close()
	if up := b.upstream.Load(); up != nil {
		up.transport.CloseIdleConnections()
	}
}
