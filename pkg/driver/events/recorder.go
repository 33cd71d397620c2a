package events

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/klog/v2"
)

const (
	// repeatAfter is for how long a warning is not repeated. It is as long as the apiserver keeps Events by default.
	repeatAfter = time.Hour
	// memory is how many warnings are remembered for that.
	memory = 4096
	// queued is how many warnings may wait to be written. What comes on top is logged only.
	queued = 128
	// perSecond and burst bound what the apiserver sees of this process.
	perSecond, burst = 1, 10
	// attempts and pause are for an apiserver that is away for a moment.
	attempts, pause = 3, 2 * time.Second
)

// writer writes an Event. *API is one.
type writer interface {
	Write(ctx context.Context, w Warning) error
}

// Warning is one warning on its way.
type Warning struct {
	Claim           Claim
	Reason, Message string
	// At is when it was first given.
	At time.Time
}

// key is what makes two warnings the same.
type key struct {
	claim           Claim
	reason, message string
}

// Recorder is a Warner that logs each warning and writes it as an Event. One and the same warning is given once an
// hour, however often its request is repeated.
type Recorder struct {
	api   writer
	queue chan Warning

	mu   sync.Mutex
	seen map[key]time.Time
}

// NewRecorder returns a recorder that writes to api, or that only logs when api is nil. Nothing is written before Run.
func NewRecorder(api *API) *Recorder {
	if api == nil {
		return newRecorder(nil)
	}
	return newRecorder(api)
}

func newRecorder(api writer) *Recorder {
	return &Recorder{api: api, queue: make(chan Warning, queued), seen: map[key]time.Time{}}
}

// Warn implements Warner.
func (r *Recorder) Warn(ctx context.Context, claim Claim, reason, message string) {
	now := time.Now()
	k := key{claim, reason, message}
	if !r.first(k, now) {
		return
	}
	logger := klog.FromContext(ctx)
	logger.Info("Warning", "claim", klog.KRef(claim.Namespace, claim.Name), "reason", reason, "message", message)
	if r.api == nil || !claim.Known() {
		return
	}
	select {
	case r.queue <- Warning{Claim: claim, Reason: reason, Message: message, At: now}:
	default:
		r.forget(k)
		logger.Info("Too many Events are waiting to be written, this one is only logged", "waiting", queued)
	}
}

// first reports whether the warning was not given within the last hour, and remembers it.
func (r *Recorder) first(k key, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.seen[k]; ok && now.Sub(at) < repeatAfter {
		return false
	}
	if len(r.seen) >= memory {
		r.makeRoom(now)
	}
	r.seen[k] = now
	return true
}

// makeRoom forgets what is older than an hour or, when nothing is, the oldest.
func (r *Recorder) makeRoom(now time.Time) {
	var oldest key
	oldestAt := now
	for k, at := range r.seen {
		if now.Sub(at) >= repeatAfter {
			delete(r.seen, k)
		} else if !at.After(oldestAt) {
			oldest, oldestAt = k, at
		}
	}
	if len(r.seen) >= memory {
		delete(r.seen, oldest)
	}
}

// forget lets the warning be given again.
func (r *Recorder) forget(k key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, k)
}

// Run writes Events until the context ends. What waits then is dropped.
func (r *Recorder) Run(ctx context.Context) error {
	limiter := rate.NewLimiter(perSecond, burst)
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-r.queue:
			if err := limiter.Wait(ctx); err != nil {
				return nil //nolint:nilerr // the context ended, which is no fault
			}
			if err := r.write(ctx, w); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Info("An Event could not be written", "claim", klog.KRef(w.Claim.Namespace, w.Claim.Name), "reason", w.Reason, "err", err)
				r.forget(key{w.Claim, w.Reason, w.Message})
			}
		}
	}
}

// write tries a few times, unless the apiserver refuses the Event as such.
func (r *Recorder) write(ctx context.Context, w Warning) error {
	for attempt := 1; ; attempt++ {
		err := r.api.Write(ctx, w)
		if err == nil || attempt == attempts || errors.Is(err, errRefused) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
