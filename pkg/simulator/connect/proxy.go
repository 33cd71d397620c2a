// Package connect is an HTTP CONNECT proxy that is api.vultr.com: it terminates TLS for that name, with a certificate
// authority of its own, and hands what comes out to the simulated cloud. Every client that honours HTTPS_PROXY and
// SSL_CERT_FILE works against the simulator without being told of it.
package connect

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/guard"
)

// Host is the only place where the proxy leads.
const Host = "api.vultr.com"

const target = Host + ":443"

// Proxy is one proxy. New makes it, Serve runs it.
type Proxy struct {
	outer, inner *http.Server
	tunnels      *tunnels
	log          klog.Logger
}

// New makes a proxy in front of the handler, which sees each client by its own address.
func New(authority *Authority, handler http.Handler, log klog.Logger) *Proxy {
	p := &Proxy{tunnels: newTunnels(), log: log}
	p.inner = guard.Server(handler)
	p.inner.TLSConfig = &tls.Config{
		GetCertificate: authority.serverCertificate, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}
	// A client that does not trust the authority says so itself.
	p.inner.ErrorLog = klog.NewStandardLogger("INFO")
	p.outer = guard.Server(http.HandlerFunc(p.connect))
	return p
}

// Serve answers on the listener until Shutdown or Close, and then gives http.ErrServerClosed.
func (p *Proxy) Serve(listener net.Listener) error {
	p.tunnels.address = listener.Addr()
	failed := make(chan error, 2)
	go func() { failed <- p.inner.ServeTLS(p.tunnels, "", "") }()
	go func() { failed <- p.outer.Serve(listener) }()
	err := <-failed
	return errors.Join(err, ignoreClosed(p.Close()), ignoreClosed(<-failed))
}

// Shutdown takes no more tunnels and waits until the open requests have ended.
func (p *Proxy) Shutdown(ctx context.Context) error {
	return errors.Join(p.outer.Shutdown(ctx), p.inner.Shutdown(ctx))
}

// Close ends everything at once.
func (p *Proxy) Close() error { return errors.Join(p.outer.Close(), p.inner.Close()) }

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// connect answers what a client asks of a proxy.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "this is a proxy for https://"+Host+" (set HTTPS_PROXY to it); it answers CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	if r.Host != target {
		p.log.V(2).Info("A tunnel to another host was refused", "host", r.Host, "source", r.RemoteAddr)
		http.Error(w, fmt.Sprintf("this proxy leads to %s, which is simulated, and nowhere else: not to %q", target, r.Host), http.StatusForbidden)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "a tunnel needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	// The server's deadlines were for the request's head.
	err = conn.SetDeadline(time.Time{})
	if err == nil {
		_, err = conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	}
	if err != nil || !p.tunnels.hand(tunnel{conn, buffered.Reader}) {
		_ = conn.Close() // nobody is there any more
	}
}

// tunnel is a client's connection with what it sent ahead of the answer to CONNECT.
type tunnel struct {
	net.Conn
	ahead *bufio.Reader
}

// Read returns first what was sent ahead.
func (t tunnel) Read(p []byte) (int, error) {
	if t.ahead.Buffered() > 0 {
		return t.ahead.Read(p[:min(len(p), t.ahead.Buffered())])
	}
	return t.Conn.Read(p)
}

// NetConn is the client's connection, for who has to reset it.
func (t tunnel) NetConn() net.Conn { return t.Conn }

// tunnels is the listener of the server inside.
type tunnels struct {
	address net.Addr
	open    chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newTunnels() *tunnels { return &tunnels{open: make(chan net.Conn), closed: make(chan struct{})} }

// hand gives a connection to the server inside; false when it takes none any more.
func (t *tunnels) hand(c net.Conn) bool {
	select {
	case t.open <- c:
		return true
	case <-t.closed:
		return false
	}
}

// Accept waits for a tunnel.
func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.open:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (t *tunnels) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// Addr is where the proxy listens.
func (t *tunnels) Addr() net.Addr { return t.address }
