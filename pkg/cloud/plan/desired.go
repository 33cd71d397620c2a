// Package plan decides what the load balancer of a Service must look like and what has to be changed to get there.
//
// It only computes: Service and Nodes give a Desired, Desired and the load balancer as it is give the settings to
// send. Nothing here talks to Kubernetes or to the cloud.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
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
	// FirewallStated is set if the Service or the cluster's defaults say something about sources, even if it is "everybody".
	FirewallStated bool
	// FirewallConfigMap is the name of the ConfigMap that has firewall rules, "" for none.
	FirewallConfigMap string
	// KeepFirewall is set if the Service asks for a firewall in a way that is not supported or misspelled: it is left as
	// it is.
	KeepFirewall bool
	// KeepRules and KeepSSLRedirect leave the forwarding rules and the redirect as they are, because the Service asks for
	// encryption in a way that is misspelled.
	KeepRules, KeepSSLRedirect bool

	// TLSSecret is the name of the Secret with the certificate, "" for none.
	TLSSecret string
	// KeepTLS is set if the Service asks for a certificate in a way that is not supported or misspelled: it is left as
	// it is.
	KeepTLS bool

	// Instances are the backends, sorted.
	Instances []string
	// KeepInstances leaves the backends as they are.
	KeepInstances bool
	// NodeSelector is the label selector of the nodes that are backends, "" for all.
	NodeSelector string
	// KeepNodes is set if the Service chooses nodes in a way that is misspelled: no node becomes a backend that is none.
	KeepNodes bool

	// VPC is the network through which the backends are reached, "" for the public one; nil leaves it as it is.
	VPC *string
	// VPCOfNodes is set if VPC is to be the one that the nodes are in.
	VPCOfNodes bool
	// AutoSSL is the certificate that the platform issues; nil leaves it as it is. One that has to go is no change: the
	// platform has a request of its own for that.
	AutoSSL *vultr.AutoSSL
	// AutoSSLSecret is the name of the Secret with the domain of that certificate, "" for none.
	AutoSSLSecret string
	// GlobalRegions are the further regions of the load balancer; nil leaves them as they are.
	GlobalRegions *[]vultr.GlobalRegion

	// Hostname replaces the addresses in the Service's status.
	Hostname string
	// IPMode is how nodes treat the addresses in the status; nil means that it follows from what the load balancer does.
	IPMode *v1.LoadBalancerIPMode
}

// Reading is what came of reading a Service.
type Reading struct {
	Desired Desired
	// Warnings are things that the owner of the Service should know and that stop nothing.
	Warnings []string
	// Unprotected are annotations that are not acted upon and without which a new load balancer would be more open or
	// less encrypted than its owner asked for: none may be created. One that serves goes on serving.
	Unprotected []settings.Key
	// ID is the load balancer that the Service names, "" if it names none or its annotation is malformed. It is a hint,
	// not a proof: every editor of the Service can write it.
	ID string
	// Err joins everything that is wrong with the Service. Desired is not to be used then, but for its backends.
	Err error
	// Retain is set if the load balancer is to be kept when the Service goes, also if that is said in a way that is not
	// understood: an address that is given up does not come back.
	Retain bool
	// Protected is set if the load balancer must not be deleted, said in the same way.
	Protected bool
	// Inputs is what the Service asks for by way of other objects, as text. It changes when they do.
	Inputs string

	refusals  []settings.Refusal
	proxyPort int // where kube-proxy answers on the nodes
}

type reader struct {
	*settings.Reader
	service *v1.Service
	out     Reading

	keepUnstatedFirewall bool
	keepNetwork          bool
	proxyPort            int
	firewallMap          *given
	issued               *issued
	unread               bool
}

// Option changes how a Service is read.
type Option func(*reader)

// WithFirewallText passes on what the ConfigMap says that the Service names for its firewall rules, or why that is not known. It is
// not looked at if the Service names none.
func WithFirewallText(text string, err error) Option {
	return func(r *reader) { r.firewallMap = &given{text, err} }
}

// WithFirewallMap is WithFirewallText for a ConfigMap that was read.
func WithFirewallMap(found *v1.ConfigMap, err error) Option {
	if err != nil {
		return WithFirewallText("", err)
	}
	text, there := found.Data[FirewallMapKey]
	if !there {
		return WithFirewallText("", fmt.Errorf("it has no key %s", FirewallMapKey))
	}
	return WithFirewallText(text, nil)
}

// WithUnreadReferences says that nobody could look at the objects that the Service names: nothing is said about what none of the
// other options gives, and whatever it decides is left as it is. It is for those who only judge.
func WithUnreadReferences() Option {
	return func(r *reader) { r.unread = true }
}

// given is what somebody else has read for the reader.
type given struct {
	text string
	err  error
}

// WithKubeProxyPort says where kube-proxy answers on the nodes, if that is not its usual port; 0 is the usual one.
func WithKubeProxyPort(port int) Option {
	return func(r *reader) { r.proxyPort = cmp.Or(port, KubeProxyPort) }
}

// WithDefaults uses the cluster's defaults for what the Service does not say.
func WithDefaults(defaults settings.Defaults) Option {
	return func(r *reader) { r.WithDefaults(defaults) }
}

// Read computes what the Service asks for, without its backends.
func Read(service *v1.Service, options ...Option) Reading {
	r := &reader{Reader: settings.NewReader(service.Annotations), service: service, proxyPort: KubeProxyPort}
	for _, option := range options {
		option(r)
	}
	r.unhandled()
	r.rules()
	r.health()
	r.firewall()
	r.tls()
	r.collisions()
	r.session()
	r.life()
	r.network()
	r.traffic()
	r.fields()
	return r.reading()
}

// reading returns what was collected.
func (r *reader) reading() Reading {
	r.out.Warnings = r.Warnings()
	r.out.refusals, r.out.proxyPort = r.Refusals(), r.proxyPort
	d := &r.out.Desired
	for _, refusal := range r.out.refusals {
		r.out.Unprotected = append(r.out.Unprotected, refusal.Key)
		switch refusal.Key { // a malformed value
		case settings.SSLRedirect:
			d.KeepSSLRedirect = true
		case settings.BackendProtocol, settings.SSLPassThrough:
			d.KeepRules = true
		}
	}
	d.KeepFirewall = d.KeepFirewall || r.keepUnstatedFirewall && !d.FirewallStated
	r.out.Err = r.Err()
	return r.out
}

// Class is the loadBalancerClass of Services that are for this cloud, whoever else serves Services without a class.
const Class = "vultr.com/load-balancer"

// OfClass reports whether a Service is for this cloud by its class: none or ours, or, where only is set, ours alone.
func OfClass(service *v1.Service, only bool) bool {
	if class := service.Spec.LoadBalancerClass; class != nil {
		return *class == Class
	}
	return !only
}

// Disowned reports whether the Service gives its load balancer up, which goes on as it is.
func Disowned(service *v1.Service) bool {
	return settings.NewReader(service.Annotations).Bool(settings.Disown)
}

// Managed reports whether the Service wants a load balancer of this cloud at all.
func Managed(service *v1.Service) bool {
	return settings.NewReader(service.Annotations).Bool(settings.Create)
}

// unhandled reports all annotations that nothing is done for.
func (r *reader) unhandled() {
	var ineffective []string
	for _, finding := range settings.Inspect(r.service.Annotations) {
		switch {
		case finding.Cloud != "" || finding.Meant != "" || !strings.HasPrefix(string(finding.Key), settings.Prefix):
			r.Warn("annotation %s %s", finding.Key, finding.Problem)
		default:
			ineffective = append(ineffective, string(finding.Key))
		}
		if finding.Protects {
			r.Refuse(finding.Key, finding.Problem)
			r.keepWhatIsMeant(finding)
		}
		r.out.Desired.KeepNodes = r.out.Desired.KeepNodes || finding.Meant == settings.NodeSelector
	}
	if len(ineffective) > 0 {
		r.Warn("these annotations are not supported and have no effect: %s; a load balancer that exists keeps what they were about",
			strings.Join(ineffective, ", "))
	}
}

// keepWhatIsMeant sees to it that a slip in an annotation's name opens no load balancer that serves.
func (r *reader) keepWhatIsMeant(finding settings.Finding) {
	d := &r.out.Desired
	switch cmp.Or(finding.Meant, finding.Key) {
	case settings.FirewallRulesCM:
		d.KeepFirewall = true
	case settings.AutoSSL, settings.AutoSSLDomain, settings.AutoSSLSubdomain, settings.SSL:
		d.KeepTLS = true
	case settings.SSLRedirect:
		d.KeepSSLRedirect = true
	case settings.Protocol, settings.HTTPSPorts, settings.BackendProtocol, settings.PortProtocols, settings.AppProtocol, settings.SSLPassThrough:
		d.KeepRules = true
	case settings.VPC, settings.PrivateNetwork:
		r.keepNetwork = true
	case settings.Create:
	default:
		// What a Service states elsewhere about its sources counts nonetheless.
		r.keepUnstatedFirewall = r.keepUnstatedFirewall || finding.Cloud == ""
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
	d.TLSSecret = r.Text(settings.SSL)
	r.autoSSL()
	https := r.hasRule("https")
	if https && !r.Says(settings.SSL) && !d.KeepTLS && d.AutoSSL == nil {
		r.Fail(fmt.Errorf("a port is https, but there is no certificate: name a TLS Secret by %s, or let the pods terminate TLS by %s: \"true\"",
			settings.SSL, settings.SSLPassThrough))
	}
	if d.AutoSSL != nil && !https {
		r.Warn("the platform is to issue a certificate for %s, but no port is https: set %s", d.AutoSSL.Zone, settings.HTTPSPorts)
	}
	if d.TLSSecret != "" && !https {
		r.Warn("%s names a certificate, but no port is https: set %s", settings.SSL, settings.HTTPSPorts)
	}
	d.SSLRedirect = r.whereItFits(settings.SSLRedirect, https && r.hasRule("http"), "needs an http port to redirect from and an https port to redirect to")
	d.HTTP2 = r.whereItFits(settings.HTTP2, https, "needs an https port")
	d.HTTP3 = r.whereItFits(settings.HTTP3, d.HTTP2, fmt.Sprintf("needs %s: \"true\" too", settings.HTTP2))
}

// whereItFits returns a switch that not every Service can have. If the Service asks for it nonetheless it is rejected,
// while a default is left out.
func (r *reader) whereItFits(key settings.Key, fits bool, problem string) bool {
	on := r.Bool(key)
	if on && !fits && r.Says(key) {
		r.Reject(key, "%s", problem)
	}
	return on && (fits || r.Says(key))
}

// ErrUnprotected is returned instead of creating a load balancer that would be more open or less encrypted than its owner asked for.
var ErrUnprotected = errors.New("no load balancer was created, because it would be more open than asked for")

// AllPublic is what to do about annotations that ask for what the platform does not have.
const AllPublic = "every load balancer of this platform has a public address, so restrict access by spec.loadBalancerSourceRanges, and correct or remove these annotations"

// MayCreate returns an error if no load balancer may be created for the Service.
func (r Reading) MayCreate() error {
	if len(r.Unprotected) == 0 {
		return nil
	}
	reasons := make([]string, 0, len(r.refusals))
	for _, refusal := range r.refusals {
		reasons = append(reasons, refusal.String())
	}
	return fmt.Errorf("%w: %s; %s", ErrUnprotected, strings.Join(reasons, "; "), AllPublic)
}
