package simulator

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter admits so many requests per second for each source or key.
type limiter struct {
	mu    sync.Mutex
	rate  float64
	users map[string]*limitedUser
	swept time.Time
}

type limitedUser struct {
	bucket *rate.Limiter
	last   time.Time
}

// limiterMemory is how long a user that sends nothing is remembered: longer than any bucket takes to fill.
const limiterMemory = time.Minute

func newLimiter(perSecond float64) *limiter {
	return &limiter{rate: perSecond, users: map[string]*limitedUser{}}
}

// allow takes one request of the user's limit.
func (l *limiter) allow(user string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate <= 0 {
		return true
	}
	now := time.Now()
	l.sweep(now)
	u := l.users[user]
	if u == nil {
		u = &limitedUser{bucket: rate.NewLimiter(rate.Limit(l.rate), max(1, int(l.rate)))}
		l.users[user] = u
	}
	u.last = now
	return u.bucket.AllowN(now, 1)
}

// set changes the limit for everybody; 0 turns it off.
func (l *limiter) set(perSecond float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = perSecond
	clear(l.users)
}

func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < limiterMemory {
		return
	}
	l.swept = now
	for name, u := range l.users {
		if now.Sub(u.last) > limiterMemory {
			delete(l.users, name)
		}
	}
}
