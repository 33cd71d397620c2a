package server

import (
	"context"
	"path"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// Metrics measures calls: how long each method took, by its code, and how many are under way.
type Metrics struct {
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "csi_rpc_duration_seconds",
			Help:    "How long calls took, by method and gRPC code.",
			Buckets: []float64{.005, .02, .1, .5, 1, 2.5, 5, 10, 20, 40, 80, 160},
		}, []string{"method", "code"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "csi_rpcs_in_flight",
			Help: "Calls under way, by method.",
		}, []string{"method"}),
	}
	reg.MustRegister(m.duration, m.inFlight)
	return m
}

// intercept measures one call. Methods are those of the registered services, so the labels are bounded.
func (m *Metrics) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if m == nil {
		return next(ctx, req)
	}
	method := path.Base(info.FullMethod)
	m.inFlight.WithLabelValues(method).Inc()
	defer m.inFlight.WithLabelValues(method).Dec()
	began := time.Now()
	resp, err := next(ctx, req)
	m.duration.WithLabelValues(method, status.Code(err).String()).Observe(time.Since(began).Seconds())
	return resp, err
}
