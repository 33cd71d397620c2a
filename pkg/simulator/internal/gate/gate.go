// Package gate lets one change at a time through, among all goroutines and processes that name the same files.
package gate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Gate is a lock on files, which are made if they are missing. The kernel opens it again when its holder is killed.
type Gate struct {
	paths []string
	turn  chan struct{}
}

// New makes a gate of the files, which are locked in this order.
func New(paths ...string) Gate {
	return Gate{paths: paths, turn: make(chan struct{}, 1)}
}

// Do runs act alone.
func (g Gate) Do(ctx context.Context, act func() error) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.turn }()
	return withLocks(ctx, g.paths, act)
}

// withLocks acts while it has the files locked; closing unlocks.
func withLocks(ctx context.Context, paths []string, act func() error) (err error) {
	if len(paths) == 0 {
		return act()
	}
	f, err := os.OpenFile(paths[0], os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := flock(ctx, f); err != nil {
		return err
	}
	return withLocks(ctx, paths[1:], act)
}

// flock asks again and again: a blocking flock could not be cancelled. Other processes hold it for milliseconds.
func flock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
