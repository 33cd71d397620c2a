package servicelb_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// machine stands for a node with kube-proxy: connections to its node port are answered while it has a pod that does, and its
// health check says whether it has one that is ready.
type machine struct {
	name             string
	answers, isReady atomic.Bool
	served           atomic.Int64
}

func (m *machine) listen(t *testing.T, address netip.Addr, nodePort, healthPort uint16) {
	t.Helper()
	serve := func(port uint16, handle http.HandlerFunc) {
		listener, err := net.Listen("tcp", netip.AddrPortFrom(address, port).String())
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handle, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }() // it ends with an error when the test does
		t.Cleanup(func() { _ = server.Close() })
	}
	serve(nodePort, func(w http.ResponseWriter, _ *http.Request) {
		if !m.answers.Load() {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		m.served.Add(1)
		_, _ = io.WriteString(w, m.name) // a client that leaves counts by itself
	})
	serve(healthPort, func(w http.ResponseWriter, _ *http.Request) {
		if !m.isReady.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// loopback returns an address that no other process of tests uses: its process ID, after a prefix of ten bits.
func loopback(first, second byte) netip.Addr {
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], uint32(first)<<24|uint32(second)<<16+uint32(os.Getpid())) //nolint:gosec // Linux gives no process ID beyond 22 bits
	return netip.AddrFrom4(address)
}

// front returns four addresses for load balancers that no other process of tests is likely to use.
func front() netip.Prefix {
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], 127<<24|96<<16+uint32(os.Getpid()&(1<<19-1))<<2) //nolint:gosec // 19 bits
	return netip.PrefixFrom(netip.AddrFrom4(address), 30)
}

// clients ask a load balancer all the time, each time by a connection of its own, and count what is not answered.
type clients struct {
	asked, failed atomic.Int64
	last          atomic.Value // of the failures
}

// avoid returns a condition that holds once many requests in a row were answered elsewhere.
func (c *clients) avoid(m *machine) func() bool {
	served, asked := int64(-1), int64(0)
	return func() bool {
		if now := m.served.Load(); now != served {
			served, asked = now, c.asked.Load()
		}
		return c.asked.Load() > asked+50
	}
}

func (c *clients) run(ctx context.Context, url string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	pace := time.NewTicker(50 * time.Millisecond) // else the ports of this machine are used up
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		err := ask(ctx, client, url)
		if ctx.Err() != nil {
			return // the end, not the load balancer
		}
		c.asked.Add(1)
		if err != nil {
			c.failed.Add(1)
			c.last.Store(fmt.Sprint(err))
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(response.Status))
	}
	return errors.Join(err, response.Body.Close())
}

// The pod of a Service with policy Local moves to and fro under traffic through a real load balancer, on this machine's own
// clock. The load balancer's health checks are so slow that they notice nothing. No request is lost.
func TestMovedPodUnderTraffic(t *testing.T) {
	plane, err := balancer.New(balancer.Config{Range: front()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plane.Close() })
	w := &world{T: t, client: fake.NewSimpleClientset(), ignored: map[string]bool{}, stop: func() {}}
	w.cloud = simtest.Start(t, simtest.Options{Config: simulator.Config{Balancers: plane, ReadLags: simulator.NoReadLag()}})
	w.config = servicelb.Config{Region: func(context.Context, []*v1.Node) (string, error) { return "ewr", nil }, DriftPeriod: time.Hour}
	w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	listen, nodePort, healthPort := testaddr.Next().Port(), testaddr.Next().Port(), testaddr.Next().Port()
	machines := map[string]*machine{"node-0": {name: "node-0"}, "node-1": {name: "node-1"}}
	for name, address := range map[string]netip.Addr{"node-0": loopback(127, 128), "node-1": loopback(127, 192)} {
		machines[name].listen(t, address, nodePort, healthPort)
		w.addServer(name, simulator.NewServer{MainIP: address.String()})
	}
	api, err := vultr.New(vultr.Config{BaseURL: w.cloud.URL, Key: w.cloud.Key, StartRate: 1000, MaxRate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	w.startWith(api)
	t.Cleanup(func() { w.stop() })
	s := w.service("web", local, with(settings.HealthCheckInterval, "300"), func(s *v1.Service) {
		s.Spec.Ports[0].Port, s.Spec.Ports[0].NodePort, s.Spec.HealthCheckNodePort = int32(listen), int32(nodePort), int32(healthPort)
	})
	// has says which pods there are: what the nodes do is what the EndpointSlice says.
	has := func(pods ...pod) {
		for name, m := range machines {
			is := pod{}
			for _, p := range pods {
				if p.node == name {
					is = p
				}
			}
			m.isReady.Store(is.ready)
			m.answers.Store(is.serving)
		}
		w.runs(s, pods...)
	}
	const limit = time.Minute
	id, url := "", ""
	w.within(limit, "the load balancer is active", func() bool {
		for _, view := range w.cloud.Sim.View().LoadBalancers {
			if view.Active && view.IPv4 != "" {
				id, url = view.ID, "http://"+net.JoinHostPort(view.IPv4, strconv.Itoa(int(listen)))
			}
		}
		return id != ""
	})
	has(readyOn("node-0"))
	w.within(limit, "the node with the pod is the backend", w.on(id, "node-0"))
	w.within(limit, "it is answered", func() bool { return ask(t.Context(), http.DefaultClient, url) == nil })

	ctx, stop := context.WithCancel(t.Context())
	var c clients
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for range 4 {
		running.Go(func() { c.run(ctx, url) })
	}
	from, to := "node-0", "node-1"
	for range 2 {
		before := machines[to].served.Load()
		has(endingOn(from), readyOn(to))
		w.within(limit, "the node is out while its pod still answers", w.on(id, to))
		// It ends when those requests are answered that were under way to it: a pod has a grace period for them.
		w.within(limit, "nobody asks the old pod any more", c.avoid(machines[from]))
		has(readyOn(to))
		asked := c.asked.Load()
		w.within(limit, "the new pod answers all", func() bool { return c.asked.Load() > asked+100 })
		if machines[to].served.Load() == before {
			t.Errorf("%s has served nobody", to)
		}
		from, to = to, from
	}
	if failed, asked := c.failed.Load(), c.asked.Load(); failed != 0 || asked < 500 {
		t.Errorf("%d of %d requests were lost, the last one: %v", failed, asked, c.last.Load())
	}
}
