package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// cloudflare stands for all addresses of that network.
const cloudflare = "cloudflare"

// firewall reads who is admitted: the source ranges of the Service for each of its ports, and the rules of the annotation.
func (r *reader) firewall() {
	d := &r.out.Desired
	ranges, field := r.sourceRanges()
	var rules []vultr.FirewallRule
	for _, text := range ranges {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			r.Fail(fmt.Errorf("%s: %q is not an address range such as 203.0.113.0/24", field, text))
			continue
		}
		for _, rule := range d.Rules {
			rules = append(rules, rangeRule(prefix, rule.FrontendPort))
		}
	}
	if len(ranges) > 0 || r.States(settings.FirewallRules) || r.Says(settings.FirewallRulesCM) {
		// A default is for Services that say nothing; beside their own ranges it would admit more than they ask for.
		r.WithoutDefaults(settings.FirewallRules)
	}
	for _, source := range r.Sources(settings.FirewallRules) {
		rules = append(rules, sourceRule(source))
	}
	for _, source := range r.mappedSources() {
		rules = append(rules, sourceRule(source))
	}
	SortFirewall(rules)
	d.Firewall = slices.Compact(rules)
	d.FirewallStated = len(ranges) > 0 || len(rules) > 0 || r.States(settings.FirewallRules)
}

// FirewallMapKey is where a ConfigMap has firewall rules.
const FirewallMapKey = "firewallRules"

// mappedSources reads who is admitted by the ConfigMap that the Service names. A ConfigMap that is missing or says nothing
// opens nothing: the firewall is left as it is until people have decided.
func (r *reader) mappedSources() []settings.Source {
	d := &r.out.Desired
	d.FirewallConfigMap = r.Text(settings.FirewallRulesCM)
	if !r.Says(settings.FirewallRulesCM) {
		return nil
	}
	var sources []settings.Source
	var err error
	switch {
	case d.FirewallConfigMap == "":
		// Its name is malformed, which is a fault of its own.
	case r.firewallMap == nil && r.unread:
		// What is in it is somebody else's question.
	case r.firewallMap == nil:
		r.Refuse(settings.FirewallRulesCM, "names a ConfigMap that was not read")
	case r.firewallMap.err != nil:
		err = r.firewallMap.err
	default:
		r.out.Inputs += "\n" + r.firewallMap.text
		sources, err = settings.ParseSources(strings.NewReplacer("\r", "", "\n", ";").Replace(r.firewallMap.text))
		if err == nil && len(sources) == 0 {
			err = fmt.Errorf("key %s has no rule; to admit everybody remove the annotation", FirewallMapKey)
		}
	}
	if err != nil {
		r.Fail(fmt.Errorf("annotation %s: ConfigMap %q: %w", settings.FirewallRulesCM, d.FirewallConfigMap, err))
	}
	d.KeepFirewall = d.KeepFirewall || len(sources) == 0
	return sources
}

// sourceRanges returns the ranges and where they stand. The field wins over the old annotation, as everywhere in Kubernetes.
func (r *reader) sourceRanges() (ranges []string, field string) {
	if ranges := r.service.Spec.LoadBalancerSourceRanges; len(ranges) > 0 {
		return ranges, "spec.loadBalancerSourceRanges"
	}
	text := strings.TrimSpace(r.service.Annotations[v1.AnnotationLoadBalancerSourceRangesKey])
	if text == "" {
		return nil, ""
	}
	return strings.Split(text, ","), "annotation " + v1.AnnotationLoadBalancerSourceRangesKey
}

func sourceRule(source settings.Source) vultr.FirewallRule {
	if source.Cloudflare {
		return vultr.FirewallRule{Port: source.Port, Source: cloudflare, IPType: "v4"}
	}
	return rangeRule(source.Range, source.Port)
}

func rangeRule(prefix netip.Prefix, port int) vultr.FirewallRule {
	kind := "v4"
	if prefix.Addr().Is6() {
		kind = "v6"
	}
	return vultr.FirewallRule{Port: port, Source: prefix.Masked().String(), IPType: kind}
}

// SortFirewall puts rules into the one order in which they are compared.
func SortFirewall(rules []vultr.FirewallRule) {
	slices.SortFunc(rules, func(a, b vultr.FirewallRule) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.IPType, b.IPType), cmp.Compare(a.Source, b.Source))
	})
}

// SortRules puts rules into the one order in which they are compared.
func SortRules(rules []vultr.ForwardingRule) {
	slices.SortFunc(rules, func(a, b vultr.ForwardingRule) int {
		return cmp.Or(cmp.Compare(a.FrontendPort, b.FrontendPort), cmp.Compare(a.FrontendProtocol, b.FrontendProtocol),
			cmp.Compare(a.BackendPort, b.BackendPort), cmp.Compare(a.BackendProtocol, b.BackendProtocol))
	})
}
