package node

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	stagedVolumes = prometheus.NewDesc("csi_staged_volumes", "Volumes that are staged on this node or just being staged, by kind of storage and encryption (none or luks2).",
		[]string{"storage_type", "encryption"}, nil)
	maxVolumes = prometheus.NewDesc("csi_max_volumes", "How many block volumes the node can have, as the kubelet was told last. Absent until it asked.", nil, nil)
	conditions = prometheus.NewDesc("csi_volume_conditions", "Volumes of this node with which something is wrong, by kind of storage and reason, at the last look, within a minute. "+
		"The reasons are those of the health calls.", []string{"storage_type", "reason"}, nil)
)

// collector shows the volumes of the node.
type collector struct{ *Service }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{stagedVolumes, maxVolumes, conditions} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It asks no volume anything: that could hang.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	counts := map[[2]string]int{}
	for _, record := range c.staged() {
		counts[[2]string{string(kindOf(record)), cmp.Or(record.Layer, "none")}]++
	}
	for of, n := range counts {
		ch <- prometheus.MustNewConstMetric(stagedVolumes, prometheus.GaugeValue, float64(n), of[0], of[1])
	}
	if limit := c.told.Load(); limit > 0 {
		ch <- prometheus.MustNewConstMetric(maxVolumes, prometheus.GaugeValue, float64(limit))
	}
	for of, n := range c.complaints.byReason() {
		ch <- prometheus.MustNewConstMetric(conditions, prometheus.GaugeValue, float64(n), of[0], of[1])
	}
}
