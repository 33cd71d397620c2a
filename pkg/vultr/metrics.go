package vultr

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what the Client shows of itself. It works unregistered too.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	wait     *prometheus.HistogramVec
	queue    *prometheus.GaugeVec
	rate     prometheus.Gauge
	shared   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vultr_api_requests_total",
			Help: "Attempts at calls of the Vultr API; code is the HTTP status or none when no answer came.",
		}, []string{"operation", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vultr_api_request_duration_seconds",
			Help:    "Time from sending an attempt to the end of its answer.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"operation"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vultr_api_limiter_wait_seconds",
			Help:    "Time that an attempt waited for its turn.",
			Buckets: []float64{.001, .01, .1, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"priority"}),
		queue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vultr_api_limiter_queue_length",
			Help: "Calls that wait for their turn.",
		}, []string{"priority"}),
		rate: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vultr_api_limiter_rate",
			Help: "Requests per second that the client allows itself.",
		}),
		shared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vultr_api_shared_reads_total",
			Help: "Reads of shared lists; result is cached, joined (a list that others asked for) or started.",
		}, []string{"list", "result"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		register(reg, &m.requests), register(reg, &m.duration), register(reg, &m.wait),
		register(reg, &m.queue), register(reg, &m.rate), register(reg, &m.shared),
	)
}

// register adds the collector, or takes the one that another Client of this process has registered.
func register[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		existing, same := already.ExistingCollector.(C)
		if !same {
			return fmt.Errorf("metric of another kind: %w", err)
		}
		*c = existing
		return nil
	}
	return err
}

func (m *metrics) request(operation, code string, took time.Duration) {
	m.requests.WithLabelValues(operation, code).Inc()
	m.duration.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *metrics) sharedRead(list string) func(result string) {
	return func(result string) { m.shared.WithLabelValues(list, result).Inc() }
}
