package balancer

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// These tests are of answers that come early, late, in pieces or without a body.

// answersEarly refuses a request before it has read it; to /both it answers after the first byte and again at the end.
func answersEarly(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/both" {
		w.Header().Set("Connection", "close") // else Go's server would read on before it answers
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	control := http.NewResponseController(w)
	if err := control.EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	first, _ := r.Body.Read(make([]byte, 1))
	_, _ = io.WriteString(w, "first\n")
	_ = control.Flush()
	rest, err := io.Copy(io.Discard, r.Body)
	_, _ = fmt.Fprintf(w, "%d %v\n", int64(first)+rest, err)
}

// TestAnswerWhileTheRequestGoesOn: the answer comes as soon as the backend gives it, and all of the request still gets
// to the backend.
func TestAnswerWhileTheRequestGoesOn(t *testing.T) {
	r := webRig(t, nil, answersEarly)
	c := dialTCP(t, r.at(8080))
	const size = 100_000
	if _, err := fmt.Fprintf(c, "POST /both HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nhalf", size); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(response.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := io.WriteString(c, strings.Repeat("x", size-len("half"))); err != nil {
		t.Fatal(err)
	}
	if line, err := body.ReadString('\n'); err != nil || line != fmt.Sprintf("%d <nil>\n", size) {
		t.Errorf("%q, %v", line, err)
	}
	if !response.Close {
		t.Error("the connection is offered for another request, though it was not known how this one ends")
	}
}

// TestRequestsThatNeverEnd: who stops in the middle of a request, or never ends it, is answered as soon as the backend
// answers, and loses the connection soon after that, whatever the timeout of the load balancer.
func TestRequestsThatNeverEnd(t *testing.T) {
	for name, body := range map[string]string{
		"a length":    "Content-Length: 100000\r\n\r\nhalf",
		"chunks":      "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"many chunks": "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat("x", 0x10000)+"\r\n", 6),
	} {
		t.Run(name, func(t *testing.T) {
			r := webRig(t, func(l *limits) { l.grace = 50 * time.Millisecond }, answersEarly)
			c := dialTCP(t, r.at(8080))
			go func() { _, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n"+body) }() // it may not be able to say it all
			response, err := http.ReadResponse(c.in, nil)
			if err != nil || response.StatusCode != http.StatusForbidden || !response.Close {
				t.Fatalf("%+v, %v", response, err)
			}
			used := &r.plane.find(r.spec.ID).budget.used
			await(t, "the connection to be given back", func() bool { return used.Load() == 0 })
		})
	}
}

// TestUnreadAnswers: the load balancer's own answers, too, are given up when nobody takes them, and so are requests with
// a body that are not passed on.
func TestUnreadAnswers(t *testing.T) {
	addresses, port := group(t, 1)
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, rule("http", 8080, port), https)
	r.tighten(func(l *limits) { l.grace = 50 * time.Millisecond })
	r.spec.Certificate, r.spec.SSLRedirect, r.spec.Timeout = certificate(t, "x.example"), true, 300*time.Millisecond
	r.backends(addresses)
	r.apply()
	used := &r.plane.find(r.spec.ID).budget.used
	for name, test := range map[string]struct {
		says  string
		times int
	}{
		"many":            {"GET /" + strings.Repeat("x", 8000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 2000},
		"a torn request":  {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf", 1},
		"a torn refusal":  {"CONNECT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf", 1},
		"endless chunks":  {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 1},
		"an expectation":  {"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n", 1},
		"a hasty request": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\nhalf", 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTCP(t, r.at(8080))
			await(t, "the connection to be counted", func() bool { return used.Load() == 1 })
			go func() { _, _ = io.WriteString(c, strings.Repeat(test.says, test.times)) }() // it may not be able to say it all
			await(t, "the connection to be given back", func() bool { return used.Load() == 0 })
		})
	}
}

// TestExpectation: who asks before it sends a body is answered by the backend, not by the load balancer.
func TestExpectation(t *testing.T) {
	r := webRig(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	ask := func(path string) (*client, string) {
		t.Helper()
		c := dialTCP(t, r.at(8080))
		if _, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return c, line
	}
	if _, line := ask("/no"); line != "HTTP/1.1 403 Forbidden\r\n" {
		t.Errorf("a request that the backend refuses: %q", line)
	}
	c, line := ask("/yes")
	if end, err := c.in.ReadString('\n'); err != nil || line+end != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("a request that the backend takes: %q%q, %v", line, end, err)
	}
	if _, err := io.WriteString(c, "body"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK || string(text) != "body" {
		t.Errorf("%s %q, %v", response.Status, text, err)
	}
}

// TestPartsOfAnswers: interim answers, trailers and the lengths of answers to HEAD get through, beside what the load
// balancer has to say itself.
func TestPartsOfAnswers(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/interim":
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		case "/trailer":
			w.Header().Set("Trailer", "Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("Sum", "4")
		case "/length":
			w.Header().Set("Content-Length", "1234")
		}
	})
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, rule("http", 8080, port), https)
	r.spec.Certificate, r.spec.HTTP2, r.spec.HTTP3 = certificate(t, "x.example"), true, true
	r.backends(addresses)
	r.apply()
	r.await(1)

	answer := raw(t, r.at(8080), "GET /interim HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	interim, final, _ := strings.Cut(answer, "\r\n\r\n")
	if interim != "HTTP/1.1 103 Early Hints\r\nLink: </style.css>" || !strings.HasPrefix(final, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("an interim answer: %q", answer)
	}
	if response, _ := get(t, http.MethodGet, "https://"+r.at(8443)+"/interim", "", nil); response.Header.Get("Alt-Svc") == "" {
		t.Error("HTTP/3 is not announced after an interim answer")
	}
	for _, url := range []string{"http://" + r.at(8080), "https://" + r.at(8443)} {
		if response, _ := get(t, http.MethodGet, url+"/trailer", "", nil); response.Trailer.Get("Sum") != "4" {
			t.Errorf("%s: trailers %v", url, response.Trailer)
		}
		if response, _ := get(t, http.MethodHead, url+"/length", "", nil); response.ContentLength != 1234 {
			t.Errorf("%s: an answer to HEAD of length %d", url, response.ContentLength)
		}
	}
}

// TestNoSecondBackendAfterTheFirst: a request of which a backend may have done something goes to no other one.
func TestNoSecondBackendAfterTheFirst(t *testing.T) {
	addresses, port := group(t, 2)
	asked := make(chan string, 10)
	for _, address := range addresses {
		web(t, address, port, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			asked <- r.Method
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		})
	}
	r := newRig(t, rule("http", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(2)
	for _, body := range []string{"", "body"} {
		if response, _ := get(t, http.MethodPost, "http://"+r.at(8080)+"/", body, nil); response.StatusCode != http.StatusBadGateway {
			t.Errorf("%q: %s", body, response.Status)
		}
		if <-asked; len(asked) != 0 {
			t.Errorf("%q: asked twice", body)
		}
	}
}

// TestHalfClosedTunnel: a client that has said everything still gets the answer, through a tunnel too.
func TestHalfClosedTunnel(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, func(w http.ResponseWriter, _ *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		n, err := io.Copy(io.Discard, both)
		_, _ = fmt.Fprintf(conn, "%d %v\n", n, err)
	})
	r := newRig(t, rule("http", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	c := openTunnel(t, r.at(8080))
	_, err := io.WriteString(c, "hello")
	if tcp, ok := c.Conn.(*net.TCPConn); err != nil || !ok || tcp.CloseWrite() != nil {
		t.Fatalf("the end cannot be told: %v", err)
	}
	if got, err := io.ReadAll(c.in); err != nil || string(got) != "5 <nil>\n" {
		t.Errorf("%q, %v", got, err)
	}
	await(t, "the tunnel's end to be noticed", func() bool { return r.connections() == 0 })
}

// TestRequestsAreBounded: many at once over few connections are as many connections to backends.
func TestRequestsAreBounded(t *testing.T) {
	addresses, port := group(t, 1)
	release := make(chan struct{})
	web(t, addresses[0], port, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-release
		}
	})
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, https)
	r.tighten(func(l *limits) { l.connections = 3 })
	r.spec.Certificate, r.spec.HTTP2 = certificate(t, "x.example"), true
	r.backends(addresses)
	r.apply()
	r.await(1)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	one := &http.Client{Transport: transport, Timeout: patience}
	ask := func(path string) *http.Response {
		t.Helper()
		response, err := one.Get("https://" + r.at(8443) + path)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	var waiting []*http.Response
	for range 3 {
		waiting = append(waiting, ask("/wait"))
	}
	tooMany := ask("/")
	_ = tooMany.Body.Close()
	if tooMany.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a fourth request of three: %s", tooMany.Status)
	}
	close(release)
	for _, response := range waiting {
		if text, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(text, nil) {
			t.Errorf("%q, %v", text, err)
		}
		_ = response.Body.Close()
	}
	await(t, "room for one more", func() bool {
		response := ask("/")
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}
