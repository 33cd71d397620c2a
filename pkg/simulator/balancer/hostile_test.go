package balancer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// These tests are of clients and backends that mean harm, or behave as if.

// raw sends bytes over a connection of its own and returns everything that comes back until the other side ends it.
func raw(t testing.TB, target, text string) string {
	t.Helper()
	c := dialTCP(t, target)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q is not answered and not ended", text)
	}
	return string(answer)
}

// webRig is a load balancer with an http rule at port 8080 to one backend that serves with the handler.
func webRig(t testing.TB, change func(*limits), handler http.HandlerFunc) *rig {
	t.Helper()
	addresses, port := group(t, 1)
	web(t, addresses[0], port, handler)
	r := newRig(t, rule("http", 8080, port))
	if change != nil {
		r.tighten(change)
	}
	r.backends(addresses)
	r.apply()
	r.await(1)
	return r
}

func TestOversizedHeaders(t *testing.T) {
	r := webRig(t, nil, nil)
	for name, header := range map[string]string{
		"one long value": "X-Long: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n",
		"many":           strings.Repeat("X-Many: "+strings.Repeat("x", 100)+"\r\n", 2*maxHeaderBytes/100),
		"long path":      "",
	} {
		path := "/"
		if header == "" {
			path += strings.Repeat("x", 2*maxHeaderBytes)
		}
		answer := raw(t, r.at(8080), "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 431 ") {
			t.Errorf("%s: answered %.80q", name, answer)
		}
	}
}

func TestOversizedAnswerHeader(t *testing.T) {
	r := webRig(t, nil, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/long" {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeaderBytes))
		}
	})
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/long", "", nil); response.StatusCode != http.StatusBadGateway {
		t.Errorf("%d", response.StatusCode)
	}
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil); response.StatusCode != http.StatusOK {
		t.Errorf("%d after it", response.StatusCode)
	}
}

// TestSlowRequests: who does not say in time what it wants is sent away, whatever it has said so far.
func TestSlowRequests(t *testing.T) {
	r := webRig(t, func(l *limits) {
		l.header, l.keepAlive, l.grace = 200*time.Millisecond, 200*time.Millisecond, time.Millisecond
	}, nil)
	for name, test := range map[string]struct{ says, answer string }{
		"nothing":               {"", ""},
		"a piece of the line":   {"GET / HT", ""},
		"a piece of the header": {"GET / HTTP/1.1\r\nHost: x\r\nX-A", ""},
		"nothing after one":     {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"},
	} {
		// Go's server says 408 to some of them before it closes.
		answer := raw(t, r.at(8080), test.says)
		if !strings.HasPrefix(answer, test.answer) || test.answer == "" && strings.Contains(answer, " 200 ") {
			t.Errorf("%s: answered %.80q", name, answer)
		}
	}
}

// TestStalledBodies: a body that stops coming or going ends the exchange on both sides, in all four places.
func TestStalledBodies(t *testing.T) {
	const half = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
	endless := func(w http.ResponseWriter, request *http.Request) {
		for request.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}
	stalls := func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		<-request.Context().Done()
	}
	neverReads := func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		says    string
		reads   bool
		answer  string
	}{
		"the client stops sending":       {nil, half, true, "HTTP/1.1 504 "},
		"the backend stops sending":      {stalls, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, "HTTP/1.1 200 "},
		"the client stops reading":       {endless, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false, ""},
		"the backend does not read":      {neverReads, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 1<<20), true, "HTTP/1.1 504 "},
		"the backend does not answer":    {neverReads, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", true, "HTTP/1.1 504 "},
		"the chunks stop":                {nil, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true, "HTTP/1.1 504 "},
		"the client stops inside a size": {nil, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4", true, "HTTP/1.1 504 "},
	} {
		t.Run(name, func(t *testing.T) {
			r := webRig(t, func(l *limits) { l.grace = 50 * time.Millisecond }, test.handler)
			r.spec.Timeout = 300 * time.Millisecond
			r.apply()
			c := dialTCP(t, r.at(8080))
			go func() { _, _ = io.WriteString(c, test.says) }() // it may not be able to say it all
			if test.reads {
				answer, _ := io.ReadAll(c) // how it ends does not matter, but that it ends
				if !strings.HasPrefix(string(answer), test.answer) || strings.HasSuffix(string(answer), "half") != (name == "the backend stops sending") {
					t.Errorf("answered %q", answer)
				}
			} else {
				await(t, "the request to be passed on", func() bool { return r.connections() == 1 })
			}
			await(t, "the backend to be given up", func() bool { return r.connections() == 0 })
		})
	}
}

// TestIdleTunnel: an upgraded connection lives while something moves and ends when nothing does.
func TestIdleTunnel(t *testing.T) {
	addresses, port := group(t, 1)
	tunnelServer(t, addresses[0], port)
	r := newRig(t, rule("http", 8080, port))
	r.spec.Timeout = time.Second
	r.backends(addresses)
	r.apply()
	r.await(1)
	c := openTunnel(t, r.at(8080))
	c.mustAsk("hello")
	if _, err := c.in.ReadByte(); err == nil {
		t.Error("something came")
	}
	await(t, "the backend's connection to end", func() bool { return r.connections() == 0 })
}

// openTunnel upgrades a connection to the protocol of tunnelServer.
func openTunnel(t testing.TB, target string) *client {
	t.Helper()
	c := dialTCP(t, target)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return c
		}
	}
}

// tunnelServer answers every upgrade, and then every line with "echo" and the line.
func tunnelServer(t testing.TB, address string, port int) {
	t.Helper()
	web(t, address, port, func(w http.ResponseWriter, request *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+request.Header.Get("Upgrade")+"\r\n\r\n")
		lines := bufio.NewScanner(both)
		for lines.Scan() {
			if _, err := fmt.Fprintf(conn, "echo %s\n", lines.Text()); err != nil {
				return
			}
		}
	})
}

// TestNoWayPastTheRules: no tunnel through which further requests would go unjudged.
func TestNoWayPastTheRules(t *testing.T) {
	addresses, port := group(t, 1)
	tunnelServer(t, addresses[0], port)
	r := newRig(t, rule("http", 8080, port))
	r.spec.Timeout = 500 * time.Millisecond
	r.backends(addresses)
	r.apply()
	r.await(1)
	for _, upgrade := range []string{"h2c", "H2C", "websocket, h2c"} {
		answer := raw(t, r.at(8080), "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nUpgrade: "+upgrade+"\r\n\r\n")
		if strings.HasPrefix(answer, "HTTP/1.1 101") {
			t.Errorf("Upgrade: %s opened a tunnel", upgrade)
		}
	}
	answer := raw(t, r.at(8080), "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 405 ") {
		t.Errorf("CONNECT is answered %q", answer)
	}
	c := openTunnel(t, r.at(8080)) // what is not h2c may
	c.mustAsk("hello")
}

// TestForgedHeaders: what the load balancer says of the client cannot be said by the client.
func TestForgedHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	r := webRig(t, nil, func(_ http.ResponseWriter, request *http.Request) { seen <- request.Header.Clone() })
	const forged = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Host: evil\r\n" +
		"Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n"
	for name, extra := range map[string]string{
		"plainly":             "",
		"as hop by hop":       "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Port, close\r\n",
		"in many connections": "Connection: x-forwarded-for\r\nConnection: x-forwarded-proto\r\n",
	} {
		raw(t, r.at(8080), "GET / HTTP/1.1\r\nHost: shop\r\n"+forged+extra+"\r\nGET /broken\r\n\r\n")
		h := <-seen
		last := h["X-Forwarded-For"][len(h["X-Forwarded-For"])-1]
		if !strings.HasSuffix(last, "127.0.0.1") || len(h["X-Forwarded-For"]) != 1 {
			t.Errorf("%s: X-Forwarded-For is %q: the last must be the client", name, h["X-Forwarded-For"])
		}
		for header, want := range map[string]string{"X-Forwarded-Proto": "http", "X-Forwarded-Port": "8080", "X-Forwarded-Host": "shop", "Forwarded": ""} {
			if got := strings.Join(h[http.CanonicalHeaderKey(header)], "|"); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
}

// TestPROXYHeadersOfClients: only the load balancer's own one is the first, and no HTTP rule takes one.
func TestPROXYHeadersOfClients(t *testing.T) {
	addresses, port := group(t, 1)
	listener := listen(t, addresses[0], port)
	r := newRig(t, rule("tcp", 8080, port), rule("http", 8081, port))
	r.spec.ProxyProtocol = true
	r.spec.HealthCheck.Interval = time.Hour // one check, whose connection is the first
	r.backends(addresses)
	r.apply()
	if check, err := listener.Accept(); err != nil || check.Close() != nil {
		t.Fatal(err)
	}
	r.await(1)
	const forged = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
	c := dialTCP(t, r.at(8080))
	if _, err := io.WriteString(c, forged); err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	first, _ := in.ReadString('\n')
	second, _ := in.ReadString('\n')
	host, sourcePort, _ := net.SplitHostPort(c.LocalAddr().String())
	if want := fmt.Sprintf("PROXY TCP4 %s %s %s 8080\r\n", host, r.spec.Address, sourcePort); first != want || second != forged {
		t.Errorf("the backend got %q and %q, want %q and the client's", first, second, want)
	}
	if answer := raw(t, r.at(8081), forged+"GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("an http rule answered a PROXY header with %q", answer)
	}
}
