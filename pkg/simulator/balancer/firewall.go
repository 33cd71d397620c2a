package balancer

import (
	"net/netip"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// firewall admits sources per port: the compiled form of a load balancer's firewall rules.
type firewall struct {
	any   bool // there are rules
	ports map[int][]netip.Prefix
}

// newFirewall leaves out sources that are neither a CIDR nor "cloudflare": the platform stores them, but they never
// match, a bare address included.
func newFirewall(rules []simulator.BalancerFirewallRule) firewall {
	f := firewall{any: len(rules) > 0, ports: map[int][]netip.Prefix{}}
	for _, rule := range rules {
		if rule.Source == "cloudflare" {
			f.ports[rule.Port] = append(f.ports[rule.Port], cloudflare...)
			continue
		}
		if prefix, err := netip.ParsePrefix(rule.Source); err == nil {
			f.ports[rule.Port] = append(f.ports[rule.Port], prefix.Masked())
		}
	}
	return f
}

// admits reports whether the source may use the port. Without any rule everybody may.
func (f firewall) admits(port int, source netip.Addr) bool {
	if !f.any {
		return true
	}
	return slices.ContainsFunc(f.ports[port], func(prefix netip.Prefix) bool { return prefix.Contains(source.Unmap()) })
}

// cloudflare is what the company publishes as its addresses at www.cloudflare.com/ips.
var cloudflare = prefixes(
	"173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "141.101.64.0/18", "108.162.192.0/18",
	"190.93.240.0/20", "188.114.96.0/20", "197.234.240.0/22", "198.41.128.0/17", "162.158.0.0/15", "104.16.0.0/13",
	"104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22",
	"2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32", "2405:8100::/32", "2a06:98c0::/29",
	"2c0f:f248::/32",
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
