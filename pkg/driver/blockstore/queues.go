package blockstore

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/inflight"
)

// queueLength is the metric of the instances' queues.
var queueLength = prometheus.NewDesc("csi_instance_queue_length",
	"Attach and detach operations under way or waiting for their turn, by instance. Instances without any are left out.", []string{"instance_id"}, nil)

// queues shows how many operations each instance has.
type queues struct{ orders *inflight.Queue }

// Describe implements prometheus.Collector.
func (queues) Describe(ch chan<- *prometheus.Desc) { ch <- queueLength }

// Collect implements prometheus.Collector.
func (q queues) Collect(ch chan<- prometheus.Metric) {
	for instance, n := range q.orders.Lengths() {
		ch <- prometheus.MustNewConstMetric(queueLength, prometheus.GaugeValue, float64(n), instance)
	}
}
