package vultr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryAfterStopsEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			n++
			if n == 1 {
				resp := refusal(429, "rate limit exceeded")
				resp.Header.Set("Retry-After", "7")
				return resp, nil
			}
			return good(r), nil
		}}
		c := net.client(t)
		start := time.Now()
		first := make(chan error)
		go func() { _, err := c.Volume(t.Context(), idA); first <- err }()
		synctest.Wait()
		if err := c.AttachVolume(t.Context(), idA, idB); err != nil {
			t.Fatal(err)
		}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		for _, r := range net.requests()[1:] {
			if at := r.at.Sub(start); at < 7*time.Second || at > 10*time.Second {
				t.Errorf("%s %s after %v, want 7 s and a bit", r.method, r.path, at)
			}
		}
	})
}

// A server that is down says when it will be back, within bounds: nobody asks it sooner.
func TestRetryAfterOfAServerThatIsDown(t *testing.T) {
	for asked, want := range map[string]time.Duration{"": 0, "0": 0, "1": time.Second, "7": 7 * time.Second, "3600": maxRetryAfter} {
		for range 20 { // chance is in it
			synctest.Test(t, func(t *testing.T) {
				net := &cloud{answer: func(*http.Request) (*http.Response, error) {
					resp := refusal(503, "down")
					resp.Header.Set("Retry-After", asked)
					return resp, nil
				}}
				if _, err := net.client(t).Volume(t.Context(), idA); !hasStatus(err, 503) {
					t.Errorf("got %v", err)
				}
				sent := net.requests()
				for n := 1; n < len(sent); n++ {
					least := max(want, backoff(n)/2)
					if took := sent[n].at.Sub(sent[n-1].at); took < least || took > max(want*5/4, backoff(n))+time.Millisecond {
						t.Errorf("asked for %q, attempt %d came after %v", asked, n+1, took)
					}
				}
			})
		}
	}
}

func TestRetryAfterBeyondTheDeadlineFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			resp := refusal(429, "rate limit exceeded")
			resp.Header.Set("Retry-After", "3600")
			return resp, nil
		}}
		c := net.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Volume(ctx, idA)
		if e, ok := errors.AsType[*Error](err); !ok || !IsRateLimited(err) || e.RetryAfter != time.Hour {
			t.Errorf("got %v", err)
		}
		if _, err := c.Volume(ctx, idB); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second call: got %v", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v for nothing", took)
		}
		// The bound: an hour is not waited for.
		if err := pauseEnds(t, c); err != nil {
			t.Error(err)
		}
	})
}

// pauseEnds waits until the limiter lets a call through and fails if that takes longer than the bound.
func pauseEnds(t *testing.T, c *Client) error {
	t.Helper()
	start := time.Now()
	_, err := c.Volume(t.Context(), idA)
	if !IsRateLimited(err) {
		return fmt.Errorf("got %w", err)
	}
	if took := time.Since(start); took > maxAttempts*maxRetryAfter*5/4 {
		return fmt.Errorf("%d attempts took %v", maxAttempts, took)
	}
	return nil
}
