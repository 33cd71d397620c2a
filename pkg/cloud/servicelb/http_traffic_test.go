package servicelb_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/balancer"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// visitor asks a load balancer by one version of HTTP, each time by a connection of its own, and counts what is not answered by it.
type visitor struct {
	version int
	url     string
	// connect returns a client without a connection, and what ends it.
	connect func() (client *http.Client, end func())

	asked, failed atomic.Int64
	last          atomic.Value // of the failures
	serial        atomic.Value // of the certificate that was shown last
}

// plainOrTLS connects by TCP: HTTP/2 where that is offered.
func plainOrTLS() (client *http.Client, end func()) {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true, //nolint:gosec // which certificate is shown is what is tested
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, transport.CloseIdleConnections
}

// byQUIC connects by UDP.
func byQUIC() (client *http.Client, end func()) {
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as above
		QUICConfig:      &quic.Config{HandshakeIdleTimeout: 10 * time.Second},
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, func() { _ = transport.Close() }
}

func (v *visitor) ask(ctx context.Context) error {
	client, end := v.connect()
	defer end()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK || response.ProtoMajor != v.version {
		err = errors.Join(err, fmt.Errorf("%s by HTTP/%d", response.Status, response.ProtoMajor))
	}
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		v.serial.Store(response.TLS.PeerCertificates[0].SerialNumber.String())
	}
	return errors.Join(err, response.Body.Close())
}

func (v *visitor) run(ctx context.Context) {
	pace := time.NewTicker(60 * time.Millisecond) // else the ports of this machine are used up
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		err := v.ask(ctx)
		if ctx.Err() != nil {
			return // the end, not the load balancer
		}
		v.asked.Add(1)
		if err != nil {
			v.failed.Add(1)
			v.last.Store(err.Error())
		}
	}
}

// HTTP/1.1, HTTP/2 and HTTP/3 go on, through a load balancer that the controller has made, while its certificate is renewed, a port
// comes and goes, and a node leaves and returns. No request is lost. On this machine's own clock.
func TestHTTPVersionsUnderTraffic(t *testing.T) {
	plane, err := balancer.New(balancer.Config{Range: front()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	w := &world{T: t, client: fake.NewSimpleClientset(), ignored: map[string]bool{}, stop: func() {}}
	w.cloud = simtest.Start(t, simtest.Options{Config: simulator.Config{Balancers: plane, ReadLags: simulator.NoReadLag()}})
	w.config = servicelb.Config{Region: func(context.Context, []*v1.Node) (string, error) { return "ewr", nil }, DriftPeriod: time.Hour}
	w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	plain, secure, further := testaddr.Next().Port(), testaddr.Next().Port(), testaddr.Next().Port()
	nodePorts := []uint16{testaddr.Next().Port(), testaddr.Next().Port(), testaddr.Next().Port()}
	for name, address := range map[string]netip.Addr{"node-0": loopback(127, 128), "node-1": loopback(127, 192)} {
		for _, port := range nodePorts {
			greets(t, netip.AddrPortFrom(address, port), name)
		}
		w.addServer(name, simulator.NewServer{MainIP: address.String()})
	}
	w.api, err = vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, StartRate: 1000, MaxRate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	first, second := time.Now().Add(100*time.Hour), time.Now().Add(200*time.Hour)
	w.putSecret(certificate(t, first))
	w.startWith(w.api)
	t.Cleanup(func() { w.stop() })
	s := w.service("web", with(settings.Protocol, "http"), with(settings.HTTPSPorts, strconv.Itoa(int(secure))), with(settings.BackendProtocol, "http"),
		with(settings.SSL, "tls"), with(settings.HTTP2, "true"), with(settings.HTTP3, "true"), on(int32(plain), int32(nodePorts[0])), also(int32(secure), int32(nodePorts[1])))
	const limit = time.Minute
	id, address := "", ""
	w.within(limit, "the load balancer is active", func() bool {
		for _, view := range w.cloud.Sim.View().LoadBalancers {
			if view.Active && view.IPv4 != "" {
				id, address = view.ID, view.IPv4
			}
		}
		return id != ""
	})
	at := func(scheme string, port uint16) string {
		return scheme + "://" + net.JoinHostPort(address, strconv.Itoa(int(port)))
	}
	visitors := []*visitor{
		{version: 1, url: at("http", plain), connect: plainOrTLS},
		{version: 2, url: at("https", secure), connect: plainOrTLS},
		{version: 3, url: at("https", secure), connect: byQUIC},
	}
	for _, v := range visitors {
		w.within(limit, fmt.Sprintf("HTTP/%d is answered", v.version), func() bool { return v.ask(t.Context()) == nil })
	}

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for _, v := range visitors {
		running.Go(func() { v.run(ctx) })
	}
	w.putSecret(certificate(t, second))
	for _, v := range visitors[1:] {
		w.within(limit, fmt.Sprintf("new connections of HTTP/%d are shown the renewed certificate", v.version), func() bool {
			return v.serial.Load() == strconv.FormatInt(second.UnixNano(), 10)
		})
	}
	forwards := func(ports int) func() bool {
		return func() bool {
			lb, err := w.truthOf(id)
			return err == nil && len(lb.Rules) == ports
		}
	}
	w.edit(s, also(int32(further), int32(nodePorts[2])))
	w.within(limit, "there is one more port", forwards(3))
	w.edit(s, func(s *v1.Service) { s.Spec.Ports = s.Spec.Ports[:2] })
	w.within(limit, "it is gone", forwards(2))
	w.editNode("node-0", ready(false))
	w.within(limit, "one node is out", w.on(id, "node-1"))
	w.editNode("node-0", ready(true))
	w.within(limit, "both are in", w.on(id, "node-0", "node-1"))
	for _, v := range visitors {
		asked := v.asked.Load()
		w.within(limit, "all goes on", func() bool { return v.asked.Load() > asked+20 })
		if failed := v.failed.Load(); failed != 0 {
			t.Errorf("HTTP/%d: %d of %d requests were lost, the last one: %v", v.version, failed, v.asked.Load(), v.last.Load())
		}
	}
}

// greets answers whoever asks at the address with a name.
func greets(t *testing.T, address netip.AddrPort, name string) {
	t.Helper()
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }), // a client that leaves counts by itself
	}
	go func() { _ = server.Serve(listener) }() // it ends with an error when the test does
	t.Cleanup(func() { _ = server.Close() })
}
