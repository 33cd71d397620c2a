package blockstore

import (
	"context"
	"sync"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Session is the time for which one caller has been the only one that creates or attaches volumes, as far as this
// process can know. Of several controllers the one whose sidecar holds the lease is called. A sidecar that loses the
// lease ends, so a new leader shows as a new connection: on its first create another controller may just have sent a
// create that no list shows yet, and on its first detach an attach that no volume shows yet.
type Session struct {
	once  sync.Once
	guard *vultr.SettleGuard

	placing sync.Once
	placed  time.Time // when it first attached or detached
}

type sessionKey struct{}

// WithSession puts a new session into the context of a connection.
func WithSession(ctx context.Context) context.Context {
	return context.WithValue(ctx, sessionKey{}, &Session{})
}

// absent tells whether a list that began then proves that no volume of the name was ever created, by this
// process or by one that had the lease before.
func (s *Store) absent(ctx context.Context, name string, listBegan time.Time) error {
	if session, ok := ctx.Value(sessionKey{}).(*Session); ok {
		session.once.Do(func() { session.guard = vultr.NewSettleGuard(s.api.SettleTime()) })
		if err := session.guard.Absent(name, listBegan); err != nil {
			return err
		}
	}
	return s.guard.Absent(name, listBegan)
}

// predecessors tells for how long an attach may still become visible that another process ordered, or this one before
// it died. The clock begins with the first attach or detach of a session.
func (s *Store) predecessors(ctx context.Context) time.Duration {
	since := s.born
	if session, ok := ctx.Value(sessionKey{}).(*Session); ok {
		session.placing.Do(func() { session.placed = time.Now() })
		since = session.placed
	}
	return max(0, s.placed.window-time.Since(since))
}

// recent remembers for a while what was done: which volume a name got, because a list may still lack it when the same
// create is asked for again, and the caller may have given up before it heard the ID; or which volumes were deleted.
type recent struct {
	mu    sync.Mutex
	byKey map[string]remembered
}

type remembered struct {
	value string
	until time.Time
}

const recentFor = time.Minute

func (r *recent) put(key, value string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey == nil {
		r.byKey = map[string]remembered{}
	}
	for k, m := range r.byKey {
		if now.After(m.until) {
			delete(r.byKey, k)
		}
	}
	r.byKey[key] = remembered{value: value, until: now.Add(recentFor)}
}

func (r *recent) get(key string, now time.Time) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.byKey[key]
	return m.value, ok && now.Before(m.until)
}

func (r *recent) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byKey, key)
}
