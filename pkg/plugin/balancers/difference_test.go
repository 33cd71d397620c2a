package balancers_test

import (
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/balancers"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TestDifferences changes one setting of the load balancer after the other, and reads both of its values.
func TestDifferences(t *testing.T) {
	lb := func(change func(*vultr.LoadBalancer)) func(*balancers.Input) {
		return func(in *balancers.Input) { change(&in.LoadBalancers[0]) }
	}
	tests := map[string]struct {
		change func(*balancers.Input)
		want   string
	}{
		"timeout":   {lb(func(l *vultr.LoadBalancer) { l.Timeout = 17 }), "timeout: is 17, is to be 600"},
		"nodes":     {lb(func(l *vultr.LoadBalancer) { l.Nodes = 3 }), "nodes: is 3, is to be 1"},
		"algorithm": {lb(func(l *vultr.LoadBalancer) { l.Algorithm = "leastconn" }), "balancing_algorithm: is leastconn, is to be roundrobin"},
		"label":     {annotate(settings.Label, "web"), "label: is a1111111143b64d94b8f51c5c0e0a3c1, is to be web"},
		"proxy":     {lb(func(l *vultr.LoadBalancer) { l.ProxyProtocol = true }), "proxy_protocol: is true, is to be false"},
		"redirect":  {lb(func(l *vultr.LoadBalancer) { l.SSLRedirect = true }), "ssl_redirect: is true, is to be false"},
		"http2":     {lb(func(l *vultr.LoadBalancer) { l.HTTP2 = true }), "http2: is true, is to be false"},
		"http3":     {lb(func(l *vultr.LoadBalancer) { l.HTTP3 = true }), "http3: is true, is to be false"},
		"cookie":    {lb(func(l *vultr.LoadBalancer) { l.StickyCookie = "c" }), "sticky_session: is c, is to be none"},
		"check": {
			lb(func(l *vultr.LoadBalancer) { l.HealthCheck.CheckInterval = 3 }),
			"health_check: is tcp 31443 every 3s within 5s, out after 5, in after 5, is to be tcp 31443 every 15s within 5s, out after 5, in after 5",
		},
		"rules": {
			lb(func(l *vultr.LoadBalancer) { l.Rules = l.Rules[:1] }),
			"forwarding_rules: is tcp 80 -> tcp 31080, is to be tcp 80 -> tcp 31080, tcp 443 -> tcp 31443",
		},
		"certificate": {func(in *balancers.Input) {
			annotate(settings.HTTPSPorts, "443")(in)
			annotate(settings.AutoSSLDomain, "example.com")(in)
			want := plan.Read(in.Services[0]).Desired
			in.LoadBalancers[0].Rules, in.LoadBalancers[0].HealthCheck = want.Rules, want.HealthCheck
		}, "auto_ssl: is none, is to be example.com"},
		"firewall":  {annotate(settings.FirewallRules, "10.0.0.0/8,80"), "firewall_rules: is none, is to be 10.0.0.0/8 to 80"},
		"instances": {lb(func(l *vultr.LoadBalancer) { l.Instances = []string{first, lbID} }), "instances: is a, " + lbID + ", is to be a, b"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := balancers.Show(world(test.change))[0]
			if len(b.Differences) != 1 || b.Differences[0].String() != test.want {
				t.Errorf("got %q, want %q", b.Differences, test.want)
			}
		})
	}
}
