package ledger

import (
	"context"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	// bytesPerSecond is how much of one shard is rewritten in a second at most, on average. With all shards that is
	// 1 MiB, so what piles up between two compactions of etcd, five minutes, is bounded however many Services there are.
	bytesPerSecond = 16 << 10
	// writeTimeout bounds one write of a shard for all who wait for it, whatever time they have.
	writeTimeout = 30 * time.Second
)

// shard is one ConfigMap. One goroutine at a time writes it, while something waits to be written.
type shard struct {
	maps   typedv1.ConfigMapInterface
	name   string
	writer string // this process, in marks

	mu      sync.Mutex
	entries map[types.UID]Entry
	// unreadable has the error for each key that cannot be decoded. Such a key stays as it is until people change it.
	unreadable map[types.UID]error
	changed    map[types.UID]bool // by another controller, since the last get
	waiting    []*change
	writing    bool
	batch      []*change // what is being written
	cancel     func()    // ends that

	// Only load and the goroutine that writes use these.
	texts map[string]string // the entries as they are to be stored
	there *v1.ConfigMap     // as the API server had it last, nil if there was none
	sent  write             // the last one that was asked for, whatever became of it
	count int               // of writes
	rests time.Time         // until when the shard is not written again
}

// change is what one caller wants to be written.
type change struct {
	uid   types.UID
	entry Entry
	text  string // the entry as it is stored, "" to remove it
	look  bool   // nothing to write, but a comparison of all with what the API server has
	// listed is set for a comparison with a list, which has shown the shard as seen, or that it is not there. The list may be
	// older than what was written since, so all that it proves is that nothing has changed.
	listed bool
	seen   *v1.ConfigMap

	done chan struct{} // closed when err is final
	err  error
	gone bool // whether the caller has no time left
}

func (c *change) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (s *shard) get(uid types.UID) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unreadable[uid]; err != nil {
		return Entry{}, err
	}
	delete(s.changed, uid)
	entry, known := s.entries[uid]
	if known {
		entry = entry.capped(time.Now())
		s.entries[uid] = entry // or a time ahead would move along with the clock
	}
	return entry, nil
}

// put returns when the change is stored, or is certain not to be under way any more.
func (s *shard) put(ctx context.Context, c *change) error {
	c.done = make(chan struct{})
	s.mu.Lock()
	switch {
	case s.unreadable[c.uid] != nil && !c.look:
		defer s.mu.Unlock()
		return s.unreadable[c.uid]
	case s.changed[c.uid] && !c.look:
		s.mu.Unlock()
		return ErrChanged
	case s.entries[c.uid] == c.entry && !c.look:
		s.mu.Unlock()
		return nil
	}
	s.waiting = append(s.waiting, c)
	if !s.writing {
		s.writing = true
		go s.work(context.WithoutCancel(ctx)) // for all who wait, not for this caller alone
	}
	s.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		if s.withdraw(c) {
			return context.Cause(ctx)
		}
		<-c.done
	}
	return c.err
}

// withdraw takes back a change and reports whether it was still waiting. A write under way that nobody waits for any more
// is ended.
func (s *shard) withdraw(c *change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, c); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return true
	}
	c.gone = true
	if !slices.ContainsFunc(s.batch, func(c *change) bool { return !c.isDone() && !c.gone }) {
		s.cancel()
	}
	return false
}

// work writes until nothing waits. What comes while a write is under way, or the shard rests, is in the next.
func (s *shard) work(ctx context.Context) {
	for s.goesOn() {
		time.Sleep(time.Until(s.rests)) // a change that is withdrawn meanwhile is not written
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		s.commit(ctx, s.take(cancel))
		cancel()
	}
}

// goesOn reports whether anything waits; if not, the goroutine that writes has ended.
func (s *shard) goesOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = len(s.waiting) > 0
	return s.writing
}

// take returns what waits.
func (s *shard) take(cancel func()) []*change {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch, s.waiting, s.cancel = s.waiting, nil, cancel
	return s.batch
}

// settle ends the wait of those of the batch that are not done yet.
func (s *shard) settle(batch []*change, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range batch {
		if !c.isDone() {
			c.err = err
			close(c.done)
		}
	}
}

// open returns what of the batch is still to be written. What another controller has changed is not: whoever asked for
// it must look again.
func (s *shard) open(batch []*change) []*change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []*change
	for _, c := range batch {
		switch {
		case c.isDone():
		case s.unreadable[c.uid] != nil && !c.look:
			c.err = s.unreadable[c.uid]
			close(c.done)
		case s.changed[c.uid] && !c.look:
			c.err = ErrChanged
			close(c.done)
		default:
			open = append(open, c)
		}
	}
	return open
}
