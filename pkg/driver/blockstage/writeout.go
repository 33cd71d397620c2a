package blockstage

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// newLostWrites counts the file systems that could not be written out before they were unmounted.
func newLostWrites(reg prometheus.Registerer) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "csi_lost_writes_total",
		Help: "Volumes that were unstaged although their file system could not be written out. What pods had written and not flushed may be lost.",
	})
	if reg != nil {
		reg.MustRegister(c)
	}
	return c
}

// writeOut writes out what the kernel holds of a file system that is about to be unmounted. To unmount it does so as well, but
// the kernel drops what the disk refuses and reports success. The pod that wrote it is gone, so that nobody is left to be told;
// to keep the volume here would bring nothing back.
func (s *Stager) writeOut(ctx context.Context, volumeID string, e mount.Entry) {
	if slices.Contains(e.Options, "ro") {
		return
	}
	if err := s.sync(e.Path); err != nil {
		s.lostWrites.Inc()
		klog.FromContext(ctx).Error(err, "What pods wrote last and did not flush may be lost: the file system could not be written out", "volumeID", volumeID, "path", e.Path, "fsType", e.FSType, "device", e.Number)
	}
}
