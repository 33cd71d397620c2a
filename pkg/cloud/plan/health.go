package plan

import (
	"cmp"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// KubeProxyPort is where kube-proxy answers on every node whether it works. Load balancers of UDP ports check it,
// because nothing can be concluded from a UDP port that stays silent.
const KubeProxyPort = settings.KubeProxyPort

const healthPath = "/healthz"

// health reads the one health check that a load balancer has.
func (r *reader) health() {
	hc := vultr.HealthCheck{
		CheckInterval:      r.Int(settings.HealthCheckInterval),
		ResponseTimeout:    r.Int(settings.HealthCheckTimeout),
		UnhealthyThreshold: r.Int(settings.HealthCheckUnhealthy),
		HealthyThreshold:   r.Int(settings.HealthCheckHealthy),
	}
	if path, port := servicehelper.GetServiceHealthCheckPathPort(r.service); port > 0 {
		// With policy Local a node without a pod must fail its check; only this port of kube-proxy knows.
		hc.Protocol, hc.Port, hc.Path = "http", int(port), path
		for _, key := range healthTarget {
			if r.States(key) {
				r.Warn("%s has no effect with externalTrafficPolicy Local: port %d answers which nodes have a pod", key, port)
			}
		}
	} else if !r.healthOfKubeProxy(&hc) {
		r.healthTarget(&hc)
		r.healthWithProxyProtocol(hc)
	}
	r.out.Desired.HealthCheck = hc
}

// healthTarget is what is checked. The three belong together, so a Service that states one of them gets none of the
// cluster's defaults for the others.
var healthTarget = []settings.Key{settings.HealthCheckProtocol, settings.HealthCheckPort, settings.HealthCheckPath}

// healthOfKubeProxy reads whether kube-proxy is to be checked. Where that is the cluster's default alone, a Service that says
// what is checked has its way.
func (r *reader) healthOfKubeProxy(hc *vultr.HealthCheck) bool {
	stated := slices.ContainsFunc(healthTarget, r.Says)
	if !r.Bool(settings.HealthCheckKubeProxy) || stated && !r.Says(settings.HealthCheckKubeProxy) {
		return false
	}
	for _, key := range healthTarget {
		if r.Says(key) {
			r.Warn("%s has no effect beside %s", key, settings.HealthCheckKubeProxy)
		}
	}
	hc.Protocol, hc.Port, hc.Path = "http", r.proxyPort, healthPath
	return true
}

// healthWithProxyProtocol warns of a check that may fail for ever.
func (r *reader) healthWithProxyProtocol(hc vultr.HealthCheck) {
	if hc.Protocol == "tcp" || hc.Port == r.proxyPort || !r.Bool(settings.ProxyProtocol) {
		return
	}
	r.Warn("%s is on, and pods that demand it may not answer a health check by %s, which may come without it: check them by tcp, or kube-proxy by %s: \"true\"",
		settings.ProxyProtocol, hc.Protocol, settings.HealthCheckKubeProxy)
}

// healthTarget reads what is checked and where.
func (r *reader) healthTarget(hc *vultr.HealthCheck) {
	if slices.ContainsFunc(healthTarget, r.Says) {
		r.WithoutDefaults(healthTarget...)
	}
	protocol, path := "tcp", "/"
	wanted := r.Text(settings.HealthCheckPath)
	if wanted != "" {
		protocol = "http"
	}
	hc.Port = r.healthPort()
	if hc.Port == 0 {
		hc.Port = r.proxyPort
		protocol, path = "http", healthPath
	}
	hc.Protocol = cmp.Or(r.Text(settings.HealthCheckProtocol), protocol)
	switch {
	case hc.Protocol == "tcp" && wanted != "":
		r.Warn("%s has no effect on a health check by tcp: set %s", settings.HealthCheckPath, settings.HealthCheckProtocol)
	case hc.Protocol != "tcp":
		hc.Path = cmp.Or(wanted, path)
	}
}

// healthPort returns the port on the nodes, 0 when no port of the Service can be checked.
func (r *reader) healthPort() int {
	asked := r.Text(settings.HealthCheckPort)
	number, err := strconv.Atoi(asked)
	isNumber := err == nil
	for i := range r.service.Spec.Ports {
		port := &r.service.Spec.Ports[i]
		if port.Protocol != v1.ProtocolTCP && port.Protocol != "" {
			continue
		}
		named := asked != "" && port.Name == asked
		numbered := isNumber && (int(port.Port) == number || int(port.NodePort) == number)
		if asked == "" || named || numbered {
			return int(port.NodePort)
		}
	}
	switch {
	case asked == "":
		return 0
	case isNumber && (number == KubeProxyPort || number == r.proxyPort):
		return r.proxyPort
	}
	r.Reject(settings.HealthCheckPort, "must be the name or number of a TCP port of the Service, or %d (kube-proxy)", r.proxyPort)
	return 0
}
