package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// exchange is one request on its way: what the handler knows and the transport needs.
type exchange struct {
	settings *settings
	rule     simulator.BalancerRule
	clock    *idleClock
	out      http.ResponseWriter
	request  *http.Request // the client's
	client   net.Addr
	frontend net.Addr
	one      *member // the backend that is asked now
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) (*exchange, bool) {
	e, ok := ctx.Value(exchangeKey{}).(*exchange)
	return e, ok
}

// prepare says in the answer's header what is the load balancer's own to say. It comes last before the answer, as
// interim answers (103) empty the header.
func (e *exchange) prepare() {
	if e.settings.quic[e.rule.FrontendPort] && e.request.ProtoMajor < 3 {
		e.out.Header().Set("Alt-Svc", fmt.Sprintf(`h3=":%d"; ma=%d`, e.rule.FrontendPort, altSvcAge))
	}
	// A backend may answer while the request still comes. Unless the connection ends with the answer, Go's server would
	// hold the answer back and take the rest of the request away from the backend.
	if unfinished(e.request) {
		e.out.Header().Set("Connection", "close")
	}
}

// passOn answers a request with what a backend answers.
func (b *balancer) passOn(out http.ResponseWriter, r *http.Request, e *exchange) {
	if !b.exchanges.take() {
		goAway(out, r, http.StatusServiceUnavailable)
		return
	}
	defer b.exchanges.giveBack()
	e.client = asTCP(r.RemoteAddr)
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		e.frontend = asTCP(local.String())
	}
	// Only now is the exchange over: an upgraded connection (WebSocket) lives as long as the handler.
	defer func() {
		if e.one != nil {
			b.members.release(e.one)
		}
	}()
	e.request = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e))
	b.proxy.ServeHTTP(out, e.request)
}

// asTCP returns an address in the form in which PROXY headers tell of it, also when datagrams (HTTP/3) came from there;
// nil for what is not an address.
func asTCP(address string) net.Addr {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(parsed.Addr().Unmap(), parsed.Port()))
}

func newProxy(b *balancer) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:       rewrite,
		Transport:     selector{b},
		FlushInterval: -1, // a stream must not wait for a buffer to fill
		BufferPool:    copyBuffers{},
		ErrorLog:      quietLog(b.log),
		ErrorHandler:  failed,
	}
}

// copyBuffers lends out what answers are copied with.
type copyBuffers struct{}

// Get lends a buffer.
func (copyBuffers) Get() []byte { return takeBuffer()[:] }

// Put takes it back.
func (copyBuffers) Put(buffer []byte) {
	if len(buffer) == bufferSize {
		buffers.Put((*[bufferSize]byte)(buffer))
	}
}

// rewrite tells the backend about the client, and leaves the rest of the request as it is.
func rewrite(r *httputil.ProxyRequest) {
	e, ok := exchangeOf(r.In.Context())
	if !ok {
		return
	}
	r.Out.URL.Scheme = "http"
	if e.rule.BackendProtocol == "https" {
		r.Out.URL.Scheme = "https"
	}
	r.Out.URL.Host = "backend" // the transport's choice
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] // SetXForwarded adds the client to it
	r.SetXForwarded()
	r.Out.Header.Set("X-Forwarded-Port", strconv.Itoa(e.rule.FrontendPort))
	// Inside an h2c tunnel further requests would go by the firewall, and by everything else that judges requests.
	if strings.Contains(strings.ToLower(r.Out.Header.Get("Upgrade")), "h2c") {
		r.Out.Header.Del("Upgrade")
		r.Out.Header.Del("Connection")
	}
}

// failed answers as the platform's proxy does: 503 without a backend, 504 when it is silent, 502 for the rest.
func failed(out http.ResponseWriter, r *http.Request, err error) {
	if e, ok := exchangeOf(r.Context()); ok {
		e.prepare()
	}
	status := http.StatusBadGateway
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errNoBackend), isDialError(err):
		status = http.StatusServiceUnavailable
	case errors.Is(context.Cause(r.Context()), errIdle):
		goAway(out, r, http.StatusGatewayTimeout)
		return
	case isNet && timeout.Timeout():
		status = http.StatusGatewayTimeout
	}
	http.Error(out, http.StatusText(status), status)
}

// selector is the transport of the proxy: it chooses the backend for each request.
type selector struct{ b *balancer }

// RoundTrip asks one backend. Another one is asked only when no connection came about: then nothing was sent.
func (t selector) RoundTrip(r *http.Request) (*http.Response, error) {
	e, ok := exchangeOf(r.Context())
	if !ok {
		return nil, errors.New("a request without its exchange")
	}
	cookie, failure := stickyToken(r, e.settings.spec.StickyCookie), errNoBackend
	want := choice{
		listener: listenerOf(e.rule), algorithm: e.settings.spec.Algorithm, sticky: cookie, tried: map[*member]bool{},
	}
	for {
		one, ok := t.b.members.acquire(want)
		if !ok {
			return nil, failure
		}
		e.one = one
		response, err := t.b.upstream.Load().transport.RoundTrip(outgoing(r, one, e.rule.BackendPort))
		if err == nil {
			if response.StatusCode != http.StatusSwitchingProtocols {
				e.prepare()
			}
			stick(response, e.settings.spec.StickyCookie, cookie, one.token)
			touching(response, e.clock)
			return response, nil
		}
		if !isDialError(err) || r.Context().Err() != nil {
			return nil, err
		}
		want.tried[one], failure = true, err
		e.one = nil
		t.b.members.release(one)
	}
}

// outgoing is the request for one backend. Its body stays open, so that another backend can be tried.
func outgoing(r *http.Request, one *member, port int) *http.Request {
	out := r.WithContext(r.Context())
	url := *r.URL
	url.Host = hostWithPort(one.backend.Address, port)
	out.URL = &url
	if r.Body != nil {
		out.Body = io.NopCloser(r.Body)
	}
	return out
}

func hostWithPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func isDialError(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// stickyToken is the backend that the client's cookie names.
func stickyToken(r *http.Request, name string) string {
	if name == "" {
		return ""
	}
	cookie, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// stick tells the client which backend it belongs to from now on, unless it knows.
func stick(response *http.Response, name, known, token string) {
	if name == "" || known == token {
		return
	}
	cookie := &http.Cookie{Name: name, Value: token, Path: "/", HttpOnly: true} //nolint:gosec // served on http and https alike
	response.Header.Add("Set-Cookie", cookie.String())
}

// upstreamOptions are what a transport is made for.
type upstreamOptions struct {
	own           endpoint
	proxyProtocol bool
}

// newTransport makes the transport to the backends. Certificates of backends are not verified: they are made for
// other names, and the platform does not either. With the PROXY protocol a connection speaks for one client alone.
func newTransport(options upstreamOptions, limits limits, dial dialFunc) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			e, ok := exchangeOf(ctx)
			if err != nil || !options.proxyProtocol || !ok || e.client == nil || e.frontend == nil {
				return conn, err
			}
			if err := announce(conn, e.client, e.frontend); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return conn, nil
		},
		DisableKeepAlives:      options.proxyProtocol,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		TLSHandshakeTimeout:    limits.header,
		// A client that asks before it sends a body (Expect) is answered by the backend, if that speaks in time.
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see the function's comment
	}
}

// sourceOf is the address of a connection's other end.
func sourceOf(address net.Addr) netip.Addr {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
