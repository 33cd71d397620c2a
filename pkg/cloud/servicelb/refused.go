package servicelb

import (
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// refusedPause is how long a refusal of the key is good for all load balancers. Pauses do not grow: a new key is to be
// noticed soon, and one question for all costs little.
const refusedPause = 10 * time.Second

// refusal remembers that the key was refused: each load balancer would otherwise find out by itself.
type refusal struct {
	mu    sync.Mutex
	err   error
	until time.Time
}

// standing returns the refusal, nil if there is none or it has to be asked about again.
func (r *refusal) standing(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil || !now.Before(r.until) {
		return nil
	}
	return r.err
}

// left returns how long it takes until the key is asked about again.
func (r *refusal) left(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if left := r.until.Sub(now); r.err != nil && left > 0 {
		return left
	}
	return refusedPause
}

// learn notes what became of a question.
func (r *refusal) learn(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case vultr.IsKeyRefused(err):
		r.err, r.until = err, now.Add(refusedPause)
	case err == nil:
		r.err = nil
	}
}
