package vultr

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// One answer after the other, each a minute after the one before: what is known of the API and of the key then.
func TestStanding(t *testing.T) {
	const (
		refused, accepted, unknown = "refused", "accepted", "unknown"
	)
	type look struct {
		name   string
		answer func() (*http.Response, error)
		key    string
		silent bool
	}
	text := func(status int, body any) func() (*http.Response, error) {
		return func() (*http.Response, error) { return reply(status, body), nil }
	}
	says := func(status int) func() (*http.Response, error) {
		return text(status, map[string]any{"error": "some text", "status": status})
	}
	looks := []look{
		{"a proxy says 401", text(401, "<html>who are you?</html>"), unknown, true},
		{"throttled, which says nothing about the key", says(429), unknown, false},
		{"no connection", func() (*http.Response, error) { return nil, errors.New("connection refused") }, unknown, true},
		{"the service is down", says(503), unknown, true},
		{"a page instead of JSON", text(200, "<html>welcome</html>"), unknown, true},
		{"refused", says(401), refused, false},
		{"still refused", says(401), refused, false},
		{"down while refused", says(500), refused, true},
		{"throttled while refused", says(429), refused, false},
		{"one right is missing, so the key is known", says(403), accepted, false},
		{"refused again", says(401), refused, false},
		{"what was asked for does not exist", says(404), accepted, false},
		{"done", text(200, map[string]any{"account": map[string]any{"name": "me"}}), accepted, false},
		{"down", says(502), accepted, true},
	}
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		var answer func() (*http.Response, error)
		net := &cloud{answer: func(*http.Request) (*http.Response, error) { return answer() }}
		c := net.client(t, func(cfg *Config) { cfg.Registerer = reg })
		if now := c.Standing(); now != (Standing{}) {
			t.Errorf("before the first call: %+v", now)
		}
		if n, err := testutil.GatherAndCount(reg, "vultr_api_key_accepted", "vultr_api_last_answer_timestamp_seconds"); err != nil || n != 0 {
			t.Errorf("before the first call %d metrics say something of it (%v)", n, err)
		}
		for _, l := range looks {
			time.Sleep(time.Minute) // of the fake clock
			answer = l.answer
			before, began := c.Standing(), time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // no time to repeat anything
			_, err := c.Account(ctx)
			cancel()
			now := c.Standing()
			if (now.Silence != nil) != l.silent || now.SilentSince.IsZero() == l.silent {
				t.Errorf("%s (%v): silence %v since %v", l.name, err, now.Silence, now.SilentSince)
			}
			if !l.silent && now.Answered.Before(began) {
				t.Errorf("%s: answered at %v, it is %v", l.name, now.Answered, time.Now())
			}
			key := unknown
			switch {
			case now.Refusal != nil && now.RefusedSince.IsZero():
				t.Errorf("%s: refused since when?", l.name)
			case now.Refusal != nil:
				key = refused
			case !now.Accepted.IsZero():
				key = accepted
			}
			if key != l.key {
				t.Errorf("%s: the key is %s, want %s", l.name, key, l.key)
			}
			if before.Refusal != nil && now.Refusal != nil && !now.RefusedSince.Equal(before.RefusedSince) {
				t.Errorf("%s: a refusal that goes on began at %v, now at %v", l.name, before.RefusedSince, now.RefusedSince)
			}
			shown := map[string]float64{refused: 0, accepted: 1}
			if value, known := shown[key]; known && testutil.ToFloat64(c.metrics.key) != value {
				t.Errorf("%s: the metric is %g", l.name, testutil.ToFloat64(c.metrics.key))
			}
			if now.Answered.IsZero() {
				continue
			}
			if at := testutil.ToFloat64(c.metrics.answered); at != seconds(now.Answered) {
				t.Errorf("%s: the metric says %g, want %g", l.name, at, seconds(now.Answered))
			}
		}
	})
}

// A caller that gives up says nothing about the API, and a call that everybody may make nothing about the key.
func TestWhatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == "/v2/regions" {
				return reply(200, map[string]any{"regions": []any{}}), nil
			}
			cancel()
			return nil, r.Context().Err()
		}}
		c := net.client(t)
		if _, err := c.Account(ctx); err == nil {
			t.Fatal("the caller gave up")
		}
		if now := c.Standing(); now != (Standing{}) {
			t.Errorf("%+v", now)
		}
		if _, err := c.Regions(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := c.Standing(); !now.Accepted.IsZero() || now.Answered.IsZero() {
			t.Errorf("%+v", now)
		}
	})
}

// A key that is replaced before anybody looked is no refused key.
func TestReplacedKeyIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "key")
		write := func(key string) {
			if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("OLDKEY0123456789")
		var c *Client
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.Header.Get("Authorization"), "OLDKEY0123456789") {
				write("NEWKEY0123456789")
				return refusal(401, "Invalid API token."), nil
			}
			if c.Standing().Refusal != nil {
				t.Error("the key counts as refused while the new one is tried")
			}
			return reply(200, map[string]any{"account": map[string]any{"name": "me"}}), nil
		}}
		c = net.client(t, func(cfg *Config) { cfg.Key, cfg.KeyFile = "", file })
		if _, err := c.Account(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := c.Standing(); now.Refusal != nil || now.Accepted.IsZero() || len(net.requests()) != 2 {
			t.Errorf("%+v after %d requests", now, len(net.requests()))
		}
	})
}

// What is left of the rate follows what was used in the last minute, and is nothing while the API wants a pause.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLimiter(t, 2, 2)
		if left := l.budget(); left != 2 {
			t.Errorf("%g are left of 2 when nothing is used", left)
		}
		var last ticket
		for range 60 {
			var err error
			if last, err = l.wait(t.Context(), reads); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // fake time
		}
		if left := l.budget(); left < 0.95 || left > 1.05 {
			t.Errorf("%g are left of 2 with one request a second", left)
		}
		time.Sleep(30 * time.Second) // of the fake clock
		if left := l.budget(); left < 1.45 || left > 1.55 {
			t.Errorf("%g are left of 2 half a minute later", left)
		}
		time.Sleep(31 * time.Second) // of the fake clock
		if left := l.budget(); left != 2 {
			t.Errorf("%g are left of 2 a minute later", left)
		}
		l.refused(last, 10*time.Second)
		if left := l.budget(); left != 0 {
			t.Errorf("%g are left in a pause", left)
		}
		time.Sleep(time.Minute) // of the fake clock
		if left := l.budget(); left <= 0 || left >= 2 {
			t.Errorf("%g are left of the lower rate after the pause", left)
		}
	})
}

// The age of a shared list is that of the last one that was whole.
func TestTimeOfSharedLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, p := prometheus.NewRegistry(), newPlatform()
		down := false
		c := (&cloud{answer: func(r *http.Request) (*http.Response, error) {
			if down {
				return refusal(500, "down"), nil
			}
			return p.answer(r)
		}}).client(t, func(cfg *Config) { cfg.Registerer = reg })
		list, err := c.Volumes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		shown := func() float64 { return testutil.ToFloat64(c.metrics.listed.WithLabelValues("volumes")) }
		if shown() != seconds(list.Began) {
			t.Errorf("%g, want %g", shown(), seconds(list.Began))
		}
		time.Sleep(time.Minute) // of the fake clock
		down = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Volumes(ctx, 0); err == nil {
			t.Error("no error")
		}
		if shown() != seconds(list.Began) {
			t.Errorf("%g after a list that failed, want %g", shown(), seconds(list.Began))
		}
		if n, err := testutil.GatherAndCount(reg, "vultr_api_shared_list_timestamp_seconds", "vultr_api_limiter_budget"); err != nil || n != 2 {
			t.Errorf("%d series, %v", n, err)
		}
	})
}
