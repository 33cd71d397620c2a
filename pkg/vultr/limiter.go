package vultr

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// priority orders the callers of the limiter.
type priority int

const (
	urgent priority = iota // writes
	writes
	reads
	priorities // how many there are
)

// String is the metric label.
func (p priority) String() string { return [...]string{"urgent", "write", "read"}[p] }

func priorityOf(ctx context.Context, method string) priority {
	switch {
	case method == http.MethodGet:
		return reads
	case ctx.Value(urgentKey{}) != nil:
		return urgent
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

// limiter shares the allowed rate among all calls of the process. Writes go before reads, and urgent ones before all. A 429
// stops everybody for the time that the API names.
type limiter struct {
	metrics *metrics

	mu      sync.Mutex
	pace    *pace
	haste   haste
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
	ticket ticket // from when it was let through
}

// ticket is what a caller has to show if the API refuses its call.
type ticket struct {
	at time.Time // when it was let through
	// hasty is set if haste is to blame then.
	hasty bool
}

func newLimiter(start, ceiling float64, m *metrics) *limiter {
	now := time.Now()
	l := &limiter{metrics: m, pace: newPace(start, ceiling, now), haste: newHaste(now), tokens: rate.NewLimiter(rate.Limit(start), burst)}
	m.rate.Set(start)
	return l
}

// wait blocks until the caller may send. It fails when the context ends, and at once when it is known to end before
// the API wants to hear from us again. The ticket goes to refused if the API refuses the call.
func (l *limiter) wait(ctx context.Context, p priority) (ticket, error) {
	if err := ctx.Err(); err != nil {
		return ticket{}, err
	}
	t := &turn{ready: make(chan struct{}), joined: time.Now()}
	l.mu.Lock()
	if end, ok := ctx.Deadline(); ok && end.Before(l.stopped) {
		left := time.Until(l.stopped)
		l.mu.Unlock()
		return ticket{}, fmt.Errorf("the API asked for a pause of another %s: %w", left.Round(time.Millisecond), context.DeadlineExceeded)
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
		return ticket{}, ctx.Err()
	}
	l.metrics.wait.WithLabelValues(p.String()).Observe(t.ticket.at.Sub(t.joined).Seconds())
	return t.ticket, nil
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
	for l.waiting() {
		if now.Before(l.stopped) {
			l.wake(l.stopped.Sub(now))
			return
		}
		allowed := l.pace.rise(now)
		hasty := len(l.queues[urgent]) > 0 && allowed < hasteRate && l.haste.may(now)
		if hasty {
			allowed = hasteRate
		}
		if allowed != float64(l.tokens.Limit()) {
			l.tokens.SetLimitAt(now, rate.Limit(allowed))
		}
		r := l.tokens.ReserveN(now, 1)
		if d := r.DelayFrom(now); d > 0 {
			r.CancelAt(now)
			l.pace.pressed = true
			l.wake(d)
			return
		}
		if hasty {
			l.haste.spend(now)
		}
		t := l.next()
		t.ticket = ticket{at: now, hasty: l.haste.blamed(now)}
		l.used.add(now)
		close(t.ready)
	}
}

func (l *limiter) waiting() bool {
	return slices.ContainsFunc(l.queues[:], func(queue []*turn) bool { return len(queue) > 0 })
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
	p := urgent
	for p < reads && len(l.queues[p]) == 0 {
		p++
	}
	if len(l.queues[reads]) > 0 && l.writes >= writesPerRead {
		p = reads
	}
	if p == reads {
		l.writes = 0
	} else {
		l.writes++
	}
	t := l.queues[p][0]
	l.queues[p] = l.queues[p][1:]
	return t
}

// refused tells that the API answered 429 to the call with this ticket.
func (l *limiter) refused(t ticket, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.haste.lose(now)
	if !t.hasty {
		l.pace.fall(t.at, now)
	}
	until := now.Add(spread(min(orDefault(retryAfter, defaultPause), maxRetryAfter)))
	if until.After(l.stopped) {
		l.stopped = until
		// Nothing saved up during the pause: the calls after it come at the new rate.
		l.tokens = rate.NewLimiter(rate.Limit(l.pace.rate), burst)
		l.tokens.AllowN(until, burst)
	}
	l.serve()
}

// heard learns from an answer, whatever it is.
func (l *limiter) heard(header http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.haste.heard(header, time.Now())
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
