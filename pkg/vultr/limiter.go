package vultr

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// priority orders the callers of the limiter.
type priority int

const (
	writes priority = iota
	reads
	priorities // how many there are
)

// String is the metric label.
func (p priority) String() string { return [...]string{"write", "read"}[p] }

func priorityOf(method string) priority {
	if method == http.MethodGet {
		return reads
	}
	return writes
}

const (
	// burst lets a single operation's few calls through at once.
	burst = 5
	// writesPerRead keeps a flood of writes from stopping the reads that wait for their effects.
	writesPerRead = 4
	// defaultPause follows a 429 that names no time.
	defaultPause = time.Second
)

// limiter shares the allowed rate among all calls of the process. Writes go before reads. A 429 stops everybody for the
// time that the API names.
type limiter struct {
	metrics *metrics

	mu      sync.Mutex
	pace    *pace
	tokens  *rate.Limiter
	used    usage
	queues  [priorities][]*turn
	writes  int // writes let through since the last read
	stopped time.Time
	timer   *time.Timer
}

// turn is one caller in the queue.
type turn struct {
	ready  chan struct{}
	joined time.Time
	at     time.Time // when it was let through
}

func newLimiter(start, ceiling float64, m *metrics) *limiter {
	l := &limiter{metrics: m, pace: newPace(start, ceiling, time.Now()), tokens: rate.NewLimiter(rate.Limit(start), burst)}
	m.rate.Set(start)
	return l
}

// wait blocks until the caller may send. It fails when the context ends, and at once when it is known to end before
// the API wants to hear from us again. The returned time goes to refused if the API refuses the call.
func (l *limiter) wait(ctx context.Context, p priority) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	t := &turn{ready: make(chan struct{}), joined: time.Now()}
	l.mu.Lock()
	if end, ok := ctx.Deadline(); ok && end.Before(l.stopped) {
		left := time.Until(l.stopped)
		l.mu.Unlock()
		return time.Time{}, fmt.Errorf("the API asked for a pause of another %s: %w", left.Round(time.Millisecond), context.DeadlineExceeded)
	}
	l.queues[p] = append(l.queues[p], t)
	l.serve()
	l.mu.Unlock()

	select {
	case <-t.ready:
	case <-ctx.Done():
		if !l.leave(t, p) {
			break // its turn came at the same moment
		}
		return time.Time{}, ctx.Err()
	}
	l.metrics.wait.WithLabelValues(p.String()).Observe(t.at.Sub(t.joined).Seconds())
	return t.at, nil
}

// leave takes t out of the queue; false if its turn has come.
func (l *limiter) leave(t *turn, p priority) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.queues[p] {
		if other == t {
			l.queues[p] = append(l.queues[p][:i], l.queues[p][i+1:]...)
			l.serve()
			return true
		}
	}
	return false
}

// serve lets through as many as may go now and sets the timer for the next. The lock is held.
func (l *limiter) serve() {
	defer l.show()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	now := time.Now()
	for len(l.queues[writes])+len(l.queues[reads]) > 0 {
		if now.Before(l.stopped) {
			l.wake(l.stopped.Sub(now))
			return
		}
		if r := l.pace.rise(now); r != float64(l.tokens.Limit()) {
			l.tokens.SetLimitAt(now, rate.Limit(r))
		}
		r := l.tokens.ReserveN(now, 1)
		if d := r.DelayFrom(now); d > 0 {
			r.CancelAt(now)
			l.pace.pressed = true
			l.wake(d)
			return
		}
		t := l.next()
		t.at = now
		l.used.add(now)
		close(t.ready)
	}
}

func (l *limiter) wake(d time.Duration) {
	l.timer = time.AfterFunc(d, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.serve()
	})
}

// next takes the caller whose turn it is out of its queue.
func (l *limiter) next() *turn {
	p := writes
	if len(l.queues[writes]) == 0 || (len(l.queues[reads]) > 0 && l.writes >= writesPerRead) {
		p = reads
	}
	if p == writes {
		l.writes++
	} else {
		l.writes = 0
	}
	t := l.queues[p][0]
	l.queues[p] = l.queues[p][1:]
	return t
}

// refused tells that the API answered 429 to the call that was let through at sent.
func (l *limiter) refused(sent time.Time, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.pace.fall(sent, now)
	until := now.Add(spread(min(orDefault(retryAfter, defaultPause), maxRetryAfter)))
	if until.After(l.stopped) {
		l.stopped = until
		// Nothing saved up during the pause: the calls after it come at the new rate.
		l.tokens = rate.NewLimiter(rate.Limit(l.pace.rate), burst)
		l.tokens.AllowN(until, burst)
	}
	l.serve()
}

// budget returns how many requests per second were left of the rate in the last minute.
func (l *limiter) budget() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.stopped) {
		return 0
	}
	return max(0, l.pace.rate-float64(l.used.within(now))/usageSeconds)
}

func (l *limiter) show() {
	for p := range priorities {
		l.metrics.queue.WithLabelValues(p.String()).Set(float64(len(l.queues[p])))
	}
	l.metrics.rate.Set(l.pace.rate)
}
