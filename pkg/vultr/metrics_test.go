package vultr

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsOfRequests(t *testing.T) {
	reg := prometheus.NewRegistry()
	n := 0
	net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
		n++
		if n == 1 {
			return refusal(503, "down"), nil
		}
		return good(r), nil
	}}
	// Two clients of one process share the metrics.
	for range 2 {
		c := net.client(t, func(cfg *Config) { cfg.Registerer = reg })
		if _, err := c.Volume(t.Context(), idA); err != nil {
			t.Fatal(err)
		}
		if err := c.AttachVolume(t.Context(), idA, idB); err != nil {
			t.Fatal(err)
		}
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP vultr_api_requests_total Attempts at calls of the Vultr API; code is the HTTP status or none when no answer came.
# TYPE vultr_api_requests_total counter
vultr_api_requests_total{code="204",operation="attach_block"} 2
vultr_api_requests_total{code="202",operation="get_block"} 2
vultr_api_requests_total{code="503",operation="get_block"} 1
`), "vultr_api_requests_total")
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{
		"vultr_api_request_duration_seconds", "vultr_api_limiter_wait_seconds", "vultr_api_limiter_queue_length", "vultr_api_limiter_rate",
	} {
		if count, err := testutil.GatherAndCount(reg, name); err != nil || count == 0 {
			t.Errorf("%s: %d, %v", name, count, err)
		}
	}
}

// TestMetricsOfSharedReads: a list that was read, one that was waited for with another reader, and what was there already.
func TestMetricsOfSharedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, p := prometheus.NewRegistry(), newPlatform()
		p.attached[idA] = time.Now()
		c := (&cloud{answer: p.answer}).client(t, func(cfg *Config) { cfg.Registerer = reg })
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if _, err := c.Volumes(t.Context(), 0); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if _, err := c.Volumes(t.Context(), time.Hour); err != nil {
			t.Error(err)
		}
		if _, _, err := c.VolumeNow(t.Context(), idA, time.Hour); err != nil {
			t.Error(err)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP vultr_api_shared_reads_total Reads of shared lists; result is cached, joined (a list that others asked for) or started.
# TYPE vultr_api_shared_reads_total counter
vultr_api_shared_reads_total{list="volumes",result="cached"} 2
vultr_api_shared_reads_total{list="volumes",result="joined"} 1
vultr_api_shared_reads_total{list="volumes",result="started"} 1
`), "vultr_api_shared_reads_total"); err != nil {
			t.Error(err)
		}
		if p.lists != 1 || p.gets != 0 {
			t.Errorf("%d lists and %d gets were sent", p.lists, p.gets)
		}
	})
}

func TestMetricsThatCannotBeRegistered(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "vultr_api_limiter_rate", Help: "something else", ConstLabels: prometheus.Labels{"a": "b"}}))
	if _, err := New(Config{Key: testKey, Registerer: reg}); err == nil {
		t.Error("no error")
	}
}
