package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Change is what has to be sent to a load balancer.
type Change struct {
	// Settings holds only what differs.
	Settings vultr.LoadBalancerSettings
	// Fields names what differs, in the words of the platform. It is empty when nothing has to be sent.
	Fields []string
}

// Empty reports whether the load balancer is as desired.
func (c Change) Empty() bool { return len(c.Fields) == 0 }

// Diff compares a load balancer with what is desired. The certificate is not compared: the platform never shows it.
func Diff(current vultr.LoadBalancer, want Desired) Change {
	var c Change
	s := &c.Settings
	if want.Label != "" {
		s.Label = differs(&c, "label", current.Label, want.Label)
	}
	s.Nodes = differs(&c, "nodes", current.Nodes, want.Nodes)
	s.Algorithm = differs(&c, "balancing_algorithm", current.Algorithm, want.Algorithm)
	s.Timeout = differs(&c, "timeout", current.Timeout, want.Timeout)
	if !want.KeepSSLRedirect {
		s.SSLRedirect = differs(&c, "ssl_redirect", current.SSLRedirect, want.SSLRedirect)
	}
	s.ProxyProtocol = differs(&c, "proxy_protocol", current.ProxyProtocol, want.ProxyProtocol)
	s.HTTP2 = differs(&c, "http2", current.HTTP2, want.HTTP2)
	s.HTTP3 = differs(&c, "http3", current.HTTP3, want.HTTP3)
	s.StickyCookie = differs(&c, "sticky_session", current.StickyCookie, want.StickyCookie)
	s.HealthCheck = differs(&c, "health_check", comparableCheck(current.HealthCheck), comparableCheck(want.HealthCheck))
	if !want.KeepRules {
		s.Rules = differsAsSet(&c, "forwarding_rules", current.Rules, want.Rules, SortRules)
	}
	if !want.KeepFirewall {
		s.Firewall = differsAsSet(&c, "firewall_rules", comparableFirewall(current.Firewall), want.Firewall, SortFirewall)
	}
	if !want.KeepInstances {
		s.Instances = differsAsSet(&c, "instances", current.Instances, want.Instances, slices.Sort)
	}
	networks(&c, current, want)
	return c
}

// Upkeep returns what of a change follows from nodes and certificates, and not from the settings of the Service.
func (c Change) Upkeep(want Desired) Change {
	kept := Change{Settings: vultr.LoadBalancerSettings{Instances: c.Settings.Instances, Certificate: c.Settings.Certificate}}
	if want.VPCOfNodes {
		kept.Settings.VPC = c.Settings.VPC
	}
	for _, field := range c.Fields {
		if field == "instances" || field == "ssl" || field == "vpc" && want.VPCOfNodes {
			kept.Fields = append(kept.Fields, field)
		}
	}
	return kept
}

// networks compares where the load balancer is, and the certificate that the platform issues for it.
func networks(c *Change, current vultr.LoadBalancer, want Desired) {
	s := &c.Settings
	if want.VPC != nil {
		s.VPC = differs(c, "vpc", current.VPC, *want.VPC)
	}
	if want.AutoSSL != nil && *want.AutoSSL != (vultr.AutoSSL{}) {
		s.AutoSSL = differs(c, "auto_ssl", comparableAutoSSL(current.AutoSSL), comparableAutoSSL(*want.AutoSSL))
	}
	if want.GlobalRegions != nil {
		s.GlobalRegions = differsAsSet(c, "global_regions", current.GlobalRegions, *want.GlobalRegions, sortRegions)
	}
}

// DiffBackends compares the backends alone, which follow the nodes even if the Service has faults.
func DiffBackends(current vultr.LoadBalancer, want Desired) Change {
	var c Change
	if !want.KeepInstances {
		c.Settings.Instances = differsAsSet(&c, "instances", current.Instances, want.Instances, slices.Sort)
	}
	return c
}

// Creation returns what is sent to create a load balancer: everything that differs from the platform's zero values.
func Creation(want Desired) vultr.LoadBalancerSettings {
	return Diff(vultr.LoadBalancer{}, want).Settings
}

func differs[T comparable](c *Change, field string, current, want T) *T {
	if current == want {
		return nil
	}
	c.Fields = append(c.Fields, field)
	return &want
}

func differsAsSet[T comparable](c *Change, field string, current, want []T, sort func([]T)) *[]T {
	current, want = slices.Clone(current), slices.Clone(want)
	sort(current)
	sort(want)
	if slices.Equal(current, want) {
		return nil
	}
	if want == nil {
		want = []T{} // the empty set has to be sent
	}
	c.Fields = append(c.Fields, field)
	return &want
}

// comparableCheck leaves out what the platform ignores: a check by tcp has no path, whatever was sent or is answered.
func comparableCheck(hc vultr.HealthCheck) vultr.HealthCheck {
	if hc.Protocol == "tcp" {
		hc.Path = ""
	}
	return hc
}

// comparableAutoSSL leaves out what the platform makes of the rest.
func comparableAutoSSL(a vultr.AutoSSL) vultr.AutoSSL {
	a.Domain = ""
	return a
}

func sortRegions(regions []vultr.GlobalRegion) {
	slices.SortFunc(regions, func(a, b vultr.GlobalRegion) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.VPC, b.VPC))
	})
}

// comparableFirewall returns the platform's rules in the spelling of ours.
func comparableFirewall(rules []vultr.FirewallRule) []vultr.FirewallRule {
	out := make([]vultr.FirewallRule, 0, len(rules))
	for _, rule := range rules {
		rule.Source = strings.ToLower(rule.Source)
		if prefix, err := netip.ParsePrefix(rule.Source); err == nil {
			rule = rangeRule(prefix, rule.Port)
		}
		out = append(out, rule)
	}
	return out
}
