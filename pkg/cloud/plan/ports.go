package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// MaxRules is how many ports one load balancer can forward.
const MaxRules = 15

// The platform keeps these ports of a load balancer for itself.
const (
	reservedFirst = 65300
	reservedLast  = 65310
)

// rules reads what is to be forwarded: one rule for each port of the Service.
func (r *reader) rules() {
	p := portReader{
		reader:      r,
		protocol:    r.Text(settings.Protocol),
		backend:     r.Text(settings.BackendProtocol),
		https:       r.Ports(settings.HTTPSPorts),
		passThrough: r.Bool(settings.SSLPassThrough),
		app:         r.Bool(settings.AppProtocol),
	}
	p.mapped()
	ports := r.service.Spec.Ports
	if len(ports) > MaxRules {
		r.Fail(fmt.Errorf("the Service has %d ports, but a load balancer forwards at most %d", len(ports), MaxRules))
	}
	for i := range ports {
		p.add(&ports[i])
	}
	p.contradictions()
	SortRules(r.out.Desired.Rules)
}

// collisions reports ports that two rules would listen on. The platform refuses them without saying which.
func (r *reader) collisions() {
	d := &r.out.Desired
	taken := map[listener]bool{}
	for _, rule := range d.Rules {
		at := listenerOf(rule)
		if taken[at] {
			r.Fail(fmt.Errorf("port %d is forwarded twice with the same transport protocol", at.port))
		}
		taken[at] = true
	}
	for _, rule := range d.Rules {
		if !d.HTTP3 || rule.FrontendProtocol != "https" || !taken[listener{rule.FrontendPort, true}] {
			continue
		}
		if !r.Says(settings.HTTP3) {
			d.HTTP3 = false // a default that does not fit
			return
		}
		r.Reject(settings.HTTP3, "needs UDP port %d for itself, which the Service forwards: use another port for it or switch HTTP/3 off", rule.FrontendPort)
	}
}

type portReader struct {
	*reader
	protocol    string
	backend     string
	https       []int
	passThrough bool
	app         bool
	each        map[int]settings.PortProtocol
}

// mapped reads what is said about single ports.
func (p *portReader) mapped() {
	p.each = map[int]settings.PortProtocol{}
	for _, entry := range p.PortProtocols(settings.PortProtocols) {
		if _, twice := p.each[entry.Port]; twice {
			p.Reject(settings.PortProtocols, "names port %d twice", entry.Port)
		}
		p.each[entry.Port] = entry
	}
}

func (p *portReader) add(port *v1.ServicePort) {
	number := int(port.Port)
	switch {
	case port.NodePort == 0:
		p.Fail(fmt.Errorf("port %d has no node port: the platform cannot reach pods without one, so allocateLoadBalancerNodePorts must not be false", number))
		return
	case number >= reservedFirst && number <= reservedLast:
		p.Fail(fmt.Errorf("port %d cannot be used: the platform keeps the ports %d to %d for itself", number, reservedFirst, reservedLast))
		return
	}
	rule := vultr.ForwardingRule{FrontendPort: number, BackendPort: int(port.NodePort)}
	switch port.Protocol {
	case v1.ProtocolUDP:
		rule.FrontendProtocol, rule.BackendProtocol = "udp", "udp"
	case v1.ProtocolTCP, "":
		rule.FrontendProtocol, rule.BackendProtocol = p.protocols(port)
	default:
		p.Fail(fmt.Errorf("port %d: %s cannot be forwarded, only TCP and UDP can", number, port.Protocol))
		return
	}
	p.out.Desired.Rules = append(p.out.Desired.Rules, rule)
}

// protocols are what clients speak to a TCP port, and what the pods do.
func (p *portReader) protocols(port *v1.ServicePort) (frontend, backend string) {
	if entry, ok := p.each[int(port.Port)]; ok {
		return entry.Frontend, entry.Backend
	}
	frontend = p.frontend(port)
	return frontend, p.behind(frontend)
}

// appProtocols are the values of a port's appProtocol that say what clients speak, in words of the platform. Kubernetes' own
// are of what goes through HTTP.
var appProtocols = map[string]string{
	"tcp": "tcp", "http": "http", "https": "https", "kubernetes.io/h2c": "http", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https",
}

// byApp is what the port's appProtocol says, "" if it says nothing or is not to be looked at.
func (p *portReader) byApp(port *v1.ServicePort) string {
	if !p.app || port.AppProtocol == nil || *port.AppProtocol == "" {
		return ""
	}
	protocol := appProtocols[strings.ToLower(*port.AppProtocol)]
	switch {
	case protocol == "":
		p.Warn("port %d: appProtocol %q is not known, so it has no effect", port.Port, *port.AppProtocol)
	case strings.EqualFold(*port.AppProtocol, "kubernetes.io/h2c"):
		p.Warn("port %d: the load balancer does not speak HTTP/2 to the pods, so appProtocol %q is read as http", port.Port, *port.AppProtocol)
	}
	return protocol
}

// frontend is what clients speak to a TCP port about which nothing is said by its number.
func (p *portReader) frontend(at *v1.ServicePort) string {
	port, protocol := int(at.Port), p.protocol
	if slices.Contains(p.https, port) {
		protocol = "https"
	}
	protocol = cmp.Or(p.byApp(at), protocol)
	switch {
	case protocol == "https" && p.passThrough:
		return "tcp"
	case protocol == "udp":
		p.Warn("%s is udp, but port %d is TCP: it is forwarded as tcp", settings.Protocol, port)
		return "tcp"
	}
	return protocol
}

// behind is what the load balancer speaks to the pods. Where the annotation cannot apply, it is what clients speak.
func (p *portReader) behind(frontend string) string {
	isHTTP := frontend == "http" || frontend == "https"
	if isHTTP && (p.backend == "http" || p.backend == "https") {
		return p.backend
	}
	return frontend
}

// contradictions reports annotations that no port takes notice of.
func (p *portReader) contradictions() {
	for _, number := range p.https {
		if !slices.ContainsFunc(p.service.Spec.Ports, func(port v1.ServicePort) bool { return int(port.Port) == number }) {
			p.Warn("%s names %d, which is not a port of the Service", settings.HTTPSPorts, number)
		}
	}
	for _, entry := range p.PortProtocols(settings.PortProtocols) {
		at := func(port v1.ServicePort) bool { return int(port.Port) == entry.Port }
		isTCP := func(port v1.ServicePort) bool {
			return at(port) && (port.Protocol == v1.ProtocolTCP || port.Protocol == "")
		}
		switch {
		case !slices.ContainsFunc(p.service.Spec.Ports, at):
			p.Warn("%s names %d, which is not a port of the Service", settings.PortProtocols, entry.Port)
		case !slices.ContainsFunc(p.service.Spec.Ports, isTCP):
			p.Warn("%s says %s, but port %d is UDP: it is forwarded as udp", settings.PortProtocols, entry, entry.Port)
		}
	}
	applies := func(rule vultr.ForwardingRule) bool { return rule.BackendProtocol == p.backend }
	if p.Says(settings.BackendProtocol) && p.backend != "" && !slices.ContainsFunc(p.out.Desired.Rules, applies) {
		p.Warn("%s is %s, but no port can use it", settings.BackendProtocol, p.backend)
	}
}
