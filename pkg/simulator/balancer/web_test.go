package balancer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// get sends one request over a connection of its own.
func get(t testing.TB, method, url, body string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	client := &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(request)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestHTTP(t *testing.T) {
	addresses, port := group(t, 2)
	for _, address := range addresses {
		web(t, address, port, nil)
	}
	r := newRig(t, rule("http", 8080, port))
	r.spec.HealthCheck.Protocol, r.spec.HealthCheck.Path = "http", "/healthz"
	r.backends(addresses)
	r.apply()
	r.await(2)
	seen := map[string]bool{}
	for range 2 {
		response, body := get(t, http.MethodPost, "http://"+r.at(8080)+"/path?a=1;b=2", "payload", func(request *http.Request) {
			request.Host = "shop.example"
			request.Header.Set("X-Forwarded-For", "203.0.113.9")
			request.Header.Set("X-Forwarded-Proto", "gopher")
		})
		seen[response.Header.Get("Backend")] = true
		want := map[string]string{
			"Saw-X-Forwarded-For":   "203.0.113.9, 127.0.0.1",
			"Saw-X-Forwarded-Proto": "http",
			"Saw-X-Forwarded-Port":  "8080",
			"Saw-X-Forwarded-Host":  "shop.example",
			"Saw-Host":              "shop.example",
			"Saw-Query":             "a=1;b=2",
		}
		for name, value := range want {
			if got := response.Header.Get(name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
		if response.StatusCode != http.StatusOK || body != "payload" {
			t.Errorf("%d %q", response.StatusCode, body)
		}
	}
	if len(seen) != 2 {
		t.Errorf("two requests were answered by %v", seen)
	}
}

func TestHTTPRetriesElsewhereWithTheWholeBody(t *testing.T) {
	addresses, port := group(t, 3)
	first := web(t, addresses[0], port, nil)
	second := web(t, addresses[1], port, nil)
	web(t, addresses[2], port, nil)
	r := newRig(t, rule("http", 8080, port))
	r.spec.HealthCheck.Interval = time.Hour // only the first check: what follows is not noticed
	r.backends(addresses)
	r.apply()
	r.await(3)
	_, _ = first.Close(), second.Close()
	payload := strings.Repeat("x", 200_000)
	for range 3 {
		response, body := get(t, http.MethodPost, "http://"+r.at(8080)+"/", payload, nil)
		if response.StatusCode != http.StatusOK || body != payload || response.Header.Get("Backend") != addresses[2] {
			t.Errorf("%d, %d bytes, by %s", response.StatusCode, len(body), response.Header.Get("Backend"))
		}
	}
	await(t, "no request to be counted any more", func() bool { return r.connections() == 0 })
}

func TestHTTPWithoutBackends(t *testing.T) {
	r := newRig(t, rule("http", 8080, 9999))
	r.apply()
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", response.StatusCode)
	}
}

func TestHTTPSilentBackendIsATimeout(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
	r := newRig(t, rule("http", 8080, port))
	r.spec.Timeout = 200 * time.Millisecond
	r.backends(addresses)
	r.apply()
	r.await(1)
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil); response.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%d", response.StatusCode)
	}
}

func TestHTTPHealthNeeds200(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, func(w http.ResponseWriter, request *http.Request) {
		http.Redirect(w, request, "/x", http.StatusFound)
	})
	r := newRig(t, rule("http", 8080, port))
	r.spec.HealthCheck.Protocol = "http"
	r.backends(addresses)
	r.apply()
	await(t, "a verdict", func() bool {
		return r.plane.Health(r.spec.ID)[0].Reason == "answered 302, not 200"
	})
}

func TestStickySessions(t *testing.T) {
	addresses, port := group(t, 3)
	servers := map[string]*http.Server{}
	for _, address := range addresses {
		servers[address] = web(t, address, port, nil)
	}
	r := newRig(t, rule("http", 8080, port))
	r.spec.StickyCookie = "LB"
	r.backends(addresses)
	r.apply()
	r.await(3)
	response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil)
	cookies := response.Cookies()
	if len(cookies) != 1 || cookies[0].Name != "LB" || strings.Contains(cookies[0].Value, "instance") {
		t.Fatalf("cookies %v", cookies)
	}
	mine := response.Header.Get("Backend")
	again := func() *http.Response {
		response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", func(r *http.Request) { r.AddCookie(cookies[0]) })
		return response
	}
	for range 5 {
		if response := again(); response.Header.Get("Backend") != mine || len(response.Cookies()) != 0 {
			t.Errorf("answered by %s, not %s; cookies %v", response.Header.Get("Backend"), mine, response.Cookies())
		}
	}
	if err := servers[mine].Close(); err != nil {
		t.Fatal(err)
	}
	r.await(2)
	if response := again(); response.StatusCode != http.StatusOK || response.Header.Get("Backend") == mine || len(response.Cookies()) != 1 {
		t.Errorf("after the backend's end: %d by %s, cookies %v", response.StatusCode, response.Header.Get("Backend"), response.Cookies())
	}
}

// certificate makes a self-signed one for a name.
func certificate(t testing.TB, name string) *simulator.BalancerCertificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &simulator.BalancerCertificate{
		CertificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		PrivateKeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func TestHTTPS(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, nil)
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, https, rule("http", 8080, port))
	r.spec.Certificate = certificate(t, "first.example")
	r.backends(addresses)
	r.apply()
	r.await(1)

	response, body := get(t, http.MethodPost, "https://"+r.at(8443)+"/", "secret", nil)
	if body != "secret" || response.Header.Get("Saw-X-Forwarded-Proto") != "https" || response.ProtoMajor != 1 {
		t.Errorf("%q, proto %s, HTTP/%d", body, response.Header.Get("Saw-X-Forwarded-Proto"), response.ProtoMajor)
	}
	if name := response.TLS.PeerCertificates[0].Subject.CommonName; name != "first.example" {
		t.Errorf("certificate of %s", name)
	}

	// All of it changes at once, with a connection open.
	open, err := tls.Dial("tcp", r.at(8443), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	r.spec.Certificate, r.spec.HTTP2, r.spec.SSLRedirect = certificate(t, "second.example"), true, true
	r.apply()
	response, _ = get(t, http.MethodGet, "https://"+r.at(8443)+"/", "", nil)
	if name := response.TLS.PeerCertificates[0].Subject.CommonName; name != "second.example" || response.ProtoMajor != 2 {
		t.Errorf("certificate of %s, HTTP/%d", name, response.ProtoMajor)
	}
	if _, err := io.WriteString(open, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(open); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 OK") {
		t.Errorf("over the connection that was open: %q, %v", text, err)
	}
	response, _ = get(t, http.MethodGet, "http://"+r.at(8080)+"/a?b=c", "", func(r *http.Request) { r.Host = "shop.example:8080" })
	if got := response.Header.Get("Location"); response.StatusCode != http.StatusFound || got != "https://shop.example:8443/a?b=c" {
		t.Errorf("%d to %q", response.StatusCode, got)
	}

	r.spec.Certificate = nil
	r.apply()
	if _, err := tls.Dial("tcp", r.at(8443), &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a handshake without a certificate")
	}
}

func TestHTTPSBackend(t *testing.T) {
	addresses, port := group(t, 1)
	own := certificate(t, "node.example")
	pair, err := tls.X509KeyPair(own.CertificatePEM, own.PrivateKeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	listener := tls.NewListener(listen(t, addresses[0], port), &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	server := &http.Server{ReadHeaderTimeout: patience, ErrorLog: nil, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Encrypted", map[bool]string{true: "yes"}[r.TLS != nil])
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	http1 := rule("http", 8080, port)
	http1.BackendProtocol = "https"
	r := newRig(t, http1)
	r.spec.HealthCheck.Protocol = "https"
	r.backends(addresses)
	r.apply()
	r.await(1)
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil); response.Header.Get("Encrypted") != "yes" {
		t.Errorf("%d, encrypted %q", response.StatusCode, response.Header.Get("Encrypted"))
	}
}

// TestRuleChangesItsProtocol: the port changes from tcp to http without a moment in which nobody listens.
func TestRuleChangesItsProtocol(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, nil)
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	tunnel := dialTCP(t, r.at(8080))
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil); response.Header.Get("Saw-X-Forwarded-For") != "" {
		t.Error("a tcp rule touched the request")
	}
	r.spec.Rules = []simulator.BalancerRule{rule("http", 8080, port)}
	r.apply()
	if response, _ := get(t, http.MethodGet, "http://"+r.at(8080)+"/", "", nil); response.Header.Get("Saw-X-Forwarded-For") == "" {
		t.Error("an http rule said nothing of the client")
	}
	if _, err := io.WriteString(tunnel, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := tunnel.in.ReadString('\n'); err != nil || !strings.Contains(line, "200 OK") {
		t.Errorf("the tunnel of before: %q, %v", line, err)
	}
}

func TestUpgradedConnection(t *testing.T) {
	addresses, port := group(t, 1)
	tunnelServer(t, addresses[0], port)
	r := newRig(t, rule("http", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	c := openTunnel(t, r.at(8080))
	if got := r.connections(); got != 1 {
		t.Errorf("%d connections are counted while it is open", got)
	}
	if got := c.mustAsk("hello"); strings.Join(got, " ") != "echo hello" {
		t.Errorf("%v", got)
	}
	_ = c.Close()
	await(t, "its end to be noticed", func() bool { return r.connections() == 0 })
}

func TestHTTPFirewallHoldsForOpenConnections(t *testing.T) {
	addresses, port := group(t, 1)
	web(t, addresses[0], port, nil)
	r := newRig(t, rule("http", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	c := dialTCP(t, r.at(8080))
	ask := func() string {
		t.Helper()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.Status
	}
	if status := ask(); status != "200 OK" {
		t.Errorf("before: %s", status)
	}
	r.spec.Firewall = []simulator.BalancerFirewallRule{{Port: 8080, Source: "192.0.2.0/24"}}
	r.apply()
	if status := ask(); status != "403 Forbidden" {
		t.Errorf("after: %s", status)
	}
}

func TestHTTPProxyProtocol(t *testing.T) {
	addresses, port := group(t, 1)
	listener := &proxyproto.Listener{Listener: listen(t, addresses[0], port)}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	https := rule("https", 8443, port)
	https.BackendProtocol = "http"
	r := newRig(t, rule("http", 8080, port), https)
	r.spec.ProxyProtocol, r.spec.Certificate, r.spec.HTTP2 = true, certificate(t, "x.example"), true
	r.backends(addresses)
	r.apply()
	r.await(1)
	for _, source := range []string{"127.0.0.5", "127.0.0.6"} {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		client := &http.Client{Transport: &http.Transport{
			DialContext:     dialer.DialContext,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
		}}
		for _, url := range []string{"http://" + r.at(8080) + "/", "https://" + r.at(8443) + "/"} {
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || !strings.HasPrefix(string(body), source+":") {
				t.Errorf("%s: the backend saw %q, want %s", url, body, source)
			}
		}
		client.CloseIdleConnections()
	}
}
