package vultr

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettleGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const settle = 5 * time.Second
		g := NewAttemptGuard(settle)
		absent := func(name string, began time.Time, want time.Duration) {
			t.Helper()
			err := g.Absent(name, began)
			var e *SettlingError
			switch {
			case want == 0 && err != nil:
				t.Errorf("%s: %v", name, err)
			case want > 0 && (!errors.Is(err, ErrSettling) || !errors.As(err, &e) || e.Wait != want ||
				!strings.Contains(err.Error(), want.String())):
				t.Errorf("%s: got %v, want a wait of %v", name, err, want)
			}
		}
		absent("never tried", time.Now(), 0)
		g.AttemptEnded("new")
		absent("new", time.Now(), settle)
		time.Sleep(settle - time.Second) // fake time
		absent("new", time.Now(), time.Second)
		tooEarly := time.Now()
		time.Sleep(time.Second) // fake time
		if err := g.Absent("new", tooEarly); !errors.Is(err, ErrSettling) {
			t.Errorf("a list that began too early was believed: %v", err)
		}
		absent("new", time.Now(), 0)

		g.AttemptEnded("lost")
		g.AttemptEnded("found")
		if !g.Tried("lost") || g.Tried("other") {
			t.Error("what was tried is not known")
		}
		absent("lost", time.Now(), settle)
		absent("other", time.Now(), 0)
		g.Seen("found")
		absent("found", time.Now(), 0)
		time.Sleep(3 * time.Second) // fake time
		g.AttemptEnded("lost")
		time.Sleep(3 * time.Second) // fake time
		absent("lost", time.Now(), 2*time.Second)
		time.Sleep(2 * time.Second) // fake time
		absent("lost", time.Now(), 0)

		g.AttemptEnded("forgotten")
		time.Sleep(forgetAttempts + settle + time.Second) // fake time
		g.AttemptEnded("another")
		if len(g.attempts) != 1 {
			t.Errorf("%d attempts are remembered", len(g.attempts))
		}
	})
}
