package balancer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

// dialTimeout is short, so that a connection to an instance that has just vanished is soon tried elsewhere.
const dialTimeout = 4 * time.Second

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialFrom dials from the load balancer's own address, which is what the nodes of the real platform see as source.
// Loopback and other addresses cannot talk to each other: between them the kernel chooses the source.
func dialFrom(own endpoint) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: dialTimeout}
		target, err := netip.ParseAddrPort(address)
		source := own.v4
		if err == nil && target.Addr().Is6() {
			source = own.v6
		}
		if err == nil && source.IsValid() && target.Addr().IsLoopback() == source.IsLoopback() {
			local := netip.AddrPortFrom(source, 0)
			if network == "udp" {
				dialer.LocalAddr = net.UDPAddrFromAddrPort(local)
			} else {
				dialer.LocalAddr = net.TCPAddrFromAddrPort(local)
				dialer.Control = bindLate
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
}

// bindLate lets the kernel choose the port when it knows the target: else each connection would need a port that no
// other connection from this address has, and they run out under load.
func bindLate(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if err != nil {
		return err
	}
	return failed
}

// announce sends the PROXY header that tells the backend who the client is.
func announce(backend net.Conn, client, frontend net.Addr) error {
	header := proxyproto.HeaderProxyFromAddrs(1, client, frontend)
	if err := backend.SetWriteDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if _, err := header.WriteTo(backend); err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	return backend.SetWriteDeadline(time.Time{})
}
