package identity

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// KeyProver proves that the platform accepts the key.
type KeyProver interface {
	// Account is the cheapest call that does.
	Account(ctx context.Context) (vultr.Account, error)
	// KeyAccepted returns when any call last did, the zero time when none has yet.
	KeyAccepted() time.Time
}

const (
	// goodFor is how long a proof of the key holds. Probes come every few seconds, and every call counts against
	// a limit that all clusters behind one address share.
	goodFor = time.Minute
	// badFor is short, because a replaced key should be noticed soon. It is also for how long an answer that says
	// nothing about the key is left alone while nothing is known.
	badFor = 10 * time.Second
	// patience is how long a probe waits for the API; the kubelet's own time-out is not much longer.
	patience = 2 * time.Second
)

// keyAccepted is the metric of the check.
var keyAccepted = prometheus.NewDesc("csi_api_key_accepted",
	"Whether the Vultr API accepts the API key: 1 if it does, 0 if it answers 401. Absent until it answered once.", nil, nil)

// APICheck reports whether the platform accepts the key. An API that is slow, throttled or down is no fault of this
// process, and neither is a key that lacks the right to read the account: only a refused key is. It is its own metric.
type APICheck struct {
	api KeyProver

	mu      sync.Mutex
	checked time.Time
	known   bool // some answer said whether the key is accepted
	last    error
	running chan struct{} // closed when the call under way is done, nil when none is
}

// NewAPICheck returns the check.
func NewAPICheck(api KeyProver) *APICheck { return &APICheck{api: api} }

// Check answers from memory while that is fresh, and while other calls prove the key; else it asks, for at most two
// seconds, and answers from memory when the API takes longer.
func (c *APICheck) Check(ctx context.Context) error {
	c.mu.Lock()
	c.hear()
	age := goodFor
	if c.last != nil || !c.known {
		age = badFor
	}
	if c.running == nil && (c.checked.IsZero() || time.Since(c.checked) >= age) {
		c.running = make(chan struct{})
		// The call outlives an impatient prober: its answer serves the next one.
		go c.ask(context.WithoutCancel(ctx), c.running)
	}
	running := c.running
	c.mu.Unlock()

	if running != nil {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-running:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// hear takes the proof that other calls gave meanwhile. The caller holds the lock.
func (c *APICheck) hear() {
	if at := c.api.KeyAccepted(); at.After(c.checked) {
		c.checked, c.known, c.last = at, true, nil
	}
}

func (c *APICheck) ask(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := c.api.Account(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case vultr.IsAddressRefused(err):
		c.known, c.last = true, fmt.Errorf("the Vultr API refuses the address that this program calls from: add it to the access control list of the API key: %w", err)
	case vultr.IsKeyRefused(err):
		c.known, c.last = true, fmt.Errorf("the Vultr API refuses the API key: put a valid one into the Secret: %w", err)
	case err == nil, vultr.IsForbidden(err):
		c.known, c.last = true, nil
	}
	c.checked = time.Now()
	c.running = nil
	close(done)
}

// Describe implements prometheus.Collector.
func (c *APICheck) Describe(ch chan<- *prometheus.Desc) { ch <- keyAccepted }

// Collect implements prometheus.Collector. It asks nothing; probes do.
func (c *APICheck) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hear()
	if !c.known {
		return
	}
	value := 1.0
	if c.last != nil {
		value = 0
	}
	ch <- prometheus.MustNewConstMetric(keyAccepted, prometheus.GaugeValue, value)
}
