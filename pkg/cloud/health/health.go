// Package health says whether this process lives, which a restart would help if not, and whether it is ready: a process that
// is not ready needs something else than a restart.
package health

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/election"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The times after which something is wrong.
const (
	// silenceLimit is how long the API may be away: nothing that runs here could do better elsewhere.
	silenceLimit = 15 * time.Minute
	// staleLeases is how many times a lease's duration a stand-by may not see it renewed: it should have taken it by then.
	staleLeases = 3
)

// Facts is what is known at one moment.
type Facts struct {
	Now time.Time
	// Election is how the election stands, nil if there is none: then this process works by itself.
	Election *election.State
	// LeaseDuration is how long a lease lasts.
	LeaseDuration time.Duration
	// Work is why a process that leads does not work yet; nil if it does.
	Work error
	// API is how the API treats this process.
	API vultr.Standing
	// Official is why this process is not the only cloud controller manager, as far as that is known; nil if it is.
	Official error
	// Stopping is set when the process has been told to end.
	Stopping bool
}

// Check is one of the things on which readiness depends.
type Check struct {
	Name string
	// Failure is why it is not well; without one Words say how it is.
	Failure error
	Words   string
}

// Judge returns all checks.
func Judge(f Facts) []Check {
	checks := []Check{f.role()}
	if f.Election == nil || f.Election.Leads {
		checks = append(checks, f.work())
	}
	checks = append(checks, f.key(), f.api())
	if f.Official != nil {
		checks = append(checks, Check{Name: "official", Failure: f.Official})
	}
	if f.Stopping {
		checks = append(checks, Check{Name: "process", Failure: errors.New("it was told to end")})
	}
	return checks
}

// role tells a leader from a stand-by. A stand-by is well as long as somebody leads, or will soon.
func (f Facts) role() Check {
	c := Check{Name: "role"}
	e := f.Election
	switch {
	case e == nil:
		c.Words = "works without leader election"
	case e.Leads:
		c.Words = "leads since " + stamp(e.Since)
	case e.Renewed.IsZero() && f.Official != nil:
		c.Words = "does not stand for election yet"
	case e.Renewed.IsZero() && e.Failure != nil:
		c.Failure = fmt.Errorf("stand-by; the lease could not be read yet: %w", e.Failure)
	case e.Renewed.IsZero():
		c.Failure = errors.New("stand-by; the lease has not been read yet")
	case f.Now.Sub(e.Renewed) <= staleLeases*f.LeaseDuration:
		c.Words = "stand-by; " + holder(e.Holder) + " leads"
	case e.Failure != nil:
		c.Failure = fmt.Errorf("stand-by; the lease was last seen to be renewed at %s, and since then it can't be read: %w", stamp(e.Renewed), e.Failure)
	default:
		c.Failure = fmt.Errorf("stand-by; the lease of %s was last renewed at %s, and this process did not get it", holder(e.Holder), stamp(e.Renewed))
	}
	return c
}

func holder(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

func (f Facts) work() Check {
	return Check{Name: "work", Words: "the caches are filled and the records are read", Failure: f.Work}
}

// key is about the key alone: whether the API answers is another check.
func (f Facts) key() Check {
	c := Check{Name: "key"}
	switch {
	case f.API.Refusal != nil:
		c.Failure = fmt.Errorf("refused since %s, put the right one into the Secret or this node's address into the key's access list, nothing has to be restarted: %w",
			stamp(f.API.RefusedSince), f.API.Refusal)
	case f.API.Accepted.IsZero():
		c.Words = "not known yet"
	default:
		c.Words = "last accepted at " + stamp(f.API.Accepted)
	}
	return c
}

func (f Facts) api() Check {
	c := Check{Name: "api"}
	switch {
	case f.API.Silence == nil && f.API.Answered.IsZero():
		c.Words = "nothing was asked yet"
	case f.API.Silence == nil:
		c.Words = "last answered at " + stamp(f.API.Answered)
	case f.Now.Sub(f.API.SilentSince) <= silenceLimit:
		c.Words = fmt.Sprintf("has not answered since %s, which is borne for %s: %v", stamp(f.API.SilentSince), silenceLimit, f.API.Silence)
	default:
		c.Failure = fmt.Errorf("has not answered since %s: %w", stamp(f.API.SilentSince), f.API.Silence)
	}
	return c
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Handler serves /livez and /readyz. Both answer with words, which hold no secret.
func Handler(live func() error, facts func() Facts) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []Check{{Name: "process", Words: "lives", Failure: live()}})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, Judge(facts())) })
	return mux
}

func answer(w http.ResponseWriter, checks []Check) {
	var text strings.Builder
	status := http.StatusOK
	for _, c := range checks {
		if c.Failure != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&text, "[-] %s: %v\n", c.Name, c.Failure)
			continue
		}
		fmt.Fprintf(&text, "[+] %s: %s\n", c.Name, c.Words)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text.String())) // whoever asked has left
}
