package vultr

import (
	"fmt"
	"sync"
	"time"
)

// forgetAttempts is how long an attempt is remembered whose name nobody asked for again. No list is this old.
const forgetAttempts = 10 * time.Minute

// SettlingError says that a list cannot prove yet that a name was never created. It wraps ErrSettling.
type SettlingError struct {
	// Name is what was looked for.
	Name string
	// Wait is how long to wait before a list that begins then can prove it.
	Wait time.Duration
}

// Error says how long to wait.
func (e *SettlingError) Error() string {
	return fmt.Sprintf("%v: %q is in no list, but that proves nothing for another %s",
		ErrSettling, e.Name, e.Wait.Round(time.Millisecond))
}

// Unwrap returns ErrSettling.
func (e *SettlingError) Unwrap() error { return ErrSettling }

// SettleGuard decides whether a list proves that a name was never created. The platform knows no idempotency key, and
// a new object is missing from lists for a while: without a guard a create that lost its answer would be repeated.
//
// It knows of the attempts of this process only. What an earlier process, or the leader before, created in its last moments
// is for its callers to tell by other means.
type SettleGuard struct {
	settle time.Duration

	mu       sync.Mutex
	attempts map[string]time.Time
}

// NewAttemptGuard makes a guard that knows of no attempt yet.
func NewAttemptGuard(settle time.Duration) *SettleGuard {
	return &SettleGuard{settle: settle, attempts: map[string]time.Time{}}
}

// AttemptEnded tells that a create for name ended just now with an unknown outcome.
func (g *SettleGuard) AttemptEnded(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for other, ended := range g.attempts {
		if now.Sub(ended) > g.settle+forgetAttempts {
			delete(g.attempts, other)
		}
	}
	g.attempts[name] = now
}

// Tried reports whether a create for name ended with an unknown outcome and nothing was heard of it since.
func (g *SettleGuard) Tried(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.attempts[name]
	return ok
}

// Seen tells that nothing about name is unknown any more: it was found, or created, and then the caller remembers its ID
// for the settle time at least, because lists may still lack it.
func (g *SettleGuard) Seen(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.attempts, name)
}

// Absent reports whether a complete list that began at listBegan and lacks name proves that name does not exist. Else
// the error is a *SettlingError.
func (g *SettleGuard) Absent(name string, listBegan time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ended, ok := g.attempts[name]; ok {
		if proves := ended.Add(g.settle); listBegan.Before(proves) {
			return &SettlingError{Name: name, Wait: max(0, time.Until(proves))}
		}
	}
	delete(g.attempts, name)
	return nil
}
