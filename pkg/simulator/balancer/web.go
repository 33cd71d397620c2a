package balancer

import (
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"k8s.io/klog/v2"
)

var errNoCertificate = errors.New("the load balancer has no certificate")

// webServer serves the HTTP connections of a port, with TLS or without, that the port's accept loop feeds to it.
type webServer struct {
	front  *tcpFront
	queue  *connQueue
	server *http.Server
	tls    bool
}

func newWebServer(f *tcpFront, withTLS bool) *webServer {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(withTLS)
	scheme := "http"
	if withTLS {
		scheme = "https"
	}
	w := &webServer{front: f, tls: withTLS, queue: newConnQueue(f.listener.Addr())}
	w.server = &http.Server{
		Handler:           webHandler{b: f.b, port: f.port, scheme: scheme},
		ReadHeaderTimeout: f.b.limits.header,
		IdleTimeout:       f.b.limits.keepAlive,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          quietLog(f.b.log),
		ConnContext:       withTracked,
		// OPTIONS * is a request like others: Go's server would answer it by itself.
		DisableGeneralOptionsHandler: true,
	}
	if withTLS {
		w.server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: f.b.tlsConfig}
	}
	return w
}

// tlsConfig is asked for every handshake: a new certificate and a switched http2 are seen by the next connection.
func (b *balancer) tlsConfig(*tls.ClientHelloInfo) (*tls.Config, error) {
	s := b.settings.Load()
	if s.certificate == nil {
		return nil, errNoCertificate
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*s.certificate},
		NextProtos:   []string{"http/1.1"},
		// A resumed session would not be shown a new certificate.
		SessionTicketsDisabled: true,
	}
	if s.spec.HTTP2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config, nil
}

func (w *webServer) serve() {
	var err error
	if w.tls {
		err = w.server.ServeTLS(w.queue, "", "")
	} else {
		err = w.server.Serve(w.queue)
	}
	if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		w.front.b.log.Error(err, "Serving HTTP", "port", w.front.port)
	}
}

func (w *webServer) feed(conn *tracked) {
	if !w.queue.feed(conn) {
		_ = conn.Close() // the front is closing
	}
}

func (w *webServer) close() {
	_ = w.queue.Close()  // closing is idempotent
	_ = w.server.Close() // its connections are closed already
}

// webHandler answers the requests of a port.
type webHandler struct {
	b      *balancer
	port   int
	scheme string // http or https, as the requests come
}

// altSvcAge is how many seconds a client may remember that there is HTTP/3: it can be switched off at any time.
const altSvcAge = 60

// ServeHTTP passes a request on to a backend under the rule that the port has now.
func (h webHandler) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	s := h.b.settings.Load()
	rule, ok := s.tcp[h.port]
	r, clock, done := whileMoving(out, r, s.timeout, h.b.limits.grace)
	defer done()
	source, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case !ok || rule.FrontendProtocol != h.scheme:
		goAway(out, r, http.StatusServiceUnavailable) // the rule changed since the connection came
		return
	case r.Method == http.MethodConnect:
		goAway(out, r, http.StatusMethodNotAllowed) // a tunnel would hide what is asked through it
		return
	case err != nil || !s.firewall.admits(h.port, source.Addr()):
		goAway(out, r, http.StatusForbidden) // the firewall changed since the connection came
		return
	case h.scheme == "http" && s.redirectPort != 0:
		redirect(out, r, s.redirectPort)
		return
	}
	h.b.passOn(out, r, &exchange{settings: s, rule: rule, clock: clock, out: out})
}

func goAway(out http.ResponseWriter, r *http.Request, status int) {
	if r.ProtoMajor < 3 { // HTTP/3 has no such header; HTTP/2 neither, but Go's server takes it as the wish that it is
		out.Header().Set("Connection", "close")
	}
	http.Error(out, http.StatusText(status), status)
}

// redirect sends the client to the https listener under the name that it used.
func redirect(out http.ResponseWriter, r *http.Request, port int) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if port != 443 {
		host = hostWithPort(host, port)
	}
	if unfinished(r) {
		out.Header().Set("Connection", "close")
	}
	target := *r.URL
	target.Scheme, target.Host = "https", host
	http.Redirect(out, r, target.String(), http.StatusFound) //nolint:gosec // to the same name that the client asked
}

// connQueue is a net.Listener that gives out the connections which it is fed.
type connQueue struct {
	address net.Addr
	waiting chan net.Conn
	once    sync.Once
	done    chan struct{}
}

func newConnQueue(address net.Addr) *connQueue {
	return &connQueue{address: address, waiting: make(chan net.Conn), done: make(chan struct{})}
}

func (q *connQueue) feed(conn net.Conn) bool {
	select {
	case q.waiting <- conn:
		return true
	case <-q.done:
		return false
	}
}

// Accept returns the next connection.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.waiting:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and feed.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr is the address of the real listener.
func (q *connQueue) Addr() net.Addr { return q.address }

// quietLog keeps what clients do wrong out of the normal log.
func quietLog(logger klog.Logger) *log.Logger {
	return log.New(lineWriter{logger}, "", 0)
}

type lineWriter struct{ logger klog.Logger }

func (w lineWriter) Write(line []byte) (int, error) {
	w.logger.V(4).Info("HTTP", "message", strings.TrimSpace(string(line)))
	return len(line), nil
}
