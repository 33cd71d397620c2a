package vultr

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	maxAttempts  = 6
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// maxRetryAfter bounds what an answer can make us wait: a mistaken header must not stop a process for an hour.
	maxRetryAfter = 30 * time.Second
)

// nextAttempt decides whether attempt n is followed by another one, and after how long. The wait is never
// shorter than what the answer asked for, within bounds.
//
// A POST makes something new each time, so it is only repeated after a 429, which is a refusal before any work.
// Everything else is idempotent and is also repeated after a 5xx and when no answer came.
func nextAttempt(method string, out outcome, n int) (time.Duration, bool) {
	if n >= maxAttempts || out.err == nil || !out.made {
		return 0, false
	}
	switch status := out.err.Status; {
	case status == http.StatusTooManyRequests:
		return 0, true // the limiter makes all calls wait
	case method == http.MethodPost:
		return 0, false
	case status >= 500:
		return max(jitter(backoff(n)), spread(min(out.err.RetryAfter, maxRetryAfter))), true
	case errors.Is(out.err, errTooLarge):
		return 0, false // the next one would be as large
	case status == 0:
		return jitter(backoff(n)), true
	default:
		return 0, false
	}
}

// backoff is the wait after attempt n.
func backoff(n int) time.Duration {
	return min(firstBackoff<<min(n-1, 16), maxBackoff)
}

// jitter spreads a wait over its upper half, so that clients which failed together do not come back together.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // spreading load needs no secrecy
}

// spread lengthens a wait by up to a quarter: clients that were told to wait come back not sooner, nor all together.
func spread(d time.Duration) time.Duration {
	return d + rand.N(d/4+1) //nolint:gosec // spreading load needs no secrecy
}

// isUncertain tells that the attempt may have changed something although it failed.
func isUncertain(method string, out outcome) bool {
	if method == http.MethodGet || out.err == nil {
		return false
	}
	return out.err.Status >= 500 || (out.err.Status < 300 && out.sent)
}
