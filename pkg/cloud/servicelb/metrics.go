package servicelb

import (
	"sync"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

const namespace = "vultr_ccm"

var (
	duplicates = metrics.NewCounter(&metrics.CounterOpts{
		Namespace: namespace, Name: "duplicate_load_balancers_deleted_total", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers that one request made twice and that were deleted.",
	})
	driftRepaired = metrics.NewCounter(&metrics.CounterOpts{
		Namespace: namespace, Name: "load_balancer_drift_total", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers that were changed on the platform and brought back.",
	})
	orphans = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: namespace, Name: "orphaned_load_balancers", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers that were made for Services that do not exist any more.",
	})
	doubted = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: namespace, Name: "doubted_load_balancers", StabilityLevel: metrics.ALPHA,
		Help: "Services whose load balancers serve machines that are no nodes of this cluster, and are left alone.",
	})
	notShown = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: namespace, Name: "load_balancers_not_shown", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers in no list, while these are so many that it is not believed that they were deleted.",
	})
	certificateExpiry = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "certificate_expiry_timestamp_seconds", StabilityLevel: metrics.ALPHA,
		Help: "When the certificate in the Secret of a Service expires, in seconds since 1970.",
	}, []string{"namespace", "service"})
)

var registerMetrics = sync.OnceFunc(func() {
	legacyregistry.MustRegister(duplicates, driftRepaired, orphans, notShown, doubted, certificateExpiry)
})

func watchExpiry(service key, at time.Time) {
	certificateExpiry.WithLabelValues(service.Namespace, service.Name).Set(float64(at.Unix()))
}

func forgetExpiry(service key) {
	certificateExpiry.Delete(map[string]string{"namespace": service.Namespace, "service": service.Name})
}

func forgetMetrics(service key) { forgetExpiry(service) }
