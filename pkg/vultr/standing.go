package vultr

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Standing is how the API treats this process: whether it answers, and whether it accepts the key.
type Standing struct {
	// Answered is when the API last answered a call, whatever it said; the zero time if it never did.
	Answered time.Time
	// Silence is what the last call met instead of an answer, nil if it got one, and SilentSince when that began.
	Silence     error
	SilentSince time.Time
	// Accepted is when the API last accepted the key; the zero time if it never did.
	Accepted time.Time
	// Refusal is what the API said when it refused the key, nil if it has not, or has accepted it since, and RefusedSince
	// when that began.
	Refusal      error
	RefusedSince time.Time
}

// standing keeps it.
type standing struct {
	metrics *metrics

	mu  sync.Mutex
	now Standing
}

// Standing returns how the API treated the last calls. It makes none.
func (c *Client) Standing() Standing {
	c.standing.mu.Lock()
	defer c.standing.mu.Unlock()
	return c.standing.now
}

// learn notes what became of an attempt. A caller that gave up says nothing about the API, and neither does a call for
// which no key is needed about the key.
func (s *standing) learn(op operation, err *Error, at time.Time) {
	if err != nil && errors.Is(err.Err, context.Canceled) {
		return
	}
	if err != nil {
		kept := *err // the call goes on with its own
		err = &kept
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isAnswer(err) {
		if s.now.Silence == nil {
			s.now.SilentSince = at
		}
		s.now.Silence = err
		return
	}
	s.now.Answered, s.now.Silence, s.now.SilentSince = at, nil, time.Time{}
	s.metrics.answered.WithLabelValues().Set(seconds(at))
	switch {
	case op.keyless || err != nil && err.Status == http.StatusTooManyRequests: // the rate is looked at before the key
	case err != nil && err.Status == http.StatusUnauthorized:
		if s.now.Refusal == nil {
			s.now.RefusedSince = at
		}
		s.now.Refusal = err
		s.metrics.key.WithLabelValues().Set(0)
	default:
		s.now.Accepted, s.now.Refusal, s.now.RefusedSince = at, nil, time.Time{}
		s.metrics.key.WithLabelValues().Set(1)
	}
}

// isAnswer reports whether it was the API that answered, and not something in between or a service that is down.
func isAnswer(err *Error) bool {
	return err == nil || err.Status == http.StatusTooManyRequests || !err.foreign && err.Status >= 400 && err.Status < 500
}

// seconds is a time as metrics have it.
func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
