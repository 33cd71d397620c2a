package plan

import (
	"fmt"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Difference is a setting that is not as asked for.
type Difference struct {
	// Field is the setting, in the platform's word.
	Field string `json:"field"`
	// Is and Wanted are its values, in words.
	Is     string `json:"is"`
	Wanted string `json:"wanted"`
}

// String says both values.
func (d Difference) String() string {
	return fmt.Sprintf("%s: is %s, is to be %s", d.Field, orNone(d.Is), orNone(d.Wanted))
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// Differences returns what a change would make of a load balancer, field by field. Instances are called by the names of their nodes.
func Differences(lb vultr.LoadBalancer, change Change, names map[string]string) []Difference {
	var all []Difference
	for _, field := range change.Fields {
		is, wanted := values(field, lb, change.Settings, names)
		all = append(all, Difference{field, is, wanted})
	}
	return all
}

// values returns what a setting is and what it is to be.
func values(field string, lb vultr.LoadBalancer, s vultr.LoadBalancerSettings, names map[string]string) (is, wanted string) {
	switch field {
	case "health_check":
		return check(lb.HealthCheck), each(s.HealthCheck, check)
	case "forwarding_rules":
		return list(lb.Rules, RuleText), each(s.Rules, func(all []vultr.ForwardingRule) string { return list(all, RuleText) })
	case "firewall_rules":
		return list(lb.Firewall, admitted), each(s.Firewall, func(all []vultr.FirewallRule) string { return list(all, admitted) })
	case "auto_ssl":
		return autoCertificate(lb.AutoSSL), each(s.AutoSSL, autoCertificate)
	case "global_regions":
		return list(lb.GlobalRegions, regionText), each(s.GlobalRegions, func(all []vultr.GlobalRegion) string { return list(all, regionText) })
	case "instances":
		named := func(id string) string { return backend(id, names) }
		return list(lb.Instances, named), each(s.Instances, func(all []string) string { return list(all, named) })
	}
	return plainValues(field, lb, s)
}

func plainValues(field string, lb vultr.LoadBalancer, s vultr.LoadBalancerSettings) (is, wanted string) {
	switch field {
	case "label":
		return both(lb.Label, s.Label)
	case "nodes":
		return both(lb.Nodes, s.Nodes)
	case "balancing_algorithm":
		return both(lb.Algorithm, s.Algorithm)
	case "timeout":
		return both(lb.Timeout, s.Timeout)
	case "ssl_redirect":
		return both(lb.SSLRedirect, s.SSLRedirect)
	case "proxy_protocol":
		return both(lb.ProxyProtocol, s.ProxyProtocol)
	case "http2":
		return both(lb.HTTP2, s.HTTP2)
	case "http3":
		return both(lb.HTTP3, s.HTTP3)
	case "vpc":
		return both(lb.VPC, s.VPC)
	case "sticky_session":
		return both(lb.StickyCookie, s.StickyCookie)
	}
	return "", "" // the name alone says it
}

func both[T any](is T, wanted *T) (string, string) {
	return fmt.Sprint(is), each(wanted, func(v T) string { return fmt.Sprint(v) })
}

// each returns the text of a value that is there.
func each[T any](value *T, text func(T) string) string {
	if value == nil {
		return ""
	}
	return text(*value)
}

func list[T any](all []T, text func(T) string) string {
	texts := make([]string, 0, len(all))
	for _, one := range all {
		texts = append(texts, text(one))
	}
	return strings.Join(texts, ", ")
}

// RuleText says what a port does: "https 443 -> http 31080".
func RuleText(r vultr.ForwardingRule) string {
	return fmt.Sprintf("%s %d -> %s %d", r.FrontendProtocol, r.FrontendPort, r.BackendProtocol, r.BackendPort)
}

func admitted(r vultr.FirewallRule) string { return fmt.Sprintf("%s to %d", r.Source, r.Port) }

func regionText(r vultr.GlobalRegion) string {
	if r.VPC == "" {
		return r.Region
	}
	return r.Region + " in VPC " + r.VPC
}

// autoCertificate names the domain of a certificate that the platform issues.
func autoCertificate(a vultr.AutoSSL) string { return strings.TrimPrefix(a.Sub+"."+a.Zone, ".") }

func check(hc vultr.HealthCheck) string {
	if hc == (vultr.HealthCheck{}) {
		return ""
	}
	return fmt.Sprintf("%s %d%s every %ds within %ds, out after %d, in after %d", hc.Protocol, hc.Port, hc.Path, hc.CheckInterval, hc.ResponseTimeout,
		hc.UnhealthyThreshold, hc.HealthyThreshold)
}

// backend names an instance by its node, if it is one.
func backend(id string, names map[string]string) string {
	if name := names[strings.ToLower(id)]; name != "" {
		return name
	}
	return id
}
