// Package looks bounds looks at what may never answer, such as a file system whose disk is gone. A system call that
// hangs cannot be ended; at least it is not joined by another one every minute.
package looks

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// HangingError says that a look has not come back.
type HangingError struct {
	What  string
	Since time.Duration
}

// Error says what does not answer and since when.
func (e *HangingError) Error() string {
	return fmt.Sprintf("%s has not answered for %s", e.What, e.Since.Round(time.Second))
}

// Looks lets one look per key be under way. Its zero value is ready.
type Looks struct {
	mu    sync.Mutex
	under map[string]*look
}

type look struct {
	what  string
	began time.Time
	done  chan struct{}
}

// Do looks, in a goroutine of its own, and waits for the answer as long as the patience and the context last. A look
// that is under way is waited for first; when it has been for longer than the patience, no other one is begun.
func (l *Looks) Do(ctx context.Context, key, what string, patience time.Duration, fn func() error) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return cutOff(ctx, what) // a look that is quick would be over before anybody saw that
		}
		own, other := l.begin(key, what)
		if own == nil {
			if since := time.Since(other.began); since >= patience {
				return &HangingError{other.what, since}
			}
			if err := wait(ctx, other, timer); err != nil {
				return err
			}
			continue
		}
		var err error
		go func() {
			err = fn()
			l.end(key, own)
		}()
		if waitErr := wait(ctx, own, timer); waitErr != nil {
			return waitErr
		}
		return err
	}
}

func wait(ctx context.Context, l *look, timer *time.Timer) error {
	select {
	case <-l.done:
		return nil
	case <-timer.C:
		return &HangingError{l.what, time.Since(l.began)}
	case <-ctx.Done():
		return cutOff(ctx, l.what)
	}
}

func cutOff(ctx context.Context, what string) error {
	return fmt.Errorf("looking at %s was cut off: %w", what, ctx.Err())
}

func (l *Looks) begin(key, what string) (own, other *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.under[key]; other != nil {
		return nil, other
	}
	if l.under == nil {
		l.under = map[string]*look{}
	}
	own = &look{what, time.Now(), make(chan struct{})}
	l.under[key] = own
	return own, nil
}

func (l *Looks) end(key string, own *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.under, key)
	close(own.done)
}
