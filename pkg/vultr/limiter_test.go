package vultr

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func testLimiter(t *testing.T, start, ceiling float64) *limiter {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	return newLimiter(start, ceiling, m)
}

func TestLimiterKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLimiter(t, 10, 10)
		start := time.Now()
		for range 105 {
			if _, err := l.wait(t.Context(), reads); err != nil {
				t.Fatal(err)
			}
		}
		// The burst goes at once, the other 100 take 10 s.
		if took := time.Since(start); took < 9900*time.Millisecond || took > 10100*time.Millisecond {
			t.Errorf("105 calls at 10/s took %v", took)
		}
	})
}

func TestLimiterLetsWritesGoFirstButReadsNotStarve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLimiter(t, 10, 10)
		for range burst {
			if _, err := l.wait(t.Context(), reads); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var order []priority
		var wg sync.WaitGroup
		for i := range 30 {
			p := reads
			if i >= 10 { // the writes come later
				p = writes
			}
			wg.Go(func() {
				if _, err := l.wait(t.Context(), p); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, p)
			})
			synctest.Wait()
		}
		if q := testutil.ToFloat64(l.metrics.queue.WithLabelValues("write")); q != 20 {
			t.Errorf("the metric shows %v waiting writes, want 20", q)
		}
		wg.Wait()
		want := slices.Concat(
			slices.Repeat([]priority{writes, writes, writes, writes, reads}, 5), slices.Repeat([]priority{reads}, 5))
		if !slices.Equal(order, want) {
			t.Errorf("order %v", order)
		}
		if q := testutil.ToFloat64(l.metrics.queue.WithLabelValues("write")); q != 0 {
			t.Errorf("the metric shows %v waiting writes at the end", q)
		}
	})
}

func TestLimiterForgetsThoseWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLimiter(t, 1, 1)
		for range burst {
			if _, err := l.wait(t.Context(), reads); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 50)
		for range cap(errs) {
			go func() { _, err := l.wait(ctx, writes); errs <- err }()
		}
		synctest.Wait()
		start := time.Now()
		cancel()
		for range cap(errs) {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		if _, err := l.wait(t.Context(), reads); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the next one waited %v behind those who had left", took)
		}
		if _, err := l.wait(ctx, reads); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context: got %v", err)
		}
	})
}

func TestPaceFallsOnceAndRisesSlowly(t *testing.T) {
	now := time.Now()
	p := newPace(10, 20, now)
	sent := now.Add(-time.Millisecond)
	now = now.Add(100 * time.Millisecond)
	once := p.rate * falls
	if !p.fall(sent, now) || p.rate != once {
		t.Fatalf("the first refusal: rate %v", p.rate)
	}
	for range 20 { // calls that were under way
		now = now.Add(10 * time.Millisecond)
		if p.fall(sent, now) || p.rate != once {
			t.Fatalf("another refusal of the same moment: rate %v", p.rate)
		}
	}
	if !p.fall(now, now.Add(time.Millisecond)) || p.rate != once*falls {
		t.Fatalf("a refusal of the lower rate: %v", p.rate)
	}
	for range 10 {
		now = now.Add(paceWindow + time.Millisecond)
		p.rise(now)
	}
	if p.rate != once*falls {
		t.Errorf("the rate rose to %v although nobody needed it", p.rate)
	}
	steps := 0
	for last := 0.0; p.rate < p.ceiling; steps++ {
		if p.rate == last || steps > 1000 {
			t.Fatalf("stuck at %v", p.rate)
		}
		last, p.pressed = p.rate, true
		now = now.Add(paceWindow)
		p.rise(now)
		if d := p.rate - last; d > mostRise+1e-9 || (last >= nearRefused*p.refused && d > min(slowRise/(last*last*last), mostSlowRise*last)+1e-9) {
			t.Fatalf("from %v to %v in one step", last, p.rate)
		}
	}
	for range 100 {
		now = now.Add(time.Second)
		p.fall(now.Add(-time.Millisecond), now)
	}
	if p.rate != minRate {
		t.Errorf("the rate fell to %v", p.rate)
	}
}

// TestThreeClientsBehindOneAddress has three busy clients share the platform's 30 requests/s.
func TestThreeClientsBehindOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, platform = 3, 30
		var mu sync.Mutex
		second, inSecond := time.Now(), 0
		var done, refused [clients]int
		refuse := func(i int) bool {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(second) >= time.Second {
				second, inSecond = time.Now(), 0
			}
			inSecond++
			if inSecond > platform {
				refused[i]++
				return true
			}
			done[i]++
			return false
		}
		const lasts = 10 * time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		var wg sync.WaitGroup
		for i := range clients {
			net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
				time.Sleep(50*time.Millisecond + rand.N(50*time.Millisecond)) // fake time
				if refuse(i) {
					resp := refusal(429, "rate limit exceeded")
					resp.Header.Set("Retry-After", "1")
					return resp, nil
				}
				return good(r), nil
			}}
			c := net.client(t, func(cfg *Config) { cfg.StartRate, cfg.MaxRate = 10, 20 })
			for range 8 {
				wg.Go(func() {
					// The first error is the end: a pause that outlasts ctx is an error at once.
					for err := error(nil); err == nil; {
						_, err = c.Volume(ctx, idA)
					}
				})
			}
		}
		wg.Wait()
		all, no := 0, 0
		for i := range clients {
			all, no = all+done[i]+refused[i], no+refused[i]
		}
		t.Logf("done %v, refused %v: %.2f%% of %d", done, refused, 100*float64(no)/float64(all), all)
		if share := float64(no) / float64(all); share > 0.01 {
			t.Errorf("%.2f%% were refused", 100*share)
		}
		if use := float64(all-no) / (lasts.Seconds() * platform); use < 0.6 {
			t.Errorf("only %.0f%% of the platform's rate was used", 100*use)
		}
		if least, most := slices.Min(done[:]), slices.Max(done[:]); float64(least) < 0.5*float64(most) {
			t.Errorf("the shares are unfair: %v", done)
		}
	})
}
