// Package breaker stops the deletion of Nodes when too large a share of a cluster's instances is missing at once: then it
// is more likely that the API key shows something else than that they were all destroyed. It stays open until the
// account shows the instances again or a person has dealt with their Nodes; time alone never closes it.
package breaker

import (
	"fmt"
	"sync"
)

// DefaultLimit is the share of a cluster's instances that may be missing.
const DefaultLimit = 0.5

// Fewest is how many instances have to be missing for the breaker to open, whatever their share. Two machines may well
// die together.
const Fewest = 3

// Breaker remembers what was missing when it opened. It is safe for use by many goroutines.
type Breaker struct {
	limit float64

	mu     sync.Mutex
	opened map[string]bool // the instances that were missing then; nil while it is closed
	total  int             // of how many
}

// New returns a Breaker that opens when more than limit (0 to 1) of the instances are missing. With 1 it never opens.
func New(limit float64) *Breaker { return &Breaker{limit: limit} }

// OpenError is returned while the breaker is open.
type OpenError struct {
	// Missing of Total instances are not in the account.
	Missing, Total int
	// Limit is the share that may be missing.
	Limit float64
}

// Error says how many are missing.
func (e *OpenError) Error() string {
	return fmt.Sprintf("%d of the cluster's %d instances are not in the account, which is more than --node-deletion-limit=%g allows",
		e.Missing, e.Total, e.Limit)
}

// Check judges a census: which of how many instances are missing. It returns an *OpenError if nothing may be deleted.
func (b *Breaker) Check(missing map[string]bool, total int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tooMany(len(missing), total) {
		b.open(missing, total)
		return &OpenError{Missing: len(missing), Total: total, Limit: b.limit}
	}
	still := 0
	for id := range b.opened {
		if missing[id] {
			still++
		}
	}
	if b.opened == nil || !b.tooMany(still, b.total) {
		b.opened, b.total = nil, 0
		return nil
	}
	// New Nodes make the share smaller, but say nothing about the old ones.
	return &OpenError{Missing: len(missing), Total: total, Limit: b.limit}
}

// open remembers the census. What is missing in addition to what was before counts too. The lock is held.
func (b *Breaker) open(missing map[string]bool, total int) {
	if b.opened == nil {
		b.opened = make(map[string]bool, len(missing))
	}
	for id := range missing {
		b.opened[id] = true
	}
	b.total = total
}

func (b *Breaker) tooMany(missing, total int) bool {
	return missing >= Fewest && float64(missing) > b.limit*float64(total)
}
