// Package roster lists the account's instances for all Nodes together, and lets them share failures as they share lists.
package roster

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API lists the servers of the account. Its lists are shared by all who ask at a moment; a failed one is forgotten.
type API interface {
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
}

// FailureAge is how long a failure answers everybody: a refused key or an API that is away costs one call in that time
// instead of one for each Node, and a key that was put right is noticed as soon.
const FailureAge = 5 * time.Second

// Roster shares lists and failures. It is safe for use by many goroutines.
type Roster struct {
	api API

	mu        sync.Mutex
	failed    error
	until     time.Time
	sightings sightings
}

// New returns a Roster.
func New(api API) *Roster { return &Roster{api: api} }

// Instances returns a list that began at most maxAge ago, with 0 one that begins now, or a failure of the last seconds.
func (r *Roster) Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error) {
	if err := r.failure(); err != nil {
		return vultr.List[vultr.Instance]{}, err
	}
	list, err := r.api.Instances(ctx, maxAge)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.sightings.note(list)
	case ctx.Err() == nil: // a caller who left says nothing about the API
		r.failed, r.until = err, time.Now().Add(FailureAge)
	}
	return list, err
}

func (r *Roster) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil && time.Now().Before(r.until) {
		return r.failed
	}
	r.failed = nil
	return nil
}

// The bounds of Patience.
const (
	shortest = 5 * time.Second
	longest  = 30 * time.Second
)

// Patience returns how old a list may be that shows the instance of a Node that is not ready: a quarter of the time for
// which it has not been, within bounds. What has just failed may be gone at any moment; what has been silent for hours
// is looked after all the same, but in no hurry.
func Patience(node *v1.Node) time.Duration {
	since := readiness.Of(node).LastTransitionTime
	if since.IsZero() {
		return shortest
	}
	return min(max(time.Since(since.Time)/4, shortest), longest)
}

// Maturity is the age of a Node before which its instance may be so new that reads do not show it yet: in bad weather they lag by a
// minute and more. An instance is a minute older than its Node.
const Maturity = 90 * time.Second

// MatureAt returns from when on it means something that reads do not show the instance of a Node, by the API server's clock.
func MatureAt(node *v1.Node) time.Time { return node.CreationTimestamp.Add(Maturity) }
