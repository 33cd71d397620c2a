package lb

import (
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testpoints"
)

// perScript is about how many points of a script are tried if not all are.
const perScript = 7

// TestEveryPoint carries out each script with something going wrong at one of its points, and then another of them. With
// FAULTS=all at every point, in every way.
func TestEveryPoint(t *testing.T) {
	t.Parallel()
	t.Cleanup(func() {
		if missing := found.missing(); len(missing) > 0 && !testing.Short() && !testpoints.AreFew() {
			t.Errorf("nothing was tried of %q", missing)
		}
	})
	for i := range scripts {
		t.Run(scripts[i].name, func(t *testing.T) {
			t.Parallel()
			points, _ := scripts[i].run(t, 0, nil)
			if len(points) == 0 {
				t.Error("it makes no request")
			}
			found.has(scripts[i].name, points)
			for _, c := range testpoints.Of(choose(i, points)) {
				t.Run(strconv.Itoa(c.at), func(t *testing.T) {
					t.Run(c.how.name, func(t *testing.T) {
						hit := false
						defer func() { found.note(scripts[i].name, c.at, c.how, !t.Failed(), hit) }() // a failure ends the test
						_, hit = scripts[i].run(t, c.at, c.how)
					})
				})
			}
		})
	}
}

// choice is a point, and what happens there.
type choice struct {
	at  int
	how *outcome
}

// choose returns what is tried of a script. Of a sample, another script has other points, and each point another outcome.
func choose(script int, points []string) []choice {
	all, stride := os.Getenv("FAULTS") == "all", max(1, len(points)/perScript)
	if testing.Short() {
		stride = max(1, len(points))
	}
	var chosen []choice
	for at := 1; at <= len(points); at++ {
		var fit []choice
		for _, how := range outcomes {
			if how.applies(points[at-1]) {
				fit = append(fit, choice{at, how})
			}
		}
		switch {
		case all:
			chosen = append(chosen, fit...)
		case (at+script)%stride == 0:
			chosen = append(chosen, fit[(at/stride+script)%len(fit)])
		}
	}
	return chosen
}

// run carries out a script with something going wrong at a point; at 0 nothing does. It returns the script's points, and
// whether this one was reached.
func (s *script) run(t *testing.T, at int, how *outcome) (points []string, hit bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s.before(w)
		w.strike.arm(at, how)
		s.do(w)
		over := w.until(30*time.Minute, func() bool { return len(w.wrong()) == 0 && (s.over == nil || s.over(w)) })
		points, hit = w.strike.disarm()
		if !over {
			t.Errorf("half an hour later: %q\n%s", w.wrong(), w.lastEvents())
			return
		}
		w.pass(restAfter)
		if wrong := w.wrong(); len(wrong) > 0 {
			t.Errorf("it was well, and later on is not: %q\n%s", wrong, w.lastEvents())
		}
		if text := w.busy(2*driftPeriod + time.Minute); text != "" {
			t.Errorf("%s\n%s", text, w.lastEvents())
		}
		if left := w.empty(); len(left) > 0 {
			t.Errorf("when all Services are deleted: %q\n%s", left, w.lastEvents())
		}
	})
	return points, hit
}
