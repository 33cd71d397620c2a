package pending

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	labels = []string{"method"}
	count  = prometheus.NewDesc("csi_pending_operations", "Operations that have not come to their end, by method: those of which a call is running, and those that failed and will be tried again.", labels, nil)
	oldest = prometheus.NewDesc("csi_pending_operations_oldest_age_seconds", "For how long the oldest operation that has not come to its end has been tried, by method.", labels, nil)
)

// Describe implements prometheus.Collector.
func (w *Watch) Describe(ch chan<- *prometheus.Desc) {
	ch <- count
	ch <- oldest
}

// Collect implements prometheus.Collector. It shows nothing of methods of which nothing is pending.
func (w *Watch) Collect(ch chan<- prometheus.Metric) {
	type sums struct{ count, oldest float64 }
	by := map[string]sums{}
	now := time.Now()
	w.mu.Lock()
	w.sweep(now)
	for op, e := range w.under {
		s := by[op.Method]
		by[op.Method] = sums{s.count + 1, max(s.oldest, now.Sub(e.since).Seconds())}
	}
	w.mu.Unlock()
	for method, s := range by {
		ch <- prometheus.MustNewConstMetric(count, prometheus.GaugeValue, s.count, method)
		ch <- prometheus.MustNewConstMetric(oldest, prometheus.GaugeValue, s.oldest, method)
	}
}
