package servicelb

import (
	"context"
	"sync/atomic"
	"time"
)

// failureLasts is how long one list serves the syncs that follow when Nodes fail.
const failureLasts = 10 * time.Second

// failure remembers when Nodes failed last. A list takes the platform a second or two, in which each load balancer still sends to them:
// so one is asked for while it is still waited for further Nodes, and that one serves all load balancers. What somebody else
// changes meanwhile is seen some seconds later than usual.
type failure struct{ from atomic.Pointer[time.Time] }

// begins notes that Nodes fail. A list as old as one may ever be serves for them.
func (f *failure) begins(now time.Time) {
	from := now.Add(-listAge)
	f.from.Store(&from)
}

// age returns how old a list may be on their account.
func (f *failure) age(now time.Time) time.Duration {
	from := f.from.Load()
	if from == nil || now.Sub(*from) >= failureLasts {
		return 0
	}
	return now.Sub(*from)
}

// readAhead has the list read that the syncs will need for Nodes that fail.
func (c *Controller) readAhead(ctx context.Context) {
	c.failure.begins(time.Now())
	if len(c.ledger.All()) == 0 {
		return // there are no load balancers
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	_, _ = c.list(ctx, time.Time{}) // the syncs read again, and tell of it, if it fails
}
