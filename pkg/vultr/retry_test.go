package vultr

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{
		1: firstBackoff, 2: 2 * firstBackoff, 3: 4 * firstBackoff, 10: maxBackoff, 1000: maxBackoff,
	} {
		if got := backoff(n); got != want {
			t.Errorf("backoff(%d) = %v, want %v", n, got, want)
		}
	}
	for range 1000 {
		if d := jitter(time.Second); d < time.Second/2 || d > time.Second {
			t.Fatalf("jitter gave %v", d)
		}
	}
	if jitter(0) != 0 || jitter(-time.Second) != 0 {
		t.Error("jitter of nothing")
	}
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-3": 0, "x": 0, "1.5": 0, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(header, now); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

func FuzzRetryAfterHeader(f *testing.F) {
	f.Add("3")
	f.Add("Fri, 02 Jan 2026 03:04:15 GMT")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		if retryAfter(header, now) < 0 {
			t.Errorf("%q is negative", header)
		}
	})
}
