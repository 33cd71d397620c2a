package vultr_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// behindOneAddress is the way from one client to the simulated cloud's own handler and limit, in the time of the test.
type behindOneAddress struct {
	cloud    http.Handler
	answered atomic.Int64
	refused  atomic.Int64
}

// RoundTrip takes as long as a call of the real platform does.
func (b *behindOneAddress) RoundTrip(r *http.Request) (*http.Response, error) {
	timer := time.NewTimer(50*time.Millisecond + rand.N(100*time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	r = r.Clone(r.Context())
	r.RemoteAddr = "192.0.2.1:1234"
	answer := httptest.NewRecorder()
	b.cloud.ServeHTTP(answer, r)
	b.answered.Add(1)
	if answer.Code == http.StatusTooManyRequests {
		b.refused.Add(1)
	}
	return answer.Result(), nil
}

// TestClientsBehindOneAddressShareItsLimit: three programs that all have more to ask than the platform's 30 requests per
// second for one address share them, hardly ever meet a refusal, and their callers never do.
func TestClientsBehindOneAddressShareItsLimit(t *testing.T) {
	// The CSI driver and the cloud controller manager have different ceilings, see their flags.
	csi, ccm := vultr.Config{StartRate: 10, MaxRate: 20}, vultr.Config{StartRate: 5, MaxRate: 10}
	for name, configs := range map[string][]vultr.Config{
		"three of one kind": {csi, csi, csi},
		"both products":     {csi, csi, ccm},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { share(t, configs) })
		})
	}
}

func share(t *testing.T, configs []vultr.Config) {
	t.Helper()
	const limit, lasts = 30, time.Minute
	sim, err := simulator.New(t.Context(), simulator.Config{Keys: []string{"KEY"}, RateLimit: limit, Logger: klog.Background()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}()
	end := time.Now().Add(lasts)
	ways := make([]*behindOneAddress, len(configs))
	done := make([]atomic.Int64, len(configs))
	var wg sync.WaitGroup
	for i, cfg := range configs {
		ways[i] = &behindOneAddress{cloud: sim}
		cfg.BaseURL, cfg.Key = "http://vultr.test", "KEY"
		c, err := vultr.NewClientOver(cfg, ways[i])
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			wg.Go(func() {
				for time.Now().Before(end) {
					if _, err := c.Account(context.WithoutCancel(t.Context())); err != nil {
						t.Errorf("client %d: %v", i, err)
						return
					}
					done[i].Add(1)
				}
			})
		}
	}
	wg.Wait()
	var answered, refused int64
	for i, way := range ways {
		answered, refused = answered+way.answered.Load(), refused+way.refused.Load()
		third := float64(limit) * lasts.Seconds() / float64(len(ways))
		t.Logf("client %d: %d done, %d refused, %.2f of its third", i, done[i].Load(), way.refused.Load(), float64(done[i].Load())/third)
		if float64(done[i].Load()) < 0.6*third {
			t.Errorf("client %d got %d answers, less than 0.6 of its third of %.0f", i, done[i].Load(), third)
		}
	}
	t.Logf("%d of %d were refused: %.2f%%", refused, answered, 100*float64(refused)/float64(answered))
	if float64(refused) >= 0.01*float64(answered) {
		t.Errorf("%d of %d answers were refusals", refused, answered)
	}
}
