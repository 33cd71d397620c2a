package servicelb

import (
	"sync"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
)

const namespace = "vultr_ccm"

var (
	duplicates = metrics.NewCounter(&metrics.CounterOpts{
		Namespace: namespace, Name: "duplicate_load_balancers_deleted_total", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers that one request made twice and that were deleted.",
	})
	orphans = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: namespace, Name: "orphaned_load_balancers", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers that were made for Services that do not exist any more.",
	})
	orphan = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "orphaned_load_balancer", StabilityLevel: metrics.ALPHA,
		Help: "1 for each load balancer that was made for a Service that does not exist any more.",
	}, []string{"load_balancer", "namespace", "service"})
	doubted = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: namespace, Name: "doubted_load_balancers", StabilityLevel: metrics.ALPHA,
		Help: "Services whose load balancers serve machines that are no nodes of this cluster, and are left alone.",
	})
	notShown = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: namespace, Name: "load_balancers_not_shown", StabilityLevel: metrics.ALPHA,
		Help: "Load balancers in no list, while these are so many that it is not believed that they were deleted.",
	})
)

// What there is of each Service. All of it goes with the Service, or with its load balancer.
var (
	stateOf = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "load_balancer_state", StabilityLevel: metrics.ALPHA,
		Help: "1 for the state of a Service's load balancer: ready, pending (the platform is waited for), failing or deleting.",
	}, []string{"namespace", "service", "state"})
	lastSuccess = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "load_balancer_last_success_timestamp_seconds", StabilityLevel: metrics.ALPHA,
		Help: "When a Service's load balancer was last found or made as the Service asks for, in seconds since 1970.",
	}, perService)
	rulesOf = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "load_balancer_rules", StabilityLevel: metrics.ALPHA,
		Help: "Forwarding rules of a Service's load balancer, of which the platform allows 15.",
	}, perService)
	nodesOf = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "load_balancer_nodes", StabilityLevel: metrics.ALPHA,
		Help: "Nodes of its own (node-count) of a Service's load balancer, each of which is paid for; of several Services that share one, at the oldest.",
	}, perService)
	driftRepaired = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: namespace, Name: "load_balancer_drift_total", StabilityLevel: metrics.ALPHA,
		Help: "How often a Service's load balancer was changed on the platform and brought back.",
	}, perService)
	certificateExpiry = metrics.NewGaugeVec(&metrics.GaugeOpts{
		Namespace: namespace, Name: "certificate_expiry_timestamp_seconds", StabilityLevel: metrics.ALPHA,
		Help: "When the certificate in the Secret of a Service expires, in seconds since 1970.",
	}, perService)
)

var perService = []string{"namespace", "service"}

var registerMetrics = sync.OnceFunc(func() {
	legacyregistry.MustRegister(duplicates, orphans, orphan, notShown, doubted, stateOf, lastSuccess, rulesOf, nodesOf, driftRepaired, certificateExpiry)
})

// objectState is how a load balancer and what its Service asks for stand to each other.
type objectState string

const (
	// stateNone is that of a Service which has no load balancer and is to have none here.
	stateNone     objectState = ""
	stateReady    objectState = "ready"
	statePending  objectState = "pending"
	stateFailing  objectState = "failing"
	stateDeleting objectState = "deleting"
)

// watchState shows the state, and forgets everything about the Service if there is none.
func watchState(service key, is objectState, now time.Time) {
	if is == stateNone {
		forgetMetrics(service)
		return
	}
	stateOf.WithLabelValues(service.Namespace, service.Name, string(is)).Set(1)
	forgetStates(service, is)
	driftRepaired.WithLabelValues(service.Namespace, service.Name).Add(0) // or its first increase could not be seen
	if is == stateReady {
		lastSuccess.WithLabelValues(service.Namespace, service.Name).Set(float64(now.Unix()))
	}
}

// forgetStates forgets all states but one.
func forgetStates(service key, but objectState) {
	for _, other := range []objectState{stateReady, statePending, stateFailing, stateDeleting} {
		if other != but {
			stateOf.Delete(map[string]string{"namespace": service.Namespace, "service": service.Name, "state": string(other)})
		}
	}
}

func watchRules(service key, rules int) {
	rulesOf.WithLabelValues(service.Namespace, service.Name).Set(float64(rules))
}

func watchNodes(service key, nodes int) {
	nodesOf.WithLabelValues(service.Namespace, service.Name).Set(float64(nodes))
}

func forgetNodes(service key) { nodesOf.Delete(labelsOf(service)) }

func countDrift(service key) {
	driftRepaired.WithLabelValues(service.Namespace, service.Name).Inc()
}

func watchExpiry(service key, at time.Time) {
	certificateExpiry.WithLabelValues(service.Namespace, service.Name).Set(float64(at.Unix()))
}

func forgetExpiry(service key) { certificateExpiry.Delete(labelsOf(service)) }

// forgetMetrics forgets everything about a Service.
func forgetMetrics(service key) {
	forgetStates(service, stateNone)
	forgetExpiry(service)
	lastSuccess.Delete(labelsOf(service))
	rulesOf.Delete(labelsOf(service))
	forgetNodes(service)
	driftRepaired.Delete(labelsOf(service))
}

func labelsOf(service key) map[string]string {
	return map[string]string{"namespace": service.Namespace, "service": service.Name}
}

// watchOrphans shows these, and no others.
func watchOrphans(all []lost.Orphan) {
	orphans.Set(float64(len(all)))
	orphan.Reset()
	for _, one := range all {
		name, _ := serviceOf(one.Entry) // an entry that names none has been written by hand
		orphan.WithLabelValues(one.ID, name.Namespace, name.Name).Set(1)
	}
}
