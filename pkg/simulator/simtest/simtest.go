// Package simtest starts a simulated cloud for a test.
//
// By default it is fast (delays take a fiftieth of the platform's), has no rate limit and no data planes, and is gone
// when the test ends.
package simtest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/metadata"
)

// Key is the API key that the cloud of a test accepts.
const Key = "SIMTESTKEY0123456789ABCDEFGHIJKLMNOPQ"

// FastTimeScale is the default scale of delays: an attach takes 80 ms.
const FastTimeScale = 0.02

// Options change what Start makes. The zero value is right for most tests.
type Options struct {
	// Disks gives attached volumes real loop devices under a directory of the test; it needs root.
	Disks bool
	// FileSystems gives attached file systems (VFS) real directories there; it needs root.
	FileSystems bool
	// Bubble is for tests in a bubble of testing/synctest: the API is reached on pipes, by Cloud.Dial alone, and
	// delays are the platform's own.
	Bubble bool
	// Config is what the cloud is made of; what it leaves zero gets the defaults of this package.
	Config simulator.Config
}

// Cloud is a simulated cloud with an HTTP server on loopback.
type Cloud struct {
	// URL is the API's address, without /v2.
	URL string
	// Key is accepted by the API.
	Key string
	// Sim is the cloud itself, for faults, its view, its request log.
	Sim *simulator.Simulator
	// Dial connects to the API whatever the address; nil without Options.Bubble.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DisksDir is where the disks and file systems of instances are published, "" without Options.Disks and
	// Options.FileSystems: <DisksDir>/instances/<ID>.
	DisksDir string

	t testing.TB
}

// Start starts a cloud that ends with the test.
func Start(t testing.TB, opts Options) *Cloud {
	t.Helper()
	cloud := &Cloud{Key: Key, t: t}
	cfg := opts.Config
	if cfg.Keys == nil {
		cfg.Keys = []string{Key}
	}
	cloud.Key = cfg.Keys[0]
	if cfg.TimeScale == 0 && !opts.Bubble {
		cfg.TimeScale = FastTimeScale
	}
	if cfg.Logger.GetSink() == nil {
		cfg.Logger = klog.Background().WithName("simulator")
	}
	if opts.Disks || opts.FileSystems {
		cloud.DisksDir = filepath.Join(t.TempDir(), "disks")
	}
	if opts.Disks {
		cfg.Disks = startDisks(t, cloud.DisksDir)
	}
	if opts.FileSystems {
		cfg.FileSystems = startFileSystems(t, cloud.DisksDir)
	}
	sim, err := simulator.New(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start the simulated cloud: %v", err)
	}
	cloud.Sim = sim
	if opts.Bubble {
		cloud.URL, cloud.Dial = "http://cloud.test", startPipes(t, sim).dial
		return cloud
	}
	server := httptest.NewServer(sim)
	cloud.URL = server.URL
	t.Cleanup(func() {
		if err := sim.Close(); err != nil { // first: it releases what is held, which the server would wait for
			t.Errorf("stop the simulated cloud: %v", err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return cloud
}

// MetadataURL returns the base URL of a metadata service that answers as it would to the instance.
func (c *Cloud) MetadataURL(instanceID string) string {
	c.t.Helper()
	lookup := func(netip.Addr) (simulator.MetadataDoc, bool) { return c.Sim.MetadataByInstance(instanceID) }
	server := httptest.NewServer(metadata.New(lookup, klog.Background().WithName("metadata")))
	c.t.Cleanup(server.Close)
	return server.URL
}

// AddInstance adds a virtual machine that is active, running and ok at once.
func (c *Cloud) AddInstance(n simulator.NewServer) string {
	c.t.Helper()
	id, err := c.Sim.AddInstance(n)
	if err != nil {
		c.t.Fatalf("add an instance: %v", err)
	}
	return id
}

// AddBareMetal adds a bare metal server.
func (c *Cloud) AddBareMetal(n simulator.NewServer) string {
	c.t.Helper()
	id, err := c.Sim.AddBareMetal(n)
	if err != nil {
		c.t.Fatalf("add a bare metal server: %v", err)
	}
	return id
}

// Requests returns all requests so far, oldest first.
func (c *Cloud) Requests() []simulator.Request { return c.Sim.Requests(0) }

// Count tells how many requests of an operation ("create_block") ended so far, failed ones included.
func (c *Cloud) Count(operation string) int { return c.Sim.Counters()[operation].Total }

// awaitFor bounds Await on a busy machine.
const awaitFor = time.Minute

// Await waits until the cloud is as wished. It looks after each change of the cloud's view, also when it comes in sight
// of reads that lag, and each request, and fails the test if that does not come about.
func (c *Cloud) Await(what string, is func() bool) {
	c.t.Helper()
	late := time.NewTimer(awaitFor)
	defer late.Stop()
	for {
		changed := c.Sim.Changed()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			c.t.Fatalf("%s did not come about", what)
		}
	}
}

// AwaitReads waits until reads show all that was written before the call: for a look that shall find nothing, or
// nothing else. What shall be seen is better waited for by Await.
func (c *Cloud) AwaitReads() { <-c.Sim.CaughtUp() }

// Fault puts a fault in force until the test ends or it is removed, and tells its ID.
func (c *Cloud) Fault(f simulator.Fault) string {
	c.t.Helper()
	id, err := c.Sim.AddFault(f)
	if err != nil {
		c.t.Fatalf("add a fault: %v", err)
	}
	return id
}

// Hold is a fault that holds requests.
type Hold struct {
	ID    string
	cloud *Cloud
}

// Hold holds the next request of the operation: before the work, or after it. It holds one request only.
func (c *Cloud) Hold(operation string, action simulator.FaultAction) *Hold {
	c.t.Helper()
	return &Hold{ID: c.Fault(simulator.Fault{Operation: operation, Action: action, Times: 1}), cloud: c}
}

// holdTimeout bounds the wait for a request that should come, on a busy machine.
const holdTimeout = time.Minute

// Wait waits until a request is held, and fails the test if none comes.
func (h *Hold) Wait() {
	h.cloud.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), holdTimeout)
	defer cancel()
	if err := h.cloud.Sim.WaitHeld(ctx, h.ID); err != nil {
		h.cloud.t.Fatal(err)
	}
}

// Release lets the held request go on.
func (h *Hold) Release() { h.cloud.Sim.ReleaseFault(h.ID) }

// Client returns an HTTP client that sends the cloud's key.
func (c *Cloud) Client() *http.Client { return &http.Client{Transport: keyTransport(c.Key)} }

type keyTransport string

// RoundTrip adds the key.
func (k keyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(k))
	return http.DefaultTransport.RoundTrip(r)
}
