// Package balancer decides what the load balancer of a Service must look like and what has to be changed to get there.
//
// It only computes: Service and Nodes give a Desired, Desired and the load balancer as it is give the settings to
// send. Nothing here talks to Kubernetes or to the cloud.
package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// What a load balancer has when its Service says nothing about it.
const (
	DefaultAlgorithm = "roundrobin"
	DefaultTimeout   = 600 // seconds
	DefaultNodes     = 1
)

// The platform's limits, from its documentation.
const (
	maxNodes   = 99
	maxTimeout = 24 * 60 * 60 // seconds; the platform names no limit, more than a day is a mistake
)

// Desired is what a Service asks of its load balancer.
type Desired struct {
	// Label is the name that the load balancer is to have, "" if the Service does not say.
	Label         string
	Nodes         int
	Algorithm     string
	Timeout       int
	SSLRedirect   bool
	ProxyProtocol bool
	HTTP2         bool
	HTTP3         bool
	StickyCookie  string
	HealthCheck   vultr.HealthCheck
	Rules         []vultr.ForwardingRule

	// Firewall admits sources; without a rule everybody is admitted.
	Firewall []vultr.FirewallRule
	// FirewallStated tells that the Service says something about sources, even if it is "everybody".
	FirewallStated bool
	// KeepFirewall is set when the Service asks for a firewall in a way that is not supported: it is left as it is.
	KeepFirewall bool

	// TLSSecret is the name of the Secret with the certificate, "" for none.
	TLSSecret string
	// KeepTLS is set when the Service asks for a certificate in a way that is not supported: it is left as it is.
	KeepTLS bool

	// Instances are the backends, sorted.
	Instances []string
	// KeepInstances leaves the backends as they are.
	KeepInstances bool

	// Hostname replaces the addresses in the Service's status.
	Hostname string
}

// Reading is what came of reading a Service.
type Reading struct {
	Desired Desired
	// Warnings are things that the owner of the Service should know and that stop nothing.
	Warnings []string
	// Unprotected are settings that are not supported and without which a new load balancer would be more open than
	// its owner asked for: a new one must not be made.
	Unprotected []settings.Key
	// Err joins everything that is wrong with the Service. Desired is not to be used then, but for its backends.
	Err error
}

// Read computes what the Service asks for, without its backends.
func Read(service *v1.Service) Reading {
	r := &reader{Reader: settings.NewReader(service.Annotations), service: service}
	r.unhandled()
	r.rules()
	r.health()
	r.firewall()
	r.tls()
	r.session()
	d := &r.out.Desired
	d.Label = r.label()
	d.Hostname = r.hostname()
	d.Algorithm = r.algorithm()
	d.Timeout = r.Int(settings.Timeout, DefaultTimeout, 1, maxTimeout)
	d.Nodes = r.nodes()
	d.ProxyProtocol = r.Bool(settings.ProxyProtocol)
	r.fields()
	r.out.Err = r.Err()
	return r.out
}

// Managed tells whether the Service wants a load balancer of this cloud at all.
func Managed(service *v1.Service) bool {
	r := settings.NewReader(service.Annotations)
	return !r.Has(settings.Create) || r.Bool(settings.Create) || r.Err() != nil
}

type reader struct {
	*settings.Reader
	service *v1.Service
	out     Reading
}

func (r *reader) warn(format string, args ...any) {
	r.out.Warnings = append(r.out.Warnings, fmt.Sprintf(format, args...))
}

// unhandled reports all keys that nothing is done for in one sentence.
func (r *reader) unhandled() {
	keys := settings.Unhandled(r.service.Annotations)
	if len(keys) == 0 {
		return
	}
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		names = append(names, string(key))
		if key.Protects() {
			r.out.Unprotected = append(r.out.Unprotected, key)
		}
		switch key {
		case settings.FirewallRulesCM:
			r.out.Desired.KeepFirewall = true
		case settings.AutoSSL:
			r.out.Desired.KeepTLS = true
		}
	}
	r.warn("these annotations are not supported and have no effect: %s; a load balancer that exists keeps what they were about",
		strings.Join(names, ", "))
}

func (r *reader) label() string {
	label := r.String(settings.Label)
	if r.Has(settings.Label) && label == "" {
		r.Reject(settings.Label, "must not be empty")
	}
	return label
}

func (r *reader) hostname() string {
	hostname := r.String(settings.Hostname)
	if hostname == "" {
		return ""
	}
	if problems := validation.IsDNS1123Subdomain(hostname); len(problems) > 0 {
		r.Reject(settings.Hostname, "must be a host name in lower case, such as web.example.com")
	}
	return hostname
}

func (r *reader) algorithm() string {
	algorithm := r.OneOf(settings.Algorithm, DefaultAlgorithm, "roundrobin", "least_connections", "leastconn")
	if algorithm == "least_connections" {
		return "leastconn"
	}
	return algorithm
}

func (r *reader) nodes() int {
	nodes := r.Int(settings.NodeCount, DefaultNodes, 1, maxNodes)
	if nodes%2 == 0 {
		r.Reject(settings.NodeCount, "must be an odd number")
	}
	return nodes
}

// session reads cookie stickiness, the only kind that the platform has.
func (r *reader) session() {
	enabled := r.OneOf(settings.StickySessionEnabled, "off", "on", "off") == "on"
	cookie := r.String(settings.StickySessionCookieName)
	switch {
	case enabled && cookie == "":
		r.Fail(fmt.Errorf("annotation %s is on, but %s is missing", settings.StickySessionEnabled, settings.StickySessionCookieName))
	case enabled && strings.ContainsAny(cookie, " \t\r\n,;=\"\\"):
		r.Reject(settings.StickySessionCookieName, "is not a name that a cookie can have")
	case enabled:
		r.out.Desired.StickyCookie = cookie
		if !r.hasRule("http", "https") {
			r.warn("%s is on, but no port is http or https: a cookie needs one", settings.StickySessionEnabled)
		}
	}
}

// fields checks what only others read, and reports the fields of the Service that the platform has nothing for.
func (r *reader) fields() {
	r.Bool(settings.Create)
	if id := r.String(settings.ID); id != "" && !vultr.IsID(id) {
		r.Reject(settings.ID, "must be the UUID of a load balancer")
	}
	if r.service.Spec.SessionAffinity == v1.ServiceAffinityClientIP {
		r.warn("sessionAffinity ClientIP sees the load balancer's address, not the client's: use %s", settings.StickySessionEnabled)
	}
	if ip := r.service.Spec.LoadBalancerIP; ip != "" {
		r.warn("spec.loadBalancerIP %s has no effect: the platform chooses the address", ip)
	}
}

func (r *reader) hasRule(frontends ...string) bool {
	return slices.ContainsFunc(r.out.Desired.Rules, func(rule vultr.ForwardingRule) bool {
		return slices.Contains(frontends, rule.FrontendProtocol)
	})
}

// tls reads what is about certificates and HTTP versions.
func (r *reader) tls() {
	d := &r.out.Desired
	d.TLSSecret = r.String(settings.SSL)
	https := r.hasRule("https")
	certificate := d.TLSSecret != "" || d.KeepTLS
	if d.TLSSecret != "" && len(validation.IsDNS1123Subdomain(d.TLSSecret)) > 0 {
		r.Reject(settings.SSL, "must be the name of a TLS Secret in the namespace of the Service")
	}
	if https && !certificate {
		r.Fail(fmt.Errorf("a port is https, but there is no certificate: name a TLS Secret by %s, or let the pods end TLS by %s: \"true\"",
			settings.SSL, settings.SSLPassThrough))
	}
	if d.TLSSecret != "" && !https {
		r.warn("%s names a certificate, but no port is https: set %s", settings.SSL, settings.HTTPSPorts)
	}
	d.SSLRedirect = r.Bool(settings.SSLRedirect)
	d.HTTP2 = r.Bool(settings.HTTP2)
	d.HTTP3 = r.Bool(settings.HTTP3)
	if d.SSLRedirect && (!https || !r.hasRule("http")) {
		r.Reject(settings.SSLRedirect, "needs an http port to redirect from and an https port to redirect to")
	}
	if d.HTTP2 && !https {
		r.Reject(settings.HTTP2, "needs an https port")
	}
	if d.HTTP3 && !d.HTTP2 {
		r.Reject(settings.HTTP3, "needs %s: \"true\" too", settings.HTTP2)
	}
}

// ErrUnprotected is returned instead of making a load balancer that would be more open than its owner asked for.
var ErrUnprotected = errors.New("no load balancer was made, because it would be more open than asked for")

// MayCreate tells whether a new load balancer may be made.
func (r Reading) MayCreate() error {
	if len(r.Unprotected) == 0 {
		return nil
	}
	names := make([]string, 0, len(r.Unprotected))
	for _, key := range r.Unprotected {
		names = append(names, string(key))
	}
	return fmt.Errorf("%w: not supported: %s; remove what is not needed", ErrUnprotected, strings.Join(names, ", "))
}
