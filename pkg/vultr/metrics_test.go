package vultr

import (
	"net/http"
	"strings"
	"testing"

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

func TestMetricsThatCannotBeRegistered(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "vultr_api_limiter_rate", Help: "something else", ConstLabels: prometheus.Labels{"a": "b"}}))
	if _, err := New(Config{Key: testKey, Registerer: reg}); err == nil {
		t.Error("no error")
	}
}
