package balancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// TestChangesUnderTraffic changes everything that may change while traffic of all kinds flows through rules that stay:
// nothing of it may fail, and in the end nothing is counted any more.
func TestChangesUnderTraffic(t *testing.T) {
	addresses, port := group(t, 4)
	for _, address := range addresses {
		echo(t, address, port)
		echoUDP(t, address, port)
		web(t, address, port+1, nil)
	}
	https := rule("https", 8443, port+1)
	https.BackendProtocol = "http"
	stays := []simulator.BalancerRule{rule("tcp", 8080, port), rule("http", 8081, port+1), https, rule("udp", 8053, port)}
	r := newRig(t, stays...)
	r.tighten(func(l *limits) { l.connections = 10_000 })
	certificates := []*simulator.BalancerCertificate{certificate(t, "a.example"), certificate(t, "b.example")}
	r.spec.Certificate, r.spec.HTTP2 = certificates[0], true
	r.backends(addresses)
	all := r.spec.Backends
	r.apply()
	r.await(4)

	ctx, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	tcp, plain, secure := r.at(8080), "http://"+r.at(8081)+"/", "https://"+r.at(8443)+"/"
	for i := range 3 {
		long, udp := dialTCP(t, tcp), dialUDP(t, r.at(8053))
		traffic.Go(func() { longConnection(ctx, t, long) })
		traffic.Go(func() { shortConnections(ctx, t, tcp) })
		traffic.Go(func() { requests(ctx, t, plain, i) })
		traffic.Go(func() { requests(ctx, t, secure, i) })
		traffic.Go(func() { datagrams(ctx, t, udp) })
	}
	random := seeded(t)
	for range 150 {
		r.spec = randomChange(random, r.spec, stays, all, certificates)
		r.apply()
	}
	stop()
	traffic.Wait()
	r.spec.Rules, r.spec.HTTP3 = stays[:1], false // ends the sessions of datagrams and connections kept open
	r.apply()
	await(t, "everything to be given back", func() bool { return r.connections() == 0 })
}

// randomChange changes what no traffic through the rules that stay may notice. The first backend stays as well: one
// that is new takes nothing until it is checked.
func randomChange(
	random *rand.Rand, spec simulator.BalancerSpec, stays []simulator.BalancerRule, all []simulator.BalancerBackend, certificates []*simulator.BalancerCertificate,
) simulator.BalancerSpec {
	spec.Rules = append([]simulator.BalancerRule(nil), stays...)
	for i := range random.IntN(4) {
		spec.Rules = append(spec.Rules, rule([]string{"tcp", "udp", "http"}[random.IntN(3)], 9000+i, stays[0].BackendPort))
	}
	random.Shuffle(len(spec.Rules), func(i, j int) { spec.Rules[i], spec.Rules[j] = spec.Rules[j], spec.Rules[i] })
	spec.Backends = append([]simulator.BalancerBackend(nil), all[:1]...)
	for _, backend := range all[1:] {
		if random.IntN(2) == 0 {
			spec.Backends = append(spec.Backends, backend)
		}
	}
	spec.Algorithm = []string{roundRobin, leastConn}[random.IntN(2)]
	spec.StickyCookie = []string{"", "LB"}[random.IntN(2)]
	spec.Certificate = certificates[random.IntN(2)]
	spec.HTTP3 = random.IntN(2) == 0
	spec.HealthCheck.HealthyThreshold = 1 + random.IntN(3)
	spec.Firewall = nil
	if random.IntN(2) == 0 {
		for _, rule := range stays {
			spec.Firewall = append(spec.Firewall, simulator.BalancerFirewallRule{Port: rule.FrontendPort, Source: "127.0.0.0/8"})
		}
	}
	return spec
}

func longConnection(ctx context.Context, t *testing.T, c *client) {
	backend := ""
	for ctx.Err() == nil {
		answer, err := c.ask("hello")
		if err != nil || backend != "" && answer[0] != backend {
			t.Errorf("a long connection to %s: %v, %v", backend, answer, err)
			return
		}
		backend = answer[0]
	}
	_ = c.Close()
}

func shortConnections(ctx context.Context, t *testing.T, target string) {
	for ctx.Err() == nil {
		if answer, err := askOnce(target, "hello"); err != nil {
			t.Errorf("a short connection: %v, %v", answer, err)
			return
		}
	}
}

func requests(ctx context.Context, t *testing.T, url string, i int) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: i%2 == 0, DisableKeepAlives: i == 2,
	}}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		body := strings.Repeat(fmt.Sprint(n), 1000)
		response, err := client.Post(url, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Errorf("a request to %s: %v", url, err)
			return
		}
		got, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || string(got) != body {
			t.Errorf("a request to %s: %s, %d bytes of %d, %v", url, response.Status, len(got), len(body), err)
			return
		}
	}
}

// datagrams may be lost when their backend leaves, but a client that goes on asking is answered.
func datagrams(ctx context.Context, t *testing.T, conn net.Conn) {
	for ctx.Err() == nil {
		if answer, ok := askAgain(ctx, conn, "hello"); !ok {
			t.Errorf("no datagram came back: %q", answer)
			return
		}
	}
}
