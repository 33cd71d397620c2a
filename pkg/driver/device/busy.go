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

// UntilFree repeats a call while it is refused as busy, until its pauses add up to the patience or the context ends. What the
// calls themselves take does not count: on a machine that is slow, whoever is in the way is slow as well. It returns the
// call's last error, together with the context's when that cut it off.
func UntilFree(ctx context.Context, patience time.Duration, call func() error) error {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := call()
		if !errors.Is(err, unix.EBUSY) || patience <= 0 {
			return err
		}
		pause = min(pause, patience)
		patience -= pause
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("waiting for it to be free was cut off: %w: %w", ctx.Err(), err)
		}
	}
}
