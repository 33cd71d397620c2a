// Package settings knows the annotations by which users shape the load balancer of a Service: one table says what each
// of them means, and the reader works from it. The reference page, the admission policy and the cluster-wide defaults
// are made from the same table or tested against it.
package settings

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

// The annotations of Namespaces, by which administrators decide about load balancers that were not made for a Service. They
// hold IDs, separated by commas, and have no effect on a Service, whose editor is not asked.
const (
	// AllowAdoption lets the Services in the Namespace take the load balancers over.
	AllowAdoption Key = Prefix + "allow-adoption"
	// HandOver gives them to the Services that use them: they are deleted with their Services, as those made for them.
	HandOver Key = Prefix + "hand-over"
)

// The official annotations that are not acted upon (yet).
const (
	AutoSSL         Key = Prefix + "auto-ssl"
	FirewallRulesCM Key = Prefix + "firewall-rules-cm"
	PrivateNetwork  Key = Prefix + "private-network"
	VPC             Key = Prefix + "vpc"
	// SSLLastUpdated was written by the official controller to trigger its own reconciliation; it asks for nothing.
	SSLLastUpdated Key = Prefix + "ssl-last-updated"
)
