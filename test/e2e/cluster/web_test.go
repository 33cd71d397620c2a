package cluster

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWaitingScenariosShareTheCloudsRate has many ask at once, again and again, as scenarios side by side do.
func TestWaitingScenariosShareTheCloudsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served []time.Time
		answers := make(chan time.Time)
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			answers <- time.Now()
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
		})
		web := cloudWeb("a key", &http.Client{Transport: transport})
		const askers, each = 10, 20
		for range askers {
			go func() {
				for range each {
					if err := web.Get(t.Context(), "/v2/blocks", nil); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		for range askers * each {
			served = append(served, <-answers)
		}
		const perSecond = 30 // for one source address
		for i := perSecond; i < len(served); i++ {
			if took := served[i].Sub(served[i-perSecond]); took < time.Second {
				t.Fatalf("requests %d to %d came within %s", i-perSecond, i, took)
			}
		}
	})
}
