package vultr

import (
	"context"
	"sync"
	"time"
)

// manyReaders is how many reads of single objects must be under way for one list to serve them all, for each page that
// the list has.
const manyReaders = 3

// sent notes when the first request of a read left: what it answers was true then or later. Waiting for a turn before
// that can take seconds, and does not make the answer older.
type sent struct {
	mu sync.Mutex
	at time.Time
}

type sentKey struct{}

// noteSent tells the reader that its request leaves now.
func noteSent(ctx context.Context, now time.Time) {
	s, ok := ctx.Value(sentKey{}).(*sent)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() {
		s.at = now
	}
}

func (s *sent) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// VolumeNow reads one volume as it is after the call, or was at most maxAge before it, and returns the time as of which
// the answer holds. Many callers at once share lists; a volume that a list lacks is read directly. Only IsNotFound
// proves that it does not exist.
func (c *Client) VolumeNow(ctx context.Context, id string, maxAge time.Duration) (Volume, time.Time, error) {
	if list, ok := c.volumes.latest(maxAge); ok {
		if v, ok := find(list, id); ok {
			c.volumes.count("cached")
			return v, list.Began, nil
		}
	}
	n := c.volumeReaders.Add(1)
	defer c.volumeReaders.Add(-1)
	if n >= manyReaders*c.volumes.pages() {
		// A list that fails or lacks the volume says nothing; the direct read below does.
		if list, err := c.volumes.fresh(ctx); err == nil {
			if v, ok := find(list, id); ok {
				return v, list.Began, nil
			}
		}
	}
	s := &sent{}
	v, err := volumes.read(context.WithValue(ctx, sentKey{}, s), c, id)
	return v, s.time(), err
}

// VolumeListed returns one volume as a list shows it that is at most maxAge old, and the time as of which that holds. It
// sees what WaitVolume sees: lists may be older than single reads, or the other way round, and whoever decides by both
// goes back in time. A volume that the list lacks is read directly. Only IsNotFound proves that it does not exist.
func (c *Client) VolumeListed(ctx context.Context, id string, maxAge time.Duration) (Volume, time.Time, error) {
	return listed(ctx, c, volumes, c.volumes, id, maxAge)
}

// listed returns an object as a list shows it that is at most maxAge old, or by a direct read if the list lacks it.
func listed[W, T any](ctx context.Context, c *Client, r resource[W, T], lists *shared[T], id string, maxAge time.Duration) (T, time.Time, error) {
	if err := checkID(r.ops.get, id); err != nil {
		var none T
		return none, time.Time{}, err
	}
	return lookFor(c, r, lists, id)(ctx, time.Now().Add(-maxAge))
}

func find(list List[Volume], id string) (Volume, bool) {
	for _, v := range list.Items {
		if v.ID == id {
			return v, true
		}
	}
	return Volume{}, false
}

// latest returns the list that was read last if it is at most maxAge old. It reads none.
func (s *shared[T]) latest(maxAge time.Duration) (List[T], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if maxAge <= 0 || s.last == nil || time.Since(s.last.Began) > maxAge {
		return List[T]{}, false
	}
	return *s.last, true
}

// pages is how many pages the list had lately, 1 before the first.
func (s *shared[T]) pages() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return 1
	}
	return int64(1 + len(s.last.Items)/pageSize)
}
