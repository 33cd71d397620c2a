package device

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Moment is how long a device or a mount can be busy for no reason that matters: a program that this process is just
// starting, for another volume, has a copy of every file that is open, such as of a directory that was looked at or of a
// disk that was claimed, until it runs.
const Moment = 500 * time.Millisecond

// UntilFree repeats a call while it is refused as busy, for as long as the patience and the context last. It returns the
// call's last error, together with the context's when that cut it off.
func UntilFree(ctx context.Context, patience time.Duration, call func() error) error {
	end := time.NewTimer(patience)
	defer end.Stop()
	pause := 10 * time.Millisecond
	for {
		err := call()
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-end.C:
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("waiting for it to be free was cut off: %w: %w", ctx.Err(), err)
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}
