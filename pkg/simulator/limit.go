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

type limitedUser struct{ bucket *rate.Limiter }

const (
	// limiterMemory is how often users are looked through for those whose buckets are full again: to forget them
	// changes nothing.
	limiterMemory = time.Minute
	// limiterUsers is how many are told apart. With that many, new ones share one bucket.
	limiterUsers = 10000
)

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
	user = l.name(user)
	u := l.users[user]
	if u == nil {
		u = &limitedUser{bucket: rate.NewLimiter(rate.Limit(l.rate), max(1, int(l.rate)))}
		l.users[user] = u
	}
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
		if u.bucket.TokensAt(now) >= float64(u.bucket.Burst()) {
			delete(l.users, name)
		}
	}
}

// name is what the user is known by.
func (l *limiter) name(user string) string {
	if _, known := l.users[user]; !known && len(l.users) >= limiterUsers {
		return "" // of all others
	}
	return user
}
