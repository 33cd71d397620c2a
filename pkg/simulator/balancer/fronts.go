package balancer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
)

// fronts are the open listeners, by address and port.
type fronts struct {
	tcp  map[netip.AddrPort]*tcpFront
	udp  map[netip.AddrPort]*udpFront
	quic map[netip.AddrPort]*quicFront
}

func newFronts() fronts {
	return fronts{
		tcp: map[netip.AddrPort]*tcpFront{}, udp: map[netip.AddrPort]*udpFront{}, quic: map[netip.AddrPort]*quicFront{},
	}
}

// listens tells what the settings want to listen there.
func (s *settings) listens(at netip.AddrPort) (tcp, udp, quic bool) {
	if !slices.Contains(s.own.all(), at.Addr()) {
		return false, false, false
	}
	port := int(at.Port())
	_, tcp = s.tcp[port]
	_, udp = s.udp[port]
	return tcp, udp, s.quic[port]
}

// open listens wherever the settings want it and nobody listens yet; all or none.
func (b *balancer) open(ctx context.Context, wanted *settings) (fronts, error) {
	opened := newFronts()
	var err error
	for _, address := range wanted.own.all() {
		err = errors.Join(err,
			openMissing(ctx, address, wanted.tcp, b.fronts.tcp, opened.tcp, b.openTCP),
			openMissing(ctx, address, wanted.udp, b.fronts.udp, opened.udp, b.openUDP),
			openMissing(ctx, address, wanted.quic, b.fronts.quic, opened.quic, b.openQUIC))
	}
	if err != nil {
		return opened, errors.Join(err, opened.abandon())
	}
	return opened, nil
}

// openMissing opens a listener for each port at the address that has none, until one fails.
func openMissing[Rule, Front any](
	ctx context.Context, address netip.Addr, ports map[int]Rule, present, opened map[netip.AddrPort]Front,
	open func(context.Context, netip.AddrPort) (Front, error),
) error {
	for port := range ports {
		at := netip.AddrPortFrom(address, uint16(port)) //nolint:gosec // compile checked the port
		if _, ok := present[at]; ok {
			continue
		}
		front, err := open(ctx, at)
		if err != nil {
			return err
		}
		opened[at] = front
	}
	return nil
}

func (b *balancer) openTCP(ctx context.Context, at netip.AddrPort) (*tcpFront, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return newTCPFront(b, int(at.Port()), listener), nil
}

func (b *balancer) openUDP(ctx context.Context, at netip.AddrPort) (*udpFront, error) {
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

func (b *balancer) openQUIC(ctx context.Context, at netip.AddrPort) (*quicFront, error) {
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, "udp", at.String())
	if err != nil {
		return nil, err
	}
	front, err := newQUICFront(b, int(at.Port()), conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return front, nil
}

// abandon closes listeners that were never started.
func (f fronts) abandon() error {
	var faults []error
	for _, front := range f.tcp {
		faults = append(faults, front.listener.Close())
	}
	for _, front := range f.udp {
		faults = append(faults, front.conn.Close())
	}
	for _, front := range f.quic {
		faults = append(faults, front.abandon())
	}
	return errors.Join(faults...)
}

// startAll takes in listeners and starts them.
func (f fronts) startAll(opened fronts) {
	for at, front := range opened.tcp {
		f.tcp[at] = front
		front.start()
	}
	for at, front := range opened.udp {
		f.udp[at] = front
		front.start()
	}
	for at, front := range opened.quic {
		f.quic[at] = front
		front.start()
	}
}

// closeUnwanted closes every listener that the settings do not want. Without settings none is.
func (f fronts) closeUnwanted(wanted *settings) {
	stays := func(netip.AddrPort) (tcp, udp, quic bool) { return false, false, false }
	if wanted != nil {
		stays = wanted.listens
	}
	for at, front := range f.tcp {
		if tcp, _, _ := stays(at); !tcp {
			front.close()
			delete(f.tcp, at)
		}
	}
	f.closeDatagrams(stays)
}

// closeDatagrams is closeUnwanted for datagrams alone.
func (f fronts) closeDatagrams(stays func(netip.AddrPort) (tcp, udp, quic bool)) {
	for at, front := range f.udp {
		if _, udp, _ := stays(at); !udp {
			front.close()
			delete(f.udp, at)
		}
	}
	for at, front := range f.quic {
		if _, _, quic := stays(at); !quic {
			front.close()
			delete(f.quic, at)
		}
	}
}
