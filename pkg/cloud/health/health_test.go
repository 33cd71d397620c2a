package health_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/election"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/health"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// well is how the API treats a process with which all is well.
var well = vultr.Standing{Answered: ago(time.Second), Accepted: ago(time.Second)}

func TestJudge(t *testing.T) {
	leader := &election.State{Leads: true, Since: ago(time.Hour), Holder: "me", Renewed: ago(time.Second)}
	standby := func(renewed time.Duration, err error) *election.State {
		return &election.State{Holder: "other", Renewed: ago(renewed), Failure: err}
	}
	down := errors.New("connection refused")
	refused := vultr.Standing{Answered: ago(time.Second), Refusal: errors.New("401: Invalid API token"), RefusedSince: ago(time.Minute)}
	silent := func(d time.Duration) vultr.Standing {
		return vultr.Standing{Answered: ago(d), Accepted: ago(d), Silence: down, SilentSince: ago(d)}
	}
	tests := map[string]struct {
		facts health.Facts
		// fails are the checks that fail, and says is in their words or those of the others.
		fails string
		says  string
	}{
		"leader":                        {health.Facts{Election: leader, API: well}, "", "leads since 2026-03-01T11:00:00Z"},
		"stand-by":                      {health.Facts{Election: standby(5*time.Second, nil), API: well}, "", "stand-by; other leads"},
		"no election":                   {health.Facts{API: well}, "", "without leader election"},
		"leader that still begins":      {health.Facts{Election: leader, API: well, Work: errors.New("the caches are empty")}, "work", "the caches are empty"},
		"alone and still begins":        {health.Facts{API: well, Work: errors.New("the caches are empty")}, "work", "the caches are empty"},
		"a stand-by has nothing to do":  {health.Facts{Election: standby(5*time.Second, nil), API: well, Work: errors.New("not started")}, "", "other leads"},
		"the lease was given back":      {health.Facts{Election: &election.State{Renewed: ago(time.Second)}, API: well}, "", "nobody leads"},
		"nobody renews the lease":       {health.Facts{Election: standby(46*time.Second, nil), API: well}, "role", "did not get it"},
		"the lease can't be read":       {health.Facts{Election: standby(46*time.Second, down), API: well}, "role", "connection refused"},
		"it can't be read for a moment": {health.Facts{Election: standby(44*time.Second, down), API: well}, "", "other leads"},
		"never read":                    {health.Facts{Election: &election.State{}, API: well}, "role", "has not been read yet"},
		"could never be read":           {health.Facts{Election: &election.State{Failure: down}, API: well}, "role", "could not be read yet: connection refused"},
		"leader with a refused key":     {health.Facts{Election: leader, API: refused}, "key", "refused since 2026-03-01T11:59:00Z"},
		"stand-by with a refused key":   {health.Facts{Election: standby(time.Second, nil), API: refused}, "key", "Invalid API token"},
		"a short outage":                {health.Facts{Election: leader, API: silent(15 * time.Minute)}, "", "has not answered since 2026-03-01T11:45:00Z"},
		"a long outage":                 {health.Facts{Election: leader, API: silent(16 * time.Minute)}, "api", "connection refused"},
		"nothing was asked yet":         {health.Facts{Election: leader}, "", "not known yet"},
		"about to end":                  {health.Facts{Election: leader, API: well, Stopping: true}, "process", "told to end"},
		"it waits for the official one": {health.Facts{Election: &election.State{}, API: well, Official: errors.New("the official manager runs")}, "official", "does not stand for election yet"},
		"the official one comes later":  {health.Facts{Election: leader, API: well, Official: errors.New("the official manager runs")}, "official", "leads since"},
		"everything at once":            {health.Facts{Election: &election.State{}, API: vultr.Standing{Silence: down, SilentSince: ago(time.Hour), Refusal: down, RefusedSince: ago(time.Hour)}, Stopping: true}, "role key api process", "told to end"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.facts.Now, tt.facts.LeaseDuration = noon, 15*time.Second
			var fails, words []string
			for _, c := range health.Judge(tt.facts) {
				if c.Failure != nil {
					fails, words = append(fails, c.Name), append(words, c.Failure.Error())
					continue
				}
				if c.Words == "" {
					t.Errorf("check %s says nothing", c.Name)
				}
				words = append(words, c.Words)
			}
			if got := strings.Join(fails, " "); got != tt.fails {
				t.Errorf("%q fail, want %q: %q", got, tt.fails, words)
			}
			if !strings.Contains(strings.Join(words, "\n"), tt.says) {
				t.Errorf("%q does not say %q", words, tt.says)
			}
		})
	}
}

// What is not ready lives all the same: nothing but what a restart helps against ends the process.
func TestHandler(t *testing.T) {
	var stuck error
	facts := health.Facts{Now: noon, API: well}
	server := httptest.NewServer(health.Handler(func() error { return stuck }, func() health.Facts { return facts }))
	defer server.Close()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	expect := func(path string, code int, text string) {
		t.Helper()
		if got, body := get(path); got != code || !strings.Contains(body, text) {
			t.Errorf("%s: %d %q, want %d and %q", path, got, body, code, text)
		}
	}
	expect("/livez", http.StatusOK, "[+] process: lives\n")
	expect("/readyz", http.StatusOK, "[+] key: last accepted at 2026-03-01T11:59:59Z\n")
	facts.API.Refusal, facts.API.RefusedSince = errors.New("401: Invalid API token"), noon
	expect("/readyz", http.StatusServiceUnavailable, "[-] key: refused since 2026-03-01T12:00:00Z")
	expect("/readyz", http.StatusServiceUnavailable, "[+] role: works without leader election\n")
	expect("/livez", http.StatusOK, "lives")
	stuck = errors.New("the lease is not renewed")
	expect("/livez", http.StatusServiceUnavailable, "[-] process: the lease is not renewed\n")
	expect("/metrics", http.StatusNotFound, "")
	resp, err := http.Post(server.URL+"/readyz", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST is answered %d", resp.StatusCode)
	}
}
