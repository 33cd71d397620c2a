package balancer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// balancer is one load balancer. apply and close are never called at once.
type balancer struct {
	log      klog.Logger
	limits   limits
	members  *members
	budget   *budget
	settings atomic.Pointer[settings]
	upstream atomic.Pointer[upstream]
	proxy    *httputil.ReverseProxy

	fronts fronts
}

// fronts are the open listeners, by address and port.
type fronts struct {
	tcp map[netip.AddrPort]*tcpFront
	udp map[netip.AddrPort]*udpFront
}

func newFronts() fronts {
	return fronts{tcp: map[netip.AddrPort]*tcpFront{}, udp: map[netip.AddrPort]*udpFront{}}
}

// upstream is the HTTP transport to the backends. It is made anew when what it was made for changes.
type upstream struct {
	made      upstreamOptions
	transport *http.Transport
}

func newBalancer(log klog.Logger, limits limits) *balancer {
	b := &balancer{
		log: log, limits: limits, members: newMembers(log), budget: &budget{limit: int64(limits.connections)}, fronts: newFronts(),
	}
	b.proxy = newProxy(b)
	return b
}

// apply opens what is new, then switches to the new settings, then closes what is not wanted any more. It fails only
// while nothing has changed yet.
func (b *balancer) apply(ctx context.Context, wanted *settings) error {
	opened, err := b.open(ctx, wanted)
	if err != nil {
		return err
	}
	b.switchTo(wanted) //nolint:contextcheck // health checks outlive the call that sets them up
	for at, front := range opened.tcp {
		b.fronts.tcp[at] = front
		front.start()
	}
	for at, front := range opened.udp {
		b.fronts.udp[at] = front
		front.start()
	}
	b.closeFronts(wanted.listens)
	return nil
}

func (b *balancer) switchTo(wanted *settings) {
	dial := dialFrom(wanted.own)
	options := upstreamOptions{own: wanted.own, proxyProtocol: wanted.spec.ProxyProtocol}
	before := b.upstream.Load()
	if before == nil || before.made != options {
		b.upstream.Store(&upstream{made: options, transport: newTransport(options, b.limits, dial)})
	}
	b.settings.Store(wanted)
	b.members.set(wanted.spec.Backends, wanted.spec.HealthCheck, dial)
	if before != nil && before != b.upstream.Load() {
		before.transport.CloseIdleConnections()
	}
}

// open listens on every port that has no listener yet; all or none.
func (b *balancer) open(ctx context.Context, wanted *settings) (opened fronts, err error) {
	opened = newFronts()
	defer func() {
		if err != nil {
			err = errors.Join(err, opened.abandon())
		}
	}()
	for _, address := range wanted.own.all() {
		for port := range wanted.tcp {
			at := netip.AddrPortFrom(address, uint16(port)) //nolint:gosec // compile checked the port
			if b.fronts.tcp[at] != nil {
				continue
			}
			if opened.tcp[at], err = b.listenTCP(ctx, at); err != nil {
				return opened, err
			}
		}
		for port := range wanted.udp {
			at := netip.AddrPortFrom(address, uint16(port)) //nolint:gosec // compile checked the port
			if b.fronts.udp[at] != nil {
				continue
			}
			if opened.udp[at], err = b.listenUDP(ctx, at); err != nil {
				return opened, err
			}
		}
	}
	return opened, nil
}

func (b *balancer) listenTCP(ctx context.Context, at netip.AddrPort) (*tcpFront, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return newTCPFront(b, int(at.Port()), listener), nil
}

func (b *balancer) listenUDP(ctx context.Context, at netip.AddrPort) (*udpFront, error) {
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, "udp", at.String())
	if err != nil {
		return nil, err
	}
	front, err := newUDPFront(b, int(at.Port()), conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return front, nil
}

// abandon closes listeners that were never started.
func (f fronts) abandon() error {
	var faults []error
	for _, front := range f.tcp {
		if front != nil {
			faults = append(faults, front.listener.Close())
		}
	}
	for _, front := range f.udp {
		if front != nil {
			faults = append(faults, front.conn.Close())
		}
	}
	return errors.Join(faults...)
}

// listens tells whether the settings want a listener there.
func (s *settings) listens(at netip.AddrPort, udp bool) bool {
	ports := s.tcp
	if udp {
		ports = s.udp
	}
	_, wanted := ports[int(at.Port())]
	return wanted && slices.Contains(s.own.all(), at.Addr())
}

func (b *balancer) closeFronts(stays func(at netip.AddrPort, udp bool) bool) {
	for at, front := range b.fronts.tcp {
		if !stays(at, false) {
			front.close()
			delete(b.fronts.tcp, at)
		}
	}
	for at, front := range b.fronts.udp {
		if !stays(at, true) {
			front.close()
			delete(b.fronts.udp, at)
		}
	}
}

func (b *balancer) close() {
	b.closeFronts(func(netip.AddrPort, bool) bool { return false })
	b.members.close()
	if up := b.upstream.Load(); up != nil {
		up.transport.CloseIdleConnections()
	}
}
