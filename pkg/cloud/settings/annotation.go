// Package annotation knows the annotations by which users shape the load balancer of a Service, and reads their
// values so that every fault is found at once.
package settings

import (
	"slices"
	"strings"
)

// Key is the full name of an annotation.
type Key string

// Prefix begins every annotation of a load balancer. It is the official one, so that existing Services keep working.
const Prefix = "service.beta.kubernetes.io/vultr-loadbalancer-"

// The annotations that users set and that are acted upon.
const (
	Protocol                Key = Prefix + "protocol"
	BackendProtocol         Key = Prefix + "backend-protocol"
	HTTPSPorts              Key = Prefix + "https-ports"
	SSL                     Key = Prefix + "ssl"
	SSLPassThrough          Key = Prefix + "ssl-pass-through"
	SSLRedirect             Key = Prefix + "ssl-redirect"
	HTTP2                   Key = Prefix + "http2"
	HTTP3                   Key = Prefix + "http3"
	ProxyProtocol           Key = Prefix + "proxy-protocol"
	HealthCheckProtocol     Key = Prefix + "healthcheck-protocol"
	HealthCheckPath         Key = Prefix + "healthcheck-path"
	HealthCheckPort         Key = Prefix + "healthcheck-port"
	HealthCheckInterval     Key = Prefix + "healthcheck-check-interval"
	HealthCheckTimeout      Key = Prefix + "healthcheck-response-timeout"
	HealthCheckUnhealthy    Key = Prefix + "healthcheck-unhealthy-threshold"
	HealthCheckHealthy      Key = Prefix + "healthcheck-healthy-threshold"
	Algorithm               Key = Prefix + "algorithm"
	StickySessionEnabled    Key = Prefix + "sticky-session-enabled"
	StickySessionCookieName Key = Prefix + "sticky-session-cookie-name"
	FirewallRules           Key = Prefix + "firewall-rules"
	NodeCount               Key = Prefix + "node-count"
	Timeout                 Key = Prefix + "timeout"
	Create                  Key = Prefix + "create"
	Label                   Key = Prefix + "label"
	ID                      Key = Prefix + "id"
	Hostname                Key = Prefix + "hostname"
)

// The annotations that only this controller writes.
const (
	// Owned holds the ID of the load balancer that was created for this Service, and that is deleted with it.
	Owned Key = Prefix + "owned"
	// Fingerprint tells which certificate was given to which load balancer, so that it is not sent again.
	Fingerprint Key = Prefix + "ssl-fingerprint"
	// FirewallManaged tells that the load balancer's firewall rules come from the Service, so that they go when the
	// Service no longer names any. Rules that came from elsewhere stay.
	FirewallManaged Key = Prefix + "firewall-managed"
)

// The official annotations that are not acted upon (yet).
const (
	AutoSSL         Key = Prefix + "auto-ssl"
	FirewallRulesCM Key = Prefix + "firewall-rules-cm"
	PrivateNetwork  Key = Prefix + "private-network"
	VPC             Key = Prefix + "vpc"
	// SSLLastUpdated was written by the official controller to wake itself up; it asks for nothing.
	SSLLastUpdated Key = Prefix + "ssl-last-updated"
)

var handled = []Key{
	Protocol, BackendProtocol, HTTPSPorts, SSL, SSLPassThrough, SSLRedirect, HTTP2, HTTP3, ProxyProtocol,
	HealthCheckProtocol, HealthCheckPath, HealthCheckPort, HealthCheckInterval, HealthCheckTimeout,
	HealthCheckUnhealthy, HealthCheckHealthy, Algorithm, StickySessionEnabled, StickySessionCookieName,
	FirewallRules, NodeCount, Timeout, Create, Label, ID, Hostname, Owned, Fingerprint, FirewallManaged, SSLLastUpdated,
}

// Unhandled returns the keys below the prefix that nothing is done for, because they are unknown or not supported
// yet, in alphabetical order. A switch that is off asks for nothing and is not among them.
func Unhandled(annotations map[string]string) []Key {
	var keys []Key
	for name, value := range annotations {
		key := Key(name)
		if !strings.HasPrefix(name, Prefix) || slices.Contains(handled, key) || isOff(key, value) {
			continue
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// isOff tells whether a setting that is not supported is not asked for either.
func isOff(key Key, value string) bool {
	switch key {
	case VPC, PrivateNetwork:
		return value == "false" || value == ""
	case AutoSSL, FirewallRulesCM:
		return value == ""
	}
	return false
}

// Protects tells whether the key, known or not, is about who may reach the load balancer or about the encryption of
// the way to it. A new load balancer without such a setting would be more open than its owner asked for.
func (k Key) Protects() bool {
	suffix := strings.TrimPrefix(string(k), Prefix)
	for _, family := range []string{"firewall-rules", "vpc", "private-network", "ssl", "auto-ssl"} {
		if suffix == family || strings.HasPrefix(suffix, family+"-") {
			return true
		}
	}
	return false
}
