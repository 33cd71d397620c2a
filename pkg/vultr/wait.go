package vultr

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"
)

const (
	firstInterval = time.Second
	lastInterval  = 2 * time.Second
	// Waiters poll on a common grid, so that one list serves them all: a fine grid while they are few.
	fewWaiters = 8
	fineGrid   = 250 * time.Millisecond
	coarseGrid = time.Second
)

// WaitVolume waits until done returns true for the volume, and gives the volume as it was then. An error of done ends
// the wait. All who wait share the lists that this takes. A volume that a list lacks is read directly, and only the
// IsNotFound of that ends the wait. Failures of the API do not, until ctx ends; a refused key does.
//
// op names what is waited for ("create", "attach", "detach", "resize"). The first look comes when that op is usually
// finished, as learned from earlier waits.
func (c *Client) WaitVolume(ctx context.Context, op, id string, done func(Volume) (bool, error)) (Volume, error) {
	if err := checkID(opWaitBlock, id); err != nil {
		return Volume{}, err
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	start := time.Now()
	due := start.Add(c.learned.firstLook(op))
	var missed time.Duration
	var failure error
	for n := 0; ; n++ {
		due = c.onGrid(due)
		if !sleepUntil(ctx, due) {
			return Volume{}, waitEnded(ctx, id, failure)
		}
		v, began, err := c.look(ctx, id, due)
		switch {
		case err == nil:
			failure = nil
			ok, err := done(v)
			if err != nil {
				return v, err
			}
			if ok {
				c.learned.took(op, missed, began.Sub(start))
				return v, nil
			}
			missed = began.Sub(start)
		case ctx.Err() != nil:
			return Volume{}, waitEnded(ctx, id, failure)
		case IsNotFound(err), IsUnauthorized(err):
			return Volume{}, err
		default:
			failure = err
			klog.FromContext(ctx).V(2).Info("Looking at the volume failed, waiting on", "volume", id, "for", op, "err", err)
		}
		due = later(due, time.Now()).Add(c.interval(n))
	}
}

// look gives the volume by a list that began at notBefore or later, or by a direct read if the list lacks it.
func (c *Client) look(ctx context.Context, id string, notBefore time.Time) (Volume, time.Time, error) {
	list, err := c.volumes.since(ctx, notBefore)
	if err != nil {
		return Volume{}, time.Time{}, ended(opListBlocks, err)
	}
	for _, v := range list.Items {
		if v.ID == id {
			return v, list.Began, nil
		}
	}
	// Lists lack new volumes for about a second, and say nothing of absence.
	began := time.Now()
	v, err := c.Volume(ctx, id)
	return v, began, err
}

// interval is the time between look n and the next one.
func (c *Client) interval(n int) time.Duration {
	d := firstInterval + time.Duration(n)*firstInterval/8
	return time.Duration(float64(min(d, lastInterval)) * c.scale)
}

// onGrid moves t to the next time at which all waiters look.
func (c *Client) onGrid(t time.Time) time.Time {
	grid := coarseGrid
	switch n := c.waiting.Load(); {
	case n <= 1:
		return t
	case n <= fewWaiters:
		grid = fineGrid
	}
	grid = max(time.Duration(float64(grid)*c.scale), time.Millisecond)
	rest := t.Sub(c.born) % grid
	if rest == 0 {
		return t
	}
	return t.Add(grid - rest)
}

func waitEnded(ctx context.Context, id string, failure error) error {
	rec := &record{op: opWaitBlock, resource: id}
	cause := ctx.Err()
	if failure != nil && !errors.Is(failure, cause) {
		cause = errors.Join(cause, failure)
	}
	return rec.fail(0, "", cause)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleepUntil tells whether t was reached before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
