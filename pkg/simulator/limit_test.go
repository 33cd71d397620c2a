package simulator

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimiterIsBounded: whoever comes with a new key each time gets no more than one user does, and takes no more memory.
func TestLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		admitted := 0
		for i := range 3 * limiterUsers {
			if l.allow(fmt.Sprint("key ", i)) {
				admitted++
			}
		}
		if len(l.users) > limiterUsers+1 || admitted != limiterUsers+1 {
			t.Errorf("%d are known, %d admitted", len(l.users), admitted)
		}
		if l.allow("key 0") {
			t.Error("who was there before is not known any more")
		}
		time.Sleep(2 * limiterMemory) // fake time
		if !l.allow("ip 192.0.2.1") || len(l.users) != 1 {
			t.Errorf("%d are remembered", len(l.users))
		}
	})
}

// TestSlowLimit: who has used up a limit of less than one a minute is not forgotten and admitted again.
func TestSlowLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1. / 600)
		for minute := range 21 {
			if got, want := l.allow("ip 192.0.2.1"), minute%10 == 0; got != want {
				t.Errorf("after %d minutes: %v", minute, got)
			}
			time.Sleep(time.Minute) // fake time
		}
	})
}

// What the limiter remembers of a client is small, whatever the client sends.
func TestLimitUserIsShort(t *testing.T) {
	s := &Simulator{cfg: Config{RateLimitBy: RateLimitByKey}}
	users := map[string]bool{}
	for _, key := range []string{"a", "b", strings.Repeat("k", 60<<10), strings.Repeat("k", 60<<10) + "2", ""} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/account", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+key)
		user := s.limitUser(r)
		if len(user) > 100 {
			t.Errorf("a key of %d bytes is remembered by %d", len(key), len(user))
		}
		users[user] = true
	}
	if len(users) != 5 {
		t.Errorf("five clients have %d limits", len(users))
	}
}
