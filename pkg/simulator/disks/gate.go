package disks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// gate lets one change at a time through, among all processes that use the same root. The kernel opens it again
// when its holder is killed.
//
// It also keeps apart the planes of one machine, by a lock on the loop devices' control node: to look at loop devices
// means to open them, and a device that another plane has open for its look cannot be cleared.
type gate struct {
	path string
	turn chan struct{}
}

func newGate(path string) gate {
	return gate{path: path, turn: make(chan struct{}, 1)}
}

// do runs act alone.
func (g gate) do(ctx context.Context, act func() error) (err error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.turn }()
	return withLock(ctx, g.path, os.O_RDWR|os.O_CREATE, func() error {
		return withLock(ctx, loopControl, os.O_RDWR, act)
	})
}

// withLock acts while it has the file locked; closing unlocks.
func withLock(ctx context.Context, path string, mode int, act func() error) (err error) {
	f, err := os.OpenFile(path, mode, 0o600) //nolint:gosec // the plane's own lock, or the control node
	if err != nil {
		return fmt.Errorf("lock of the disks: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := flock(ctx, f); err != nil {
		return err
	}
	return act()
}

// flock asks again and again: a blocking flock could not be cancelled. Other processes hold it for milliseconds.
func flock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock of the disks %s: %w", f.Name(), err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
