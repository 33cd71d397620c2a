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
	listed   *prometheus.GaugeVec
	// key and answered have no labels and no value until something is known.
	key, answered *prometheus.GaugeVec
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
		listed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vultr_api_shared_list_timestamp_seconds",
			Help: "When the newest complete shared list began, in seconds since 1970.",
		}, []string{"list"}),
		key: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vultr_api_key_accepted",
			Help: "1 while the API accepts the key, 0 while it refuses it.",
		}, nil),
		answered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vultr_api_last_answer_timestamp_seconds",
			Help: "When the API last answered, whatever it said, in seconds since 1970.",
		}, nil),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(
		register(reg, &m.requests), register(reg, &m.duration), register(reg, &m.wait),
		register(reg, &m.queue), register(reg, &m.rate), register(reg, &m.shared),
		register(reg, &m.listed), register(reg, &m.key), register(reg, &m.answered),
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

// showBudget registers what is left of the rate, which is reckoned when somebody asks. Of several Clients of a process the first
// one shows its own.
func (m *metrics) showBudget(reg prometheus.Registerer, left func() float64) error {
	if reg == nil {
		return nil
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vultr_api_limiter_budget",
		Help: "Requests per second that were left of the allowed rate in the last minute; 0 during a pause that the API asked for.",
	}, left)
	return register(reg, &gauge)
}

func (m *metrics) request(operation, code string, took time.Duration) {
	m.requests.WithLabelValues(operation, code).Inc()
	m.duration.WithLabelValues(operation).Observe(took.Seconds())
}

// listedAt returns what notes when a list began that is complete.
func (m *metrics) listedAt(list string) func(began time.Time) {
	return func(began time.Time) { m.listed.WithLabelValues(list).Set(seconds(began)) }
}

func (m *metrics) sharedRead(list string) func(result string) {
	return func(result string) { m.shared.WithLabelValues(list, result).Inc() }
}
