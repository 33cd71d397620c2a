package settings_test

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

const beta = "service.beta.kubernetes.io/"

func TestInspect(t *testing.T) {
	type want struct {
		refused bool
		meant   settings.Key
		text    string
	}
	// nil stands for an annotation that is none of our business or asks for nothing.
	refused := func(meant settings.Key) *want { return &want{refused: true, meant: meant} }
	warned := func(meant settings.Key) *want { return &want{meant: meant} }
	cloud := func(name string) *want { return &want{refused: true, text: name} }
	tests := []struct {
		key, value string
		want       *want
	}{
		// Words that mean "less open", below our prefix.
		{settings.Prefix + "internal", "true", refused("")},
		{settings.Prefix + "internal", "false", warned("")},
		{settings.Prefix + "internal-only", "yes", refused("")},
		{settings.Prefix + "type", "Internal", refused("")},
		{settings.Prefix + "type", "external", warned("")},
		{settings.Prefix + "scheme", "private", refused("")},
		{settings.Prefix + "private", "1", refused("")},
		{settings.Prefix + "allow", "10.0.0.0/8", refused("")},
		{settings.Prefix + "allowed-cidrs", "10.0.0.0/8", refused("")},
		{settings.Prefix + "deny", "false", refused("")},
		{settings.Prefix + "deny", "", warned("")},
		{settings.Prefix + "acl", "office", refused("")},
		{settings.Prefix + "whitelist", "10.0.0.0/8", refused("")},
		{settings.Prefix + "source-ranges", "10.0.0.0/8", refused("")},
		{settings.Prefix + "access-control", "on", refused("")},
		{settings.Prefix + "public", "false", refused("")},
		{settings.Prefix + "public", "true", warned("")},
		{settings.Prefix + "tls", "shop-tls", refused("")},
		{settings.Prefix + "ssl-ciphers", "modern", refused("")},
		{settings.Prefix + "colour", "blue", warned("")},
		{settings.Prefix + "tlsx", "x", warned("")},

		// Misspellings, wrong case, wrong separators, wrong prefixes.
		{settings.Prefix + "firewall-rule", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{settings.Prefix + "firewal-rulse", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{settings.Prefix + "firewall_rules", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{settings.Prefix + "Firewall-Rules", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{settings.Prefix + "firewallrules-cm", "cm", refused(settings.FirewallRulesCM)},
		{settings.Prefix + "VPC", "true", refused(settings.VPC)},
		{settings.Prefix + "VPC", "False", warned(settings.VPC)},
		{settings.Prefix + "vcp", "true", refused(settings.VPC)},
		{settings.Prefix + "ssl-redirct", "true", refused(settings.SSLRedirect)},
		{settings.Prefix + "ssl-redirct", "false", warned(settings.SSLRedirect)},
		{settings.Prefix + "sll", "tls", refused(settings.SSL)},
		{settings.Prefix + "https-port", "443", refused(settings.HTTPSPorts)},
		{settings.Prefix + "protcol", "https", refused(settings.Protocol)},
		{settings.Prefix + "protcol", "http", warned(settings.Protocol)},
		{settings.Prefix + "creat", "false", refused(settings.Create)},
		{settings.Prefix + "creat", "true", warned(settings.Create)},
		{settings.Prefix + "lable", "web", warned(settings.Label)},
		{settings.Prefix + "proxyprotocol", "true", warned(settings.ProxyProtocol)},
		{beta + "vultr-load-balancer-firewall-rules", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{beta + "vultr-loadbalncer-firewall-rules", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{beta + "vultr-lb-internal", "true", refused("")},
		{beta + "vultr-firewall-rules", "10.0.0.0/8,80", refused(settings.FirewallRules)},
		{"service.kubernetes.io/vultr-loadbalancer-ssl", "tls", refused(settings.SSL)},
		{"vultr.com/loadbalancer-internal", "true", refused("")},
		{"kubernetes.vultr.com/load-balancer-algorithm", "leastconn", warned(settings.Algorithm)},
		{"Service.beta.kubernetes.io/vultr-LoadBalancer-ssl", "tls", refused(settings.SSL)},

		// Other clouds.
		{beta + "aws-load-balancer-internal", "true", cloud("AWS")},
		{beta + "aws-load-balancer-internal", "0.0.0.0/0", cloud("AWS")},
		{beta + "aws-load-balancer-internal", "false", nil},
		{beta + "aws-load-balancer-scheme", "internal", cloud("AWS")},
		{beta + "aws-load-balancer-scheme", "internet-facing", nil},
		{beta + "aws-load-balancer-type", "nlb", nil},
		{beta + "aws-load-balancer-access-log-enabled", "true", nil},
		{beta + "aws-load-balancer-ssl-cert", "arn", nil},
		{"networking.gke.io/load-balancer-type", "Internal", cloud("Google Cloud")},
		{"networking.gke.io/load-balancer-type", "External", nil},
		{"Networking.GKE.io/load-balancer-type", "internal", cloud("Google Cloud")},
		{"cloud.google.com/load-balancer-type", "Internal", cloud("Google Cloud")},
		{beta + "azure-load-balancer-internal", "true", cloud("Azure")},
		{beta + "azure-load-balancer-resource-group", "internal", nil},
		{beta + "do-loadbalancer-network", "INTERNAL", cloud("DigitalOcean")},
		{beta + "do-loadbalancer-network", "EXTERNAL", nil},
		{beta + "do-loadbalancer-allow-rules", "cidr:10.0.0.0/8", cloud("DigitalOcean")},
		{"load-balancer.hetzner.cloud/disable-public-network", "true", cloud("Hetzner")},
		{"load-balancer.hetzner.cloud/use-private-ip", "true", nil},
		{beta + "openstack-internal-load-balancer", "true", cloud("OpenStack")},
		{beta + "linode-loadbalancer-firewall-acl", "{}", cloud("Linode")},
		{beta + "oci-load-balancer-internal", "true", cloud("Oracle Cloud")},
		{"service.example.com/load-balancer-internal", "true", refused("")},
		{"service.example.com/loadbalancer-scheme", "internal", refused("")},
		{beta + "loadbalancer-source-ranges", "10.0.0.0/8", refused("")},

		// None of our business.
		{beta + "load-balancer-source-ranges", "10.0.0.0/8", nil},
		{"external-dns.alpha.kubernetes.io/internal-hostname", "web.internal", nil},
		{"kubectl.kubernetes.io/last-applied-configuration", "{}", nil},
		{"metallb.universe.tf/allow-shared-ip", "web", nil},
		{"example.com/private", "true", nil},

		// Ours.
		{string(settings.Protocol), "gopher", nil},
		{string(settings.AllowAdoption), "x", nil},
		{string(settings.SSLLastUpdated), "now", nil},
		{string(settings.VPC), "true", nil},
		{string(settings.VPC), "maybe", nil},
		{string(settings.PrivateNetwork), "", nil},
		{string(settings.AutoSSL), "", nil},
		{string(settings.AutoSSL), "secret", nil},
		{string(settings.FirewallRulesCM), "office", nil},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			got := settings.Inspect(map[string]string{tt.key: tt.value})
			if tt.want == nil {
				if len(got) > 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("%d findings", len(got))
			}
			f := got[0]
			if f.Protects != tt.want.refused || f.Meant != tt.want.meant || string(f.Key) != tt.key || !strings.Contains(f.Problem, tt.want.text) {
				t.Errorf("got %+v, want %+v", f, tt.want)
			}
			if f.Meant != "" && !strings.Contains(f.Problem, string(f.Meant)) {
				t.Errorf("%q does not name %s", f.Problem, f.Meant)
			}
		})
	}
}
