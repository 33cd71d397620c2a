package plan

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// KubeProxyPort is where kube-proxy tells on every node whether it works. It is what a load balancer of UDP ports
// asks, because nothing can be concluded from a UDP port that stays silent.
const KubeProxyPort = 10256

const healthPath = "/healthz"

// health reads the one health check that a load balancer has.
func (r *reader) health() {
	hc := vultr.HealthCheck{
		CheckInterval:      r.Int(settings.HealthCheckInterval, 15, 1, 300),
		ResponseTimeout:    r.Int(settings.HealthCheckTimeout, 5, 1, 300),
		UnhealthyThreshold: r.Int(settings.HealthCheckUnhealthy, 5, 1, 300),
		HealthyThreshold:   r.Int(settings.HealthCheckHealthy, 5, 1, 300),
	}
	if path, port := servicehelper.GetServiceHealthCheckPathPort(r.service); port > 0 {
		// With policy Local a node without a pod must fail its check; only this port of kube-proxy knows.
		hc.Protocol, hc.Port, hc.Path = "http", int(port), path
		for _, key := range []settings.Key{settings.HealthCheckProtocol, settings.HealthCheckPort, settings.HealthCheckPath} {
			if r.Has(key) {
				r.warn("%s has no effect with externalTrafficPolicy Local: port %d tells which nodes have a pod", key, port)
			}
		}
	} else {
		r.healthTarget(&hc)
	}
	r.out.Desired.HealthCheck = hc
}

// healthTarget reads what is asked and where.
func (r *reader) healthTarget(hc *vultr.HealthCheck) {
	protocol, path := "tcp", "/"
	hc.Port = r.healthPort()
	if hc.Port == 0 {
		hc.Port = KubeProxyPort
		protocol, path = "http", healthPath
	}
	hc.Protocol = r.OneOf(settings.HealthCheckProtocol, protocol, "tcp", "http", "https")
	asked := r.String(settings.HealthCheckPath)
	switch {
	case hc.Protocol == "tcp" && asked != "":
		r.warn("%s has no effect on a health check by tcp: set %s", settings.HealthCheckPath, settings.HealthCheckProtocol)
	case hc.Protocol == "tcp":
	case asked == "":
		hc.Path = path
	case asked[0] != '/':
		r.Reject(settings.HealthCheckPath, "must begin with /")
	default:
		hc.Path = asked
	}
}

// healthPort returns the port on the nodes, 0 when no port of the Service can be asked.
func (r *reader) healthPort() int {
	asked := r.String(settings.HealthCheckPort)
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
	case isNumber && number == KubeProxyPort:
		return KubeProxyPort
	}
	r.Reject(settings.HealthCheckPort, "must be the name or number of a TCP port of the Service, or %d (kube-proxy)", KubeProxyPort)
	return 0
}
