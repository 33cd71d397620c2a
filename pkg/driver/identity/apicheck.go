package identity

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// KeyProver proves that the platform accepts the key.
type KeyProver interface {
	// Account is the cheapest call that does.
	Account(ctx context.Context) (vultr.Account, error)
	// KeyAccepted tells when any call last did, the zero time when none has yet.
	KeyAccepted() time.Time
}

const (
	// goodFor is how long a proof of the key holds. Probes come every few seconds, and every call counts against
	// a limit that all clusters behind one address share.
	goodFor = time.Minute
	// badFor is short, because a replaced key should be noticed soon.
	badFor = 10 * time.Second
	// patience is how long a probe waits for the API; the kubelet's own time-out is not much longer.
	patience = 2 * time.Second
)

// APICheck tells whether the platform accepts the key. An API that is slow, throttled or down is no fault of this
// process, and a restart would not help: only a refused key is.
type APICheck struct {
	api KeyProver

	mu      sync.Mutex
	checked time.Time
	last    error
	running chan struct{} // closed when the call under way is done, nil when none is
}

// NewAPICheck makes the check.
func NewAPICheck(api KeyProver) *APICheck { return &APICheck{api: api} }

// Check answers from memory while that is fresh, and while other calls prove the key; else it asks, for at most two seconds, and answers from memory
// when the API takes longer.
func (c *APICheck) Check(ctx context.Context) error {
	c.mu.Lock()
	if at := c.api.KeyAccepted(); at.After(c.checked) {
		c.checked, c.last = at, nil
	}
	age := goodFor
	if c.last != nil {
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

func (c *APICheck) ask(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := c.api.Account(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case vultr.IsUnauthorized(err):
		c.last = fmt.Errorf("the Vultr API refuses the key: %w", err)
	case err == nil:
		c.last = nil
	}
	c.checked = time.Now()
	c.running = nil
	close(done)
}
