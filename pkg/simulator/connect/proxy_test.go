package connect_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/connect"
)

// rig is a cloud behind a proxy.
type rig struct {
	*testing.T
	cloud   *simulator.Simulator
	address string
	roots   *x509.CertPool
}

func start(t *testing.T) *rig {
	t.Helper()
	cloud, err := simulator.New(t.Context(), simulator.Config{TimeScale: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := connect.OpenAuthority(filepath.Join(t.TempDir(), "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := connect.New(authority, cloud, klog.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Serve(listener) }()
	t.Cleanup(func() {
		err := proxy.Shutdown(context.WithoutCancel(t.Context()))
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			t.Errorf("Serve ended with %v", served)
		}
		if err := errors.Join(err, cloud.Close()); err != nil {
			t.Error(err)
		}
	})
	r := &rig{T: t, cloud: cloud, address: listener.Addr().String(), roots: x509.NewCertPool()}
	if !r.roots.AppendCertsFromPEM(authority.CertificatePEM()) {
		t.Fatal("no certificate")
	}
	return r
}

// client returns a client of one protocol, from an address of this machine.
func (r *rig) client(http2 bool, from string) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: r.address}), DialContext: dialer.DialContext,
		TLSClientConfig: &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: http2,
	}
	if !http2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(true)
	}
	r.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func request(t *testing.T, client *http.Client, method, path, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api.vultr.com"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k")
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func TestBothProtocols(t *testing.T) {
	r := start(t)
	for i, wanted := range []string{"HTTP/1.1", "HTTP/2.0"} {
		from := fmt.Sprintf("127.0.0.%d", 2+i)
		client := r.client(wanted == "HTTP/2.0", from)
		resp, text, err := request(t, client, "POST", "/v2/blocks", `{"region":"ewr","size_gb":10}`)
		if err != nil || resp.StatusCode != http.StatusAccepted || resp.Proto != wanted || !strings.Contains(text, `"mount_id":"ewr-`) {
			t.Errorf("%s: %v, %v, %s", wanted, resp, err, text)
		}
		if got := r.cloud.Requests(1)[0].Source; got != from {
			t.Errorf("%s: the cloud sees %s, the client is at %s", wanted, got, from)
		}
	}
}

// TestLimitIsTheClients: who asks too often slows down nobody else.
func TestLimitIsTheClients(t *testing.T) {
	r := start(t)
	r.cloud.SetRateLimit(1)
	hasty, other := r.client(true, "127.0.0.2"), r.client(true, "127.0.0.3")
	refused := 0
	for range 20 {
		resp, _, err := request(t, hasty, "GET", "/v2/account", "")
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("the hasty client was not limited")
	}
	if resp, text, err := request(t, other, "GET", "/v2/account", ""); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the other client got %v, %v, %s", resp, err, text)
	}
}

// TestLostAnswer: the fault that cuts a connection cuts it here too, after the work.
func TestLostAnswer(t *testing.T) {
	r := start(t)
	if _, err := r.cloud.AddFault(simulator.Fault{Operation: "create_block", Action: simulator.FaultResetAfter}); err != nil {
		t.Fatal(err)
	}
	for i, http2 := range []bool{false, true} {
		if resp, text, err := request(t, r.client(http2, "127.0.0.1"), "POST", "/v2/blocks", `{"region":"ewr","size_gb":10}`); err == nil {
			t.Errorf("HTTP/2 %t: answered %v %s", http2, resp, text)
		}
		if n := len(r.cloud.View().Blocks); n != i+1 {
			t.Errorf("HTTP/2 %t: %d volumes, want %d", http2, n, i+1)
		}
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ request, status, says string }{
		{"CONNECT www.vultr.com:443 HTTP/1.1\r\nHost: www.vultr.com:443\r\n\r\n", "403", `not to "www.vultr.com:443"`},
		{"CONNECT api.vultr.com:80 HTTP/1.1\r\nHost: api.vultr.com:80\r\n\r\n", "403", "leads to api.vultr.com:443"},
		{"CONNECT [::1]:22 HTTP/1.1\r\nHost: [::1]:22\r\n\r\n", "403", "nowhere else"},
		{"GET http://api.vultr.com/v2/account HTTP/1.1\r\nHost: api.vultr.com\r\n\r\n", "405", "HTTPS_PROXY"},
		{"GET /v2/account HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "405", "CONNECT only"},
	} {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, c.request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(resp.Status, c.status) || !strings.Contains(string(text), c.says) {
			t.Errorf("%q: %s %q %v", c.request, resp.Status, text, err)
		}
		_ = resp.Body.Close()
		_ = conn.Close()
	}
	if n := len(r.cloud.Requests(0)); n != 0 {
		t.Errorf("%d requests reached the cloud", n)
	}
}

// TestImpatientClient sends its TLS greeting with CONNECT, without waiting for the answer.
func TestImpatientClient(t *testing.T) {
	r := start(t)
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	eager := &eagerConn{Conn: conn, ahead: "CONNECT api.vultr.com:443 HTTP/1.1\r\nHost: api.vultr.com:443\r\n\r\n"}
	client := tls.Client(eager, &tls.Config{RootCAs: r.roots, ServerName: connect.Host, MinVersion: tls.VersionTLS12})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// eagerConn puts the request for the tunnel in front of the first bytes, and takes its answer off the first that come.
type eagerConn struct {
	net.Conn
	ahead    string
	answered *bufio.Reader
}

func (c *eagerConn) Write(p []byte) (int, error) {
	if c.ahead == "" {
		return c.Conn.Write(p)
	}
	_, err := c.Conn.Write(append([]byte(c.ahead), p...))
	c.ahead = ""
	return len(p), err
}

func (c *eagerConn) Read(p []byte) (int, error) {
	if c.answered == nil {
		c.answered = bufio.NewReader(c.Conn)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = c.answered.ReadString('\n'); err != nil {
				return 0, err
			}
		}
	}
	return c.answered.Read(p)
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	path, published := filepath.Join(dir, "ca.key"), filepath.Join(dir, "new", "ca.crt")
	first, err := connect.OpenAuthority(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := connect.OpenAuthority(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.CertificatePEM(), second.CertificatePEM()) {
		t.Error("a second start has another authority: clients would have to be told again")
	}
	if err := second.Publish(published); err != nil {
		t.Fatal(err)
	}
	for file, mode := range map[string]os.FileMode{path: 0o600, published: 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %v", file, info, err, mode)
		}
	}
	if text, err := os.ReadFile(published); err != nil || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("published: %s, %v", text, err)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := connect.OpenAuthority(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an unreadable authority: %v", err)
	}
}
