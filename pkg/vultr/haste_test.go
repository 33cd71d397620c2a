package vultr

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ccmLimiter has the rates of the cloud controller manager and has been quiet for this long.
func ccmLimiter(t *testing.T, quiet time.Duration) *limiter {
	t.Helper()
	l := testLimiter(t, defaultStartRate, defaultMaxRate)
	time.Sleep(quiet) // fake time
	return l
}

// letThrough has n callers of a priority wait, and returns after how long each was let through.
func letThrough(t *testing.T, l *limiter, p priority, n int) []time.Duration {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			ticket, err := l.wait(t.Context(), p)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, ticket.at.Sub(began))
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

// inOneSecond returns how many of these moments are within a second at most.
func inOneSecond(moments []time.Duration) int {
	most := 0
	for i, first := range moments {
		n := 0
		for _, at := range moments[i:] {
			if at-first < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func latest(moments []time.Duration) time.Duration { return moments[len(moments)-1] }

// After quiet minutes a hundred urgent writes take four seconds, and never more than what the platform allows an address.
func TestUrgentWritesAreInHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ccmLimiter(t, 5*time.Minute)
		moments := letThrough(t, l, urgent, 100)
		if took := latest(moments); took > 4*time.Second {
			t.Errorf("a hundred took %v", took)
		}
		if n := inOneSecond(moments); n > 30 {
			t.Errorf("%d in one second", n)
		}
		// Who comes after them is not in haste, and the next ones that are urgent have to save up first.
		time.Sleep(20 * time.Second) // fake time
		if took := latest(letThrough(t, l, writes, 100)); took < 9*time.Second {
			t.Errorf("a hundred ordinary writes after them took %v", took)
		}
		if took := latest(letThrough(t, l, urgent, 200)); took < 12*time.Second {
			t.Errorf("two hundred urgent writes right after that took %v", took)
		}
		time.Sleep(5 * time.Minute) // fake time
		if took := latest(letThrough(t, l, urgent, 100)); took > 4*time.Second {
			t.Errorf("a hundred urgent writes five minutes later took %v", took)
		}
	})
}

// Only what was saved up is spent in haste: nothing by a process that has just begun, and no more than a minute's by one that has
// been there for a minute.
func TestHasteIsSavedUp(t *testing.T) {
	for quiet, least := range map[time.Duration]time.Duration{0: 9 * time.Second, 30 * time.Second: 6 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			if took := latest(letThrough(t, ccmLimiter(t, quiet), urgent, 100)); took < least {
				t.Errorf("after %v, a hundred took %v", quiet, took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		took := latest(letThrough(t, ccmLimiter(t, 24*time.Hour), urgent, 300))
		if took < 18*time.Second {
			t.Errorf("after a day, three hundred took %v", took)
		}
	})
}

// Ordinary writes wait until the urgent ones have gone, and have nothing of their haste; reads go on meanwhile.
func TestWhoGoesWithUrgentWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ccmLimiter(t, 5*time.Minute)
		var ordinary, seen, hurried []time.Duration
		var wg sync.WaitGroup
		wg.Go(func() { ordinary = letThrough(t, l, writes, 60) })
		wg.Go(func() { seen = letThrough(t, l, reads, 60) })
		synctest.Wait()
		wg.Go(func() { hurried = letThrough(t, l, urgent, 80) })
		wg.Wait()
		if took := latest(hurried); took > 5*time.Second {
			t.Errorf("80 urgent writes took %v", took)
		}
		early := func(moments []time.Duration) int {
			return len(slices.DeleteFunc(slices.Clone(moments), func(at time.Duration) bool { return at > latest(hurried) }))
		}
		if n := early(ordinary); n > burst {
			t.Errorf("%d ordinary writes went before the urgent ones", n)
		}
		if n := early(seen); n < 15 || n > 25 {
			t.Errorf("%d reads went before the urgent writes, want a fifth of all", n)
		}
		if took := latest(ordinary) - latest(hurried); took < 5*time.Second {
			t.Errorf("the ordinary writes, and the reads between them, took %v", took)
		}
	})
}

// hurry makes n urgent writes, as many at a time as there are workers in the cloud controller manager.
func hurry(ctx context.Context, t *testing.T, c *Client, n int) {
	t.Helper()
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range work {
				if err := c.UpdateLoadBalancer(Urgent(ctx), idA, LoadBalancerSettings{Label: new("a")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func ccmRates(cfg *Config) { cfg.StartRate, cfg.MaxRate = 0, 0 }

// The first refusal ends the haste: after the pause that the API asks for, the usual rate goes on, which is not to blame and does
// not fall.
func TestRefusalEndsHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const refused = 40
		n := 0
		var mu sync.Mutex
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			mu.Lock()
			n++
			refuse := n == refused
			mu.Unlock()
			time.Sleep(50 * time.Millisecond) // fake time
			if refuse {
				resp := refusal(http.StatusTooManyRequests, "rate limit exceeded")
				resp.Header.Set("Retry-After", "2")
				return resp, nil
			}
			return reply(http.StatusNoContent, nil), nil
		}}
		c := net.client(t, ccmRates)
		time.Sleep(5 * time.Minute) // fake time
		hurry(t.Context(), t, c, 100)
		seen := net.requests()
		sent := make([]time.Duration, len(seen))
		for i, r := range seen {
			sent[i] = r.at.Sub(seen[0].at)
		}
		if sent[refused-1] > 2*time.Second {
			t.Fatalf("%d calls took %v: there was no haste", refused, sent[refused-1])
		}
		resumed := slices.IndexFunc(sent, func(at time.Duration) bool { return at > sent[refused-1]+time.Second })
		if resumed < 0 || resumed > refused+5 {
			t.Fatalf("%d calls before the pause", resumed)
		}
		if pause := sent[resumed] - sent[refused-1]; pause < 2*time.Second {
			t.Errorf("the pause was %v", pause)
		}
		if n := inOneSecond(sent[resumed:]); n > defaultMaxRate+burst {
			t.Errorf("%d calls in one second after the refusal", n)
		}
		if took := latest(sent) - sent[resumed]; took > 11*time.Second {
			t.Errorf("the rest took %v: the usual rate has fallen", took)
		}
		if rate := testutil.ToFloat64(c.metrics.rate); rate < defaultStartRate {
			t.Errorf("the usual rate fell to %v", rate)
		}
	})
}

// Refusals of what was sent in haste, or right after that, say nothing about the usual rate; later ones do.
func TestHasteIsToBlame(t *testing.T) {
	for after, falls := range map[time.Duration]bool{0: false, hasteLingers / 2: false, hasteLingers: true} {
		synctest.Test(t, func(t *testing.T) {
			l := ccmLimiter(t, 5*time.Minute)
			letThrough(t, l, urgent, 40)
			time.Sleep(after) // fake time
			ticket, err := l.wait(t.Context(), map[bool]priority{true: urgent, false: writes}[after == 0])
			if err != nil {
				t.Fatal(err)
			}
			before := l.pace.rate
			l.refused(ticket, time.Second)
			if fell := l.pace.rate < before; fell != falls {
				t.Errorf("%v after the last one in haste, a refusal takes the rate from %v to %v", after, before, l.pace.rate)
			}
		})
	}
}

// A refusal at the usual rate takes away what is saved up: others use the address.
func TestRefusalOfOrdinaryCallsEndsHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ccmLimiter(t, 5*time.Minute)
		ticket, err := l.wait(t.Context(), reads)
		if err != nil {
			t.Fatal(err)
		}
		l.refused(ticket, time.Second)
		if l.pace.rate >= defaultStartRate {
			t.Errorf("the rate is still %v", l.pace.rate)
		}
		if took := latest(letThrough(t, l, urgent, 100)); took < 10*time.Second {
			t.Errorf("a hundred urgent writes after a refusal took %v", took)
		}
	})
}

// Where answers say how much is left for the address, haste leaves the last of it to others.
func TestHasteHeedsWhatIsLeft(t *testing.T) {
	for name, tt := range map[string]struct {
		limit, left string
		held        bool
	}{
		"much":          {"30", "12", false},
		"a little":      {"30", "3", true},
		"nothing":       {"30", "0", true},
		"not told":      {"", "", false},
		"no limit told": {"", "1", false},
		"no number":     {"30", "few", false},
		"no limit":      {"0", "0", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &cloud{answer: func(*http.Request) (*http.Response, error) {
					resp := reply(http.StatusNoContent, nil)
					resp.Header.Set("X-RateLimit-Limit", tt.limit)
					resp.Header.Set("X-RateLimit-Remaining", tt.left)
					return resp, nil
				}}
				c := net.client(t, ccmRates)
				time.Sleep(5 * time.Minute) // fake time
				began := time.Now()
				hurry(t.Context(), t, c, 100)
				if took := time.Since(began); tt.held != (took > 9*time.Second) || !tt.held && took > 5*time.Second {
					t.Errorf("a hundred urgent writes took %v", took)
				}
			})
		})
	}
}
