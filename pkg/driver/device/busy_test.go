package device_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// TestUntilFree: only what is busy is tried again, until the pauses add up to the patience.
func TestUntilFree(t *testing.T) {
	busy := fmt.Errorf("opening: %w", unix.EBUSY)
	for name, c := range map[string]struct {
		free time.Duration // when it is free
		then error
		want error
		took time.Duration
	}{
		"at once":         {0, nil, nil, 0},
		"after a while":   {300 * time.Millisecond, nil, nil, 350 * time.Millisecond},
		"never":           {time.Hour, nil, unix.EBUSY, 500 * time.Millisecond},
		"another failure": {0, unix.EIO, unix.EIO, 0},
		"then a failure":  {50 * time.Millisecond, unix.EIO, unix.EIO, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := device.UntilFree(t.Context(), 500*time.Millisecond, func() error {
					if time.Since(began) < c.free {
						return busy
					}
					return c.then
				})
				if took := time.Since(began); !errors.Is(err, c.want) || took < min(c.free, 500*time.Millisecond) || took > c.took {
					t.Errorf("got %v after %s", err, took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // on a machine that is slow
		calls := 0
		err := device.UntilFree(t.Context(), 500*time.Millisecond, func() error {
			time.Sleep(time.Second) // fake time: what the call itself takes
			if calls++; calls < 5 {
				return busy
			}
			return nil
		})
		if err != nil {
			t.Errorf("after %d slow calls: %v", calls, err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := device.UntilFree(ctx, time.Hour, func() error { return busy })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("cut off: %v", err)
	}
	if err := device.UntilFree(ctx, time.Hour, func() error { return nil }); err != nil {
		t.Errorf("free, but the call is over: %v", err)
	}
}
