package plan_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The rules of a ConfigMap count as those of the annotation do. One that is missing, malformed or says nothing opens nothing.
func TestReadFirewallMap(t *testing.T) {
	fw := func(port int, source string) vultr.FirewallRule {
		return vultr.FirewallRule{Port: port, Source: source, IPType: "v4"}
	}
	missing := errors.New("there is none")
	tests := map[string]struct {
		service *v1.Service
		option  plan.Option
		want    []vultr.FirewallRule
		fault   string
		refused bool
	}{
		"rules":                 {service(with(settings.FirewallRulesCM, "office")), plan.WithFirewallText("10.0.0.0/8,80;cloudflare,443", nil), []vultr.FirewallRule{fw(80, "10.0.0.0/8"), fw(443, "cloudflare")}, "", false},
		"one a line":            {service(with(settings.FirewallRulesCM, "office")), plan.WithFirewallText("10.0.0.0/8,80\r\ncloudflare,443;\n\n", nil), []vultr.FirewallRule{fw(80, "10.0.0.0/8"), fw(443, "cloudflare")}, "", false},
		"beside the annotation": {service(with(settings.FirewallRulesCM, "office"), with(settings.FirewallRules, "10.0.0.0/8,80")), plan.WithFirewallText("10.0.0.0/8,80;cloudflare,443", nil), []vultr.FirewallRule{fw(80, "10.0.0.0/8"), fw(443, "cloudflare")}, "", false},
		"missing":               {service(with(settings.FirewallRulesCM, "office")), plan.WithFirewallText("", missing), nil, `ConfigMap "office": there is none`, false},
		"missing, but ranges":   {service(with(settings.FirewallRulesCM, "office"), with(settings.FirewallRules, "10.0.0.0/8,80")), plan.WithFirewallText("", missing), []vultr.FirewallRule{fw(80, "10.0.0.0/8")}, "there is none", false},
		"no rule":               {service(with(settings.FirewallRulesCM, "office")), plan.WithFirewallText(" ;\n", nil), nil, "key firewallRules has no rule", false},
		"a malformed rule":      {service(with(settings.FirewallRulesCM, "office")), plan.WithFirewallText("10.0.0.0/8,80;10.0.0.1,443", nil), nil, `"10.0.0.1,443" is not`, false},
		"a malformed name":      {service(with(settings.FirewallRulesCM, "other/office")), plan.WithFirewallText("10.0.0.0/8,80", nil), nil, "must be the name of a ConfigMap", false},
		"nobody has read it":    {service(with(settings.FirewallRulesCM, "office")), plan.WithDefaults(settings.Defaults{}), nil, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service, tt.option, defaults(t, map[string]string{"firewall-rules": "0.0.0.0/0,80"}))
			if diff := cmp.Diff(tt.want, got.Desired.Firewall); diff != "" {
				t.Error(diff)
			}
			if (got.Err != nil) != (tt.fault != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.fault) {
				t.Errorf("fault %v, want %q", got.Err, tt.fault)
			}
			if refused := got.MayCreate() != nil; refused != tt.refused {
				t.Errorf("a new load balancer is refused: %v", refused)
			}
			if open := !got.Desired.KeepFirewall; open != (tt.fault == "" && !tt.refused) {
				t.Errorf("the firewall is changed: %v", open)
			}
		})
	}
	if got := plan.Read(service(), plan.WithFirewallText("", missing)); got.Err != nil || got.Inputs != "" || got.Desired.KeepFirewall {
		t.Errorf("a Service that names none is read as one with: %+v", got)
	}
	if one, other := plan.Read(service(with(settings.FirewallRulesCM, "a")), plan.WithFirewallText("10.0.0.0/8,80", nil)), plan.Read(service(with(settings.FirewallRulesCM, "a")), plan.WithFirewallText("11.0.0.0/8,80", nil)); one.Inputs == other.Inputs {
		t.Error("another text is no other input")
	}
}

// For which domain the platform is to issue a certificate. As long as that is not known, the present one is kept.
func TestReadAutoSSL(t *testing.T) {
	port := with(settings.HTTPSPorts, "443")
	secret := func(zone, sub string) plan.Option { return plan.WithAutoSSL(zone, sub, nil) }
	want := &vultr.AutoSSL{Zone: "example.com", Sub: "www"}
	tests := map[string]struct {
		service *v1.Service
		option  plan.Option
		want    *vultr.AutoSSL
		fault   string
		refused bool
	}{
		"a Secret":                {service(port, with(settings.AutoSSL, "domain")), secret(" example.com\n", "www"), want, "", false},
		"the domain itself":       {service(port, with(settings.AutoSSL, "domain")), secret("example.com", ""), &vultr.AutoSSL{Zone: "example.com"}, "", false},
		"annotations":             {service(port, with(settings.AutoSSLDomain, "example.com"), with(settings.AutoSSLSubdomain, "www")), secret("other.example", ""), want, "", false},
		"the Secret is missing":   {service(port, with(settings.AutoSSL, "domain")), plan.WithAutoSSL("", "", errors.New("there is none")), nil, `Secret "domain": there is none`, false},
		"the Secret says nothing": {service(port, with(settings.AutoSSL, "domain")), secret("", "www"), nil, "it has no key domainZone", false},
		"no domain in the Secret": {service(port, with(settings.AutoSSL, "domain")), secret("Example.com", ""), nil, `key domainZone: "Example.com" must be a host name`, false},
		"no name in the Secret":   {service(port, with(settings.AutoSSL, "domain")), secret("example.com", "a b"), nil, `key subDomain: "a b" must be a host name`, false},
		"a malformed name":        {service(port, with(settings.AutoSSL, "other/domain")), secret("example.com", ""), nil, "must be the name of a Secret", false},
		"a malformed domain":      {service(port, with(settings.AutoSSLDomain, "Example.com")), secret("", ""), nil, "must be a host name", false},
		"a subdomain of nothing":  {service(with(settings.AutoSSLSubdomain, "www")), secret("", ""), nil, "needs " + string(settings.AutoSSLDomain), false},
		"both ways":               {service(port, with(settings.AutoSSL, "domain"), with(settings.AutoSSLDomain, "example.com")), secret("example.com", ""), nil, "keep one way", false},
		"beside a certificate":    {service(port, with(settings.AutoSSLDomain, "example.com"), with(settings.AutoSSLSubdomain, "www"), with(settings.SSL, "tls")), secret("", ""), want, "the platform is to issue one as well", false},
		"nobody has read it":      {service(port, with(settings.AutoSSL, "domain")), plan.WithDefaults(settings.Defaults{}), nil, "", true},
		"not asked for":           {service(), secret("example.com", ""), nil, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service, tt.option)
			if diff := cmp.Diff(tt.want, got.Desired.AutoSSL); diff != "" {
				t.Error(diff)
			}
			if (got.Err != nil) != (tt.fault != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.fault) {
				t.Errorf("fault %v, want %q", got.Err, tt.fault)
			}
			if refused := got.MayCreate() != nil; refused != tt.refused {
				t.Errorf("a new load balancer is refused: %v", refused)
			}
			asked := tt.service.Annotations[string(settings.AutoSSL)]+tt.service.Annotations[string(settings.AutoSSLDomain)] != ""
			if kept := got.Desired.KeepTLS; kept != (asked && tt.want == nil) {
				t.Errorf("the certificate is kept: %v", kept)
			}
		})
	}
	if got := plan.Read(service(with(settings.AutoSSLDomain, "example.com"))); got.Err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "no port is https") {
		t.Errorf("err %v, warnings %q", got.Err, got.Warnings)
	}
	one, other := plan.Read(service(port, with(settings.AutoSSL, "domain")), secret("example.com", "a")), plan.Read(service(port, with(settings.AutoSSL, "domain")), secret("example.com", "b"))
	if one.Inputs == other.Inputs {
		t.Error("another domain is no other input")
	}
}

// Nothing is said of objects that nobody could look at, and what they decide stays as it is; one that somebody has read counts.
func TestUnreadReferences(t *testing.T) {
	tests := map[string]struct {
		service *v1.Service
		given   plan.Option
	}{
		"firewall rules": {service(with(settings.FirewallRulesCM, "office")), plan.WithFirewallMap(&v1.ConfigMap{Data: map[string]string{"firewallRules": "everybody,80"}}, nil)},
		"a certificate":  {service(with(settings.HTTPSPorts, "443"), with(settings.AutoSSL, "domain")), plan.WithAutoSSLSecret(&v1.Secret{}, nil)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service, plan.WithUnreadReferences())
			if got.Err != nil || len(got.Warnings) > 0 || got.MayCreate() != nil || got.Inputs != "" {
				t.Errorf("it says %v, %q, %v", got.Err, got.Warnings, got.MayCreate())
			}
			if d := got.Desired; !d.KeepFirewall && !d.KeepTLS || d.Firewall != nil || d.AutoSSL != nil {
				t.Errorf("it would change %+v", d)
			}
			if got := plan.Read(tt.service, plan.WithUnreadReferences(), tt.given); got.Err == nil {
				t.Error("what was read is not judged")
			}
		})
	}
}

// What ConfigMaps and Secrets say, and what is wrong with one that says nothing.
func TestObjectsThatAreNamed(t *testing.T) {
	rules := service(with(settings.FirewallRulesCM, "office"))
	found := &v1.ConfigMap{Data: map[string]string{"firewallRules": "10.0.0.0/8,80"}}
	if got := plan.Read(rules, plan.WithFirewallMap(found, nil)); got.Err != nil || len(got.Desired.Firewall) != 1 {
		t.Errorf("%+v, %v", got.Desired.Firewall, got.Err)
	}
	for text, option := range map[string]plan.Option{
		"it has no key firewallRules": plan.WithFirewallMap(&v1.ConfigMap{Data: map[string]string{"rules": "10.0.0.0/8,80"}}, nil),
		"there is none":               plan.WithFirewallMap(found, errors.New("there is none")),
	} {
		if got := plan.Read(rules, option); got.Err == nil || !strings.Contains(got.Err.Error(), text) || got.Desired.Firewall != nil {
			t.Errorf("%+v, %v; want %q", got.Desired.Firewall, got.Err, text)
		}
	}
	domain := service(with(settings.HTTPSPorts, "443"), with(settings.AutoSSL, "domain"))
	secret := &v1.Secret{Data: map[string][]byte{"domainZone": []byte("example.com"), "subDomain": []byte("www")}}
	if got := plan.Read(domain, plan.WithAutoSSLSecret(secret, nil)); got.Err != nil || got.Desired.AutoSSL == nil || *got.Desired.AutoSSL != (vultr.AutoSSL{Zone: "example.com", Sub: "www"}) {
		t.Errorf("%+v, %v", got.Desired.AutoSSL, got.Err)
	}
	if got := plan.Read(domain, plan.WithAutoSSLSecret(secret, errors.New("there is none"))); got.Err == nil || got.Desired.AutoSSL != nil {
		t.Errorf("a Secret that could not be read: %+v", got.Desired.AutoSSL)
	}
}
