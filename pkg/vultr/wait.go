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

// wait is what one caller waits for.
type wait[T any] struct {
	op       operation
	resource string
	// part is what of the resource it is about, "" for all of it.
	part string
	// lesson names what is learned about how long such waits take.
	lesson string
	// look returns the object as it was at the time that it also returns, which is not before notBefore.
	look func(ctx context.Context, notBefore time.Time) (T, time.Time, error)
	// done ends the wait when it says so, and when it fails.
	done func(T) (bool, error)
}

// WaitVolume waits until done returns true for the volume, and gives the volume as it was then. An error of done ends
// the wait. All who wait share the lists that this takes. A volume that a list lacks is read directly, and only the
// IsNotFound of that ends the wait. Failures of the API do not, until ctx ends; a refused key does.
//
// op names what is waited for ("create", "attach", "detach", "resize"). The first look comes when that op is usually
// finished, as learned from earlier waits.
func (c *Client) WaitVolume(ctx context.Context, op, id string, done func(Volume) (bool, error)) (Volume, error) {
	v, _, err := c.WaitVolumeAsOf(ctx, op, id, done)
	return v, err
}

// WaitVolumeAsOf is WaitVolume that also returns the time as of which the volume was as wished.
func (c *Client) WaitVolumeAsOf(ctx context.Context, op, id string, done func(Volume) (bool, error)) (Volume, time.Time, error) {
	var asOf time.Time
	look := lookFor(c, volumes, c.volumes, id)
	v, err := await(ctx, c, wait[Volume]{
		op: opWaitBlock, resource: id, lesson: op, done: done,
		look: func(ctx context.Context, notBefore time.Time) (v Volume, began time.Time, err error) {
			v, began, err = look(ctx, notBefore)
			asOf = began
			return v, began, err
		},
	})
	return v, asOf, err
}

// WaitListed waits until a list shows the volume and done returns true for it, and returns the volume with that list.
// By then the list shows everything that the platform made before this volume, too, however late its reads are: one that is
// shorter than the API's own count does not do. A volume that no list shows is not taken for gone, whatever a direct read
// says, until missing has passed.
func (c *Client) WaitListed(ctx context.Context, op, id string, missing time.Duration, done func(Volume) (bool, error)) (Volume, List[Volume], error) {
	return awaitListed(ctx, c, volumes, c.volumes, wait[Volume]{op: opWaitBlock, resource: id, lesson: op, done: done}, missing)
}

// WaitFileSystemListed waits as WaitListed does for a volume.
func (c *Client) WaitFileSystemListed(ctx context.Context, id string, missing time.Duration, done func(FileSystem) (bool, error)) (FileSystem, List[FileSystem], error) {
	return awaitListed(ctx, c, fileSystems, c.fileSystems, wait[FileSystem]{op: opWaitFileSystem, resource: id, lesson: "file system", done: done}, missing)
}

// awaitListed waits until a list shows the object, and returns that list with it.
func awaitListed[W, T any](ctx context.Context, c *Client, r resource[W, T], lists *shared[T], w wait[T], missing time.Duration) (T, List[T], error) {
	var shown List[T]
	began := time.Now()
	w.look = func(ctx context.Context, notBefore time.Time) (T, time.Time, error) {
		var none T
		list, err := lists.since(ctx, notBefore)
		if err != nil {
			return none, time.Time{}, ended(r.ops.list, err)
		}
		for _, v := range list.Items {
			if r.id(v) == w.resource {
				if list.short != nil {
					return none, time.Time{}, list.short // what was made before may be what it lacks
				}
				shown = list
				return v, list.Began, nil
			}
		}
		lacks := errUnlisted
		if list.short != nil {
			lacks = list.short
		}
		if time.Since(began) < missing {
			return none, time.Time{}, lacks
		}
		if v, err := r.read(ctx, c, w.resource); err != nil {
			return v, time.Time{}, err
		}
		return none, time.Time{}, lacks
	}
	v, err := await(ctx, c, w)
	return v, shown, err
}

// errUnlisted says that lists lack what was made.
var errUnlisted = errors.New("the list does not show it yet")

// WaitSnapshot waits for a block snapshot as WaitVolume does for a volume.
func (c *Client) WaitSnapshot(ctx context.Context, id string, done func(Snapshot) (bool, error)) (Snapshot, error) {
	return await(ctx, c, wait[Snapshot]{
		op: opWaitSnapshot, resource: id, lesson: "snapshot", done: done, look: lookFor(c, snapshots, c.snapshots, id),
	})
}

// WaitFileSystem waits for a file system as WaitVolume does for a volume.
func (c *Client) WaitFileSystem(ctx context.Context, id string, done func(FileSystem) (bool, error)) (FileSystem, error) {
	return await(ctx, c, wait[FileSystem]{
		op: opWaitFileSystem, resource: id, lesson: "file system", done: done,
		look: lookFor(c, fileSystems, c.fileSystems, id),
	})
}

// await looks until the wait is over.
func await[T any](ctx context.Context, c *Client, w wait[T]) (T, error) {
	var none T
	if err := checkID(w.op, w.resource); err != nil {
		return none, err
	}
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	start := time.Now()
	usual := c.learned.firstLook(w.lesson)
	key, givenUp := waitFor{w.lesson, w.resource, w.part}, false
	expected := c.overdue.begin(key, c.scaled(sameWait)).Add(usual)
	defer func() { c.overdue.end(key, givenUp && time.Since(expected) >= c.scaled(slowAfter)) }()
	due := start.Add(usual)
	if end, ok := ctx.Deadline(); ok && due.After(end) {
		// What is waited for may have begun in calls before, each too short for its first look.
		due = start.Add(end.Sub(start) / 2)
	}
	var missed time.Duration
	var failure error
	for n := 0; ; n++ {
		due = c.onGrid(due)
		if !sleepUntil(ctx, due) {
			givenUp = true
			return none, w.ended(ctx, failure)
		}
		v, began, err := w.look(ctx, due)
		switch {
		case err == nil:
			failure = nil
			ok, err := w.done(v)
			if err != nil {
				return v, err
			}
			if ok {
				c.learned.took(w.lesson, missed, began.Sub(start))
				return v, nil
			}
			missed = began.Sub(start)
		case ctx.Err() != nil:
			givenUp = true
			return none, w.ended(ctx, failure)
		case IsNotFound(err), IsUnauthorized(err):
			return none, err
		default:
			failure = err
			klog.FromContext(ctx).V(2).Info("A look failed, waiting on", "operation", w.op.name, "resource", w.resource, "err", err)
		}
		due = c.next(n, later(due, time.Now()), expected)
	}
}

// lookFor returns an object by a list that began at notBefore or later, or by a direct read if the list lacks it.
func lookFor[W, T any](c *Client, r resource[W, T], lists *shared[T], id string) func(context.Context, time.Time) (T, time.Time, error) {
	return func(ctx context.Context, notBefore time.Time) (T, time.Time, error) {
		list, err := lists.since(ctx, notBefore)
		if err != nil {
			var none T
			return none, time.Time{}, ended(r.ops.list, err)
		}
		for _, v := range list.Items {
			if r.id(v) == id {
				return v, list.Began, nil
			}
		}
		// Lists lack new objects for about a second, and say nothing of absence.
		began := time.Now()
		v, err := r.read(ctx, c, id)
		return v, began, err
	}
}

// next is when to look again after look n, which was at last, for what is usually over by expected.
func (c *Client) next(n int, last, expected time.Time) time.Time {
	interval := slowestInterval
	switch late := last.Sub(expected); {
	case late < c.scaled(slowAfter):
		return last.Add(c.scaled(min(firstInterval+time.Duration(n)*firstInterval/8, lastInterval)))
	case late < c.scaled(slowestAfter):
		interval = slowInterval
	}
	// All that hangs is looked at at the same times, so that one list serves it.
	return c.upTo(last.Add(c.scaled(fineGrid)), c.scaled(interval))
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
	return c.upTo(t, c.scaled(grid))
}

// upTo moves t to the next time of a grid.
func (c *Client) upTo(t time.Time, grid time.Duration) time.Time {
	grid = max(grid, time.Millisecond)
	rest := t.Sub(c.born) % grid
	if rest == 0 {
		return t
	}
	return t.Add(grid - rest)
}

// scaled is a time of the platform's clock on ours.
func (c *Client) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * c.scale) }

// ended is the error of a wait whose context ended, with what kept it from its end.
func (w wait[T]) ended(ctx context.Context, failure error) error {
	rec := &record{op: w.op, resource: w.resource}
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

// sleepUntil reports whether t was reached before ctx ended.
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
