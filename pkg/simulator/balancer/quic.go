package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// quicWindow bounds what one HTTP/3 connection can make the load balancer buffer.
const quicWindow = 4 << 20

// quicFront serves HTTP/3 beside an https listener: the same port, for datagrams.
type quicFront struct {
	b         *balancer
	port      int
	conn      *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener
	server    *http3.Server
	work      sync.WaitGroup
}

func newQUICFront(b *balancer, port int, conn net.PacketConn) (*quicFront, error) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("listening on udp gave a %T", conn)
	}
	f := &quicFront{b: b, port: port, conn: udp}
	f.server = &http3.Server{
		Handler:        webHandler{b: b, port: port, scheme: "https"},
		MaxHeaderBytes: maxHeaderBytes,
		IdleTimeout:    b.limits.keepAlive,
	}
	f.transport = &quic.Transport{
		Conn:        udp,
		ConnContext: f.admit,
		// With many connections open, a source must prove that it is there before it gets one more.
		VerifySourceAddress: func(net.Addr) bool { return b.budget.used.Load() > b.budget.limit/2 },
	}
	var err error
	f.listener, err = f.transport.Listen(
		http3.ConfigureTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: b.tlsConfig}),
		&quic.Config{
			HandshakeIdleTimeout: b.limits.header, MaxIdleTimeout: b.limits.keepAlive,
			MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: 8,
			MaxStreamReceiveWindow: quicWindow / 2, MaxConnectionReceiveWindow: quicWindow,
		})
	return f, err
}

var (
	errNotAdmitted = errors.New("the firewall does not admit the source")
	errTooMany     = errors.New("too many connections")
)

// admit judges a new connection; its context ends with it.
func (f *quicFront) admit(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	source, err := netip.ParseAddrPort(client.RemoteAddr.String())
	if err != nil || !f.b.settings.Load().firewall.admits(f.port, source.Addr()) {
		return nil, errNotAdmitted
	}
	if !f.b.budget.take() {
		return nil, errTooMany
	}
	context.AfterFunc(ctx, f.b.budget.giveBack)
	return ctx, nil
}

func (f *quicFront) start() {
	f.work.Go(func() {
		err := f.server.ServeListener(f.listener)
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, quic.ErrServerClosed) {
			f.b.log.Error(err, "Serving HTTP/3", "port", f.port)
		}
	})
}

// close ends every connection.
func (f *quicFront) close() {
	_ = f.server.Close() // what it says is about connections that are ended next
	_ = f.abandon()      // nothing is left to be done about what does not close
	f.work.Wait()
}

// abandon closes the sockets.
func (f *quicFront) abandon() error {
	return errors.Join(f.listener.Close(), f.transport.Close(), f.conn.Close())
}
