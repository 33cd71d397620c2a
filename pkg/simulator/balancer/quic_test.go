package balancer

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// http3Client is one with a connection of its own.
func http3Client(t testing.TB) *http.Client {
	t.Helper()
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		QUICConfig:      &quic.Config{HandshakeIdleTimeout: patience},
	}
	t.Cleanup(func() { _ = transport.Close() })
	return &http.Client{Transport: transport, Timeout: patience}
}

func ask3(client *http.Client, url, body string) (*http.Response, string, error) {
	response, err := client.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

// cannot3 demands that no HTTP/3 connection comes about.
func (r *rig) cannot3(why string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 300*time.Millisecond)
	defer cancel()
	conn, err := quic.DialAddr(ctx, r.at(8443), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{http3.NextProtoH3}}, nil)
	if err == nil {
		_ = conn.CloseWithError(0, "")
		r.t.Errorf("HTTP/3 although %s", why)
	}
}

func TestHTTP3(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, nil)
	echoUDP(t, addresses[0], port)
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, https)
	r.spec.Certificate, r.spec.HTTP2, r.spec.HTTP3 = certificate(t, "first.example"), true, true
	r.spec.StickyCookie = "LB"
	r.backends(addresses)
	r.apply()
	r.await(1)
	url := "https://" + r.at(8443) + "/path?a=b"
	first := http3Client(t)
	payload := strings.Repeat("x", 3<<20)
	response, body, err := ask3(first, url, payload)
	if err != nil || body != payload || response.ProtoMajor != 3 || response.Header.Get("Saw-X-Forwarded-Proto") != "https" ||
		response.Header.Get("Saw-X-Forwarded-For") != "127.0.0.1" || response.Header.Get("Saw-Query") != "a=b" || len(response.Cookies()) != 1 {
		t.Fatalf("%d bytes, %+v, %v", len(body), response, err)
	}
	if response, _ := get(t, http.MethodGet, url, "", nil); response.ProtoMajor != 2 || response.Header.Get("Alt-Svc") != `h3=":8443"; ma=60` {
		t.Errorf("HTTP/%d says Alt-Svc: %q", response.ProtoMajor, response.Header.Get("Alt-Svc"))
	}

	// Another certificate and a firewall: the next connection sees the one, requests of the open one the other.
	r.spec.Certificate = certificate(t, "second.example")
	r.apply()
	if response, _, err := ask3(http3Client(t), url, ""); err != nil || response.TLS.PeerCertificates[0].Subject.CommonName != "second.example" {
		t.Errorf("after the change of the certificate: %v", err)
	}
	r.spec.Firewall = []simulator.BalancerFirewallRule{{Port: 8443, Source: "192.0.2.0/24"}}
	r.apply()
	r.cannot3("the firewall does not admit the source")
	if response, _, err := ask3(first, url, ""); err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a request over an open connection that the firewall does not admit any more: %+v, %v", response, err)
	}
	r.spec.Firewall = nil

	// The port changes hands, to a udp rule and back.
	r.spec.HTTP3 = false
	r.spec.Rules = []simulator.BalancerRule{https, rule("udp", 8443, port)}
	r.apply()
	askUDP(t, dialUDP(t, r.at(8443)), "hello")
	if response, _ := get(t, http.MethodGet, url, "", nil); response.Header.Get("Alt-Svc") != "" {
		t.Error("HTTP/3 is offered although it is off")
	}
	r.spec.Rules = []simulator.BalancerRule{https}
	r.apply()
	r.cannot3("it is off")
	r.spec.HTTP3 = true
	r.apply()
	if _, _, err := ask3(http3Client(t), url, ""); err != nil {
		t.Errorf("switched on again: %v", err)
	}
}

// TestHTTP3IsBounded: connections count as all others do, and come free when they end.
func TestHTTP3IsBounded(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, nil)
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, https)
	r.tighten(func(l *limits) { l.connections = 3 })
	r.spec.Certificate, r.spec.HTTP2, r.spec.HTTP3 = certificate(t, "x.example"), true, true
	r.backends(addresses)
	r.apply()
	r.await(1)
	url := "https://" + r.at(8443) + "/"
	clients := []*http.Client{http3Client(t), http3Client(t), http3Client(t)} // the last ones have to prove their address
	for _, client := range clients {
		if _, _, err := ask3(client, url, "x"); err != nil {
			t.Fatal(err)
		}
	}
	r.cannot3("there are too many connections")
	if response, _, err := ask3(clients[0], url, "x"); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v", err)
	}
	for _, client := range clients {
		client.CloseIdleConnections()
		if transport, ok := client.Transport.(*http3.Transport); ok {
			_ = transport.Close()
		}
	}
	await(t, "room for one more", func() bool {
		_, _, err := ask3(http3Client(t), url, "x")
		return err == nil
	})
}

// TestHTTP3PROXYHeader: the backend is told of the client as if it had come by TCP.
func TestHTTP3PROXYHeader(t *testing.T) {
	addresses, port := group(t, 1)
	listener := listen(t, addresses[0], port)
	lines := make(chan string, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
					lines <- line
				}
			}()
		}
	}()
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, https)
	r.spec.Certificate, r.spec.HTTP2, r.spec.HTTP3, r.spec.ProxyProtocol = certificate(t, "x.example"), true, true, true
	r.backends(addresses)
	r.apply()
	r.await(1)
	_, _, _ = ask3(http3Client(t), "https://"+r.at(8443)+"/", "") // a 502: the backend closes after the first line
	if got, want := <-lines, "PROXY TCP4 127.0.0.1 "+r.spec.Address+" "; !strings.HasPrefix(got, want) {
		t.Errorf("%q does not begin with %q", got, want)
	}
}
