package instances

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A look that found nothing is repeated after firstRetry, then after twice as long each time up to lastRetry. The
// library's own queue begins with milliseconds.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// attempts remembers when Nodes without a known instance were first seen and what the last look for it came to.
type attempts struct {
	mu    sync.Mutex
	nodes map[types.UID]attempt
}

type attempt struct {
	since time.Time // what is read has to be of this time or later
	wait  time.Duration
	next  time.Time
	err   error
}

// seen notes that a Node exists. Its machine does too, and everything that is read from now on can show it.
func (a *attempts) seen(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.nodes[uid]; !known {
		a.nodes[uid] = attempt{since: time.Now()}
	}
}

// begin returns since when a list must be, or the error of the last look while it is too early for the next.
func (a *attempts) begin(uid types.UID) (time.Time, error) {
	a.seen(uid)
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.nodes[uid]
	if time.Now().Before(known.next) {
		return time.Time{}, known.err
	}
	return known.since, nil
}

// failed notes that a look proved nothing: the next one needs a later list.
func (a *attempts) failed(uid types.UID, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.nodes[uid]
	wait := min(max(firstRetry, 2*known.wait), lastRetry)
	next := time.Now().Add(wait)
	a.nodes[uid] = attempt{since: next, wait: wait, next: next, err: err}
}

// succeeded keeps when the Node was seen: it is looked for again until its provider ID is written.
func (a *attempts) succeeded(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.nodes[uid]
	a.nodes[uid] = attempt{since: known.since}
}

func (a *attempts) forget(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.nodes, uid)
}
