package plan

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Status returns the Service's load balancer status, and false while the load balancer is not ready: the platform may
// call it active before it has an address.
func Status(lb vultr.LoadBalancer, service *v1.Service, want Desired, labelAsHostname bool) (*v1.LoadBalancerStatus, bool) {
	addresses := addressesOf(lb, service)
	if !lb.Active() || len(addresses) == 0 {
		return nil, false
	}
	if want.Hostname != "" {
		return &v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{Hostname: want.Hostname}}}, true
	}
	mode := ipMode(want)
	status := &v1.LoadBalancerStatus{}
	for _, address := range addresses {
		status.Ingress = append(status.Ingress, v1.LoadBalancerIngress{IP: address, IPMode: &mode})
	}
	// The API server refuses the whole status if the label is no host name.
	if labelAsHostname && len(validation.IsDNS1123Subdomain(lb.Label)) == 0 {
		status.Ingress[0].Hostname = lb.Label
	}
	return status, true
}

// PortError is what a Service's status says of a port that its load balancer does not forward.
const PortError = "vultr.com/PortNotForwarded"

// MarkPorts says in a status which ports of the Service are forwarded and which are not, if any is not. Then connections from inside the
// cluster go through the load balancer, whatever the Service asks for: with the mode VIP kube-proxy takes all ports of a Service for those
// of its address, also one that is marked here and that another Service has.
func MarkPorts(status *v1.LoadBalancerStatus, service *v1.Service, rules []vultr.ForwardingRule) {
	var ports []v1.PortStatus
	missing := false
	for _, port := range service.Spec.Ports {
		is := v1.PortStatus{Port: port.Port, Protocol: cmp.Or(port.Protocol, v1.ProtocolTCP)}
		// A Service often has one node port for a number by TCP and UDP.
		forwards := func(rule vultr.ForwardingRule) bool {
			return rule.BackendPort == int(port.NodePort) && listenerOf(rule) == listener{int(port.Port), port.Protocol == v1.ProtocolUDP}
		}
		if !slices.ContainsFunc(rules, forwards) {
			is.Error, missing = new(PortError), true
		}
		ports = append(ports, is)
	}
	if !missing {
		ports = nil
	}
	for i := range status.Ingress {
		ingress := &status.Ingress[i]
		if ingress.Ports = ports; missing && ingress.IP != "" { // a host name has no mode
			ingress.IPMode = new(v1.LoadBalancerIPModeProxy)
		}
	}
}

// addressesOf returns the addresses of the families that the Service has, in its order, and none while the first one is missing.
func addressesOf(lb vultr.LoadBalancer, service *v1.Service) []string {
	families := service.Spec.IPFamilies
	if len(families) == 0 {
		families = []v1.IPFamily{v1.IPv4Protocol}
	}
	var addresses []string
	for i, family := range families {
		address := lb.IPv4
		if family == v1.IPv6Protocol {
			address = lb.IPv6
		}
		if address == "" && i == 0 {
			return nil
		}
		if address != "" {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// ipMode routes traffic from inside the cluster through the load balancer where the load balancer changes the traffic:
// kube-proxy would otherwise pass connections without the PROXY protocol to pods that expect it, or TLS to pods that
// do not terminate it.
func ipMode(want Desired) v1.LoadBalancerIPMode {
	if want.IPMode != nil {
		return *want.IPMode
	}
	changes := func(rule vultr.ForwardingRule) bool {
		return rule.FrontendProtocol == "http" || rule.FrontendProtocol == "https"
	}
	if want.ProxyProtocol || slices.ContainsFunc(want.Rules, changes) {
		return v1.LoadBalancerIPModeProxy
	}
	return v1.LoadBalancerIPModeVIP
}
