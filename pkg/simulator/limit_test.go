package simulator

import (
	"fmt"
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
			if l.allow(fmt.Sprint("key ", i, strings.Repeat("x", 1<<10))) {
				admitted++
			}
		}
		if len(l.users) > limiterUsers+1 || admitted != limiterUsers+1 {
			t.Errorf("%d are known, %d admitted", len(l.users), admitted)
		}
		for name := range l.users {
			if len(name) > limiterName {
				t.Fatalf("a name of %d bytes is kept", len(name))
			}
		}
		if l.allow("key " + "0" + strings.Repeat("x", 1<<10)) {
			t.Error("who was there before is not known any more")
		}
		time.Sleep(2 * limiterMemory)
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
			time.Sleep(time.Minute)
		}
	})
}
