package orphans

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

var (
	labels = []string{"storage_type"}
	count  = prometheus.NewDesc("csi_orphaned_volumes", "Volumes of this cluster that are in no PersistentVolume. They are reported and never deleted.", labels, nil)
	cost   = prometheus.NewDesc("csi_orphaned_volumes_monthly_cost_dollars", "What the orphaned volumes cost a month, by the platform's own word.", labels, nil)
	oldest = prometheus.NewDesc("csi_orphaned_volumes_oldest_age_seconds", "For how long the oldest orphan is in no PersistentVolume, 0 without one.", labels, nil)

	snapshotCount  = prometheus.NewDesc("csi_orphaned_snapshots", "Snapshots of this cluster that are in no VolumeSnapshotContent. They are reported and never deleted.", nil, nil)
	snapshotBytes  = prometheus.NewDesc("csi_orphaned_snapshots_bytes", "How large the volumes of the orphaned snapshots were: a snapshot is paid for by its size.", nil, nil)
	snapshotOldest = prometheus.NewDesc("csi_orphaned_snapshots_oldest_age_seconds", "For how long the oldest orphaned snapshot is in no VolumeSnapshotContent, 0 without one.", nil, nil)

	looked = prometheus.NewDesc("csi_orphaned_volumes_last_look_timestamp_seconds", "When orphans were last looked for with success.", nil, nil)
)

// collector shows the result of the last look, nothing before the first: no orphans and not knowing are two things.
type collector struct{ *Watch }

// Describe implements prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{count, cost, oldest, snapshotCount, snapshotBytes, snapshotOldest, looked, usedCost} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	all, at := c.Orphans()
	if at.IsZero() {
		return
	}
	type sums struct{ count, cost, oldest float64 }
	by := map[volume.Kind]*sums{volume.Block: {}, volume.VFS: {}}
	for _, o := range all {
		s := by[o.Kind]
		s.count++
		s.cost += o.MonthlyCost
		s.oldest = max(s.oldest, time.Since(o.Since).Seconds())
	}
	for kind, s := range by {
		for desc, value := range map[*prometheus.Desc]float64{count: s.count, cost: s.cost, oldest: s.oldest} {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, string(kind))
		}
	}
	ch <- prometheus.MustNewConstMetric(looked, prometheus.GaugeValue, float64(at.Unix()))
	c.collectCosts(ch)
	c.collectSnapshots(ch)
}

// collectSnapshots shows nothing in a cluster without snapshots.
func (c collector) collectSnapshots(ch chan<- prometheus.Metric) {
	all, at := c.OrphanedSnapshots()
	if at.IsZero() {
		return
	}
	var bytes, age float64
	for _, o := range all {
		bytes += float64(o.SizeGiB * volume.GiB)
		age = max(age, time.Since(o.Since).Seconds())
	}
	for desc, value := range map[*prometheus.Desc]float64{snapshotCount: float64(len(all)), snapshotBytes: bytes, snapshotOldest: age} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
}
