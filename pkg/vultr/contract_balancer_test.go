package vultr_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// post makes what the client has no call for.
func post(ctx context.Context, t *testing.T, cloud *simtest.Cloud, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cloud.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := cloud.Client().Do(req)
	if resp = must(t, resp, err); resp.StatusCode >= 300 {
		t.Fatalf("POST %s: %s", path, resp.Status)
	}
	_ = resp.Body.Close() // nobody reads it
}

// Every setting of a load balancer can be made, taken away and made again, and nothing else changes with it.
func TestContractLoadBalancerSettings(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	vm := cloud.AddInstance(simulator.NewServer{Label: "w1", Region: "ewr"})
	post(ctx, t, cloud, "/v2/domains", `{"domain":"example.com"}`)
	vpc, err := c.CreateVPC(ctx, vultr.VPCRequest{Region: "ewr", Description: "net"})
	vpc = must(t, vpc, err)
	post(ctx, t, cloud, "/v2/instances/"+vm+"/vpcs/attach", `{"vpc_id":"`+vpc.ID+`"}`)
	label := "a1"
	https := []vultr.ForwardingRule{{FrontendProtocol: "https", FrontendPort: 443, BackendProtocol: "http", BackendPort: 31080}}
	lb, err := c.CreateLoadBalancer(ctx, "ewr", vultr.LoadBalancerSettings{
		Label: &label, Rules: &https, AutoSSL: &vultr.AutoSSL{Zone: "example.com", Sub: "www"},
	})
	lb = must(t, lb, err)
	base := settled(ctx, t, cloud, c, lb.ID)
	if base.AutoSSL.Domain != "www.example.com" || !base.HasSSL {
		t.Errorf("created with %+v", base)
	}
	for _, test := range balancerSettings(base, vm, vpc.ID) {
		var set string
		for range 2 {
			was := change(ctx, t, cloud, c, lb.ID, test.set)
			if set = fmt.Sprint(test.shown(was)); set == fmt.Sprint(test.shown(base)) {
				t.Errorf("%s: set to %s, as before", test.name, set)
			}
			if now := change(ctx, t, cloud, c, lb.ID, test.clear); fmt.Sprintf("%+v", now) != fmt.Sprintf("%+v", base) {
				t.Errorf("%s: cleared, got\n%+v, want\n%+v", test.name, now, base)
			}
		}
	}
	if err := c.DeleteAutoSSL(ctx, lb.ID); err != nil {
		t.Error(err)
	}
	// The certificate stays until it is taken away, and that until no rule needs it.
	if now := settled(ctx, t, cloud, c, lb.ID); now.AutoSSL != (vultr.AutoSSL{}) || !now.HasSSL {
		t.Errorf("without renewal: %+v", now)
	}
	change(ctx, t, cloud, c, lb.ID, settings{Rules: &[]vultr.ForwardingRule{}})
	if err := c.DeleteCertificate(ctx, lb.ID); err != nil {
		t.Error(err)
	}
	if now := settled(ctx, t, cloud, c, lb.ID); now.HasSSL || len(now.Rules) != 0 {
		t.Errorf("without a certificate: %+v", now)
	}
}

type settings = vultr.LoadBalancerSettings

// balancerSetting is one setting of a load balancer, made and taken away.
type balancerSetting struct {
	name       string
	set, clear settings
	shown      func(vultr.LoadBalancer) any
}

// balancerSettings are all of them but the certificates. What clears one gives what base has.
func balancerSettings(base vultr.LoadBalancer, vm, vpc string) []balancerSetting {
	label, rules := base.Label, base.Rules
	byHTTP, noPath := base.HealthCheck, base.HealthCheck
	byHTTP.Protocol, byHTTP.Path, byHTTP.CheckInterval, noPath.Path = "http", "/x", 20, ""
	return []balancerSetting{
		{"instances", settings{Instances: &[]string{vm}}, settings{Instances: &[]string{}}, func(l vultr.LoadBalancer) any { return l.Instances }},
		{
			"firewall",
			settings{Firewall: &[]vultr.FirewallRule{{Port: 443, Source: "10.0.0.0/8", IPType: "v4"}}},
			settings{Firewall: &[]vultr.FirewallRule{}},
			func(l vultr.LoadBalancer) any { return l.Firewall },
		},
		{
			"regions",
			settings{GlobalRegions: &[]vultr.GlobalRegion{{Region: "fra"}}},
			settings{GlobalRegions: &[]vultr.GlobalRegion{}},
			func(l vultr.LoadBalancer) any { return l.GlobalRegions },
		},
		{"vpc", settings{VPC: &vpc}, settings{VPC: new(string)}, func(l vultr.LoadBalancer) any { return l.VPC }},
		{"label", settings{Label: new("a2")}, settings{Label: &label}, func(l vultr.LoadBalancer) any { return l.Label }},
		{"health check", settings{HealthCheck: &byHTTP}, settings{HealthCheck: &base.HealthCheck}, func(l vultr.LoadBalancer) any { return l.HealthCheck }},
		{"health path", settings{HealthCheck: &byHTTP}, settings{HealthCheck: &noPath}, func(l vultr.LoadBalancer) any { return l.HealthCheck.Path }},
		{
			"rules",
			settings{Rules: &[]vultr.ForwardingRule{rules[0], {FrontendProtocol: "udp", FrontendPort: 53, BackendProtocol: "udp", BackendPort: 31053}}},
			settings{Rules: &rules},
			func(l vultr.LoadBalancer) any { return l.Rules },
		},
		{"cookie", settings{StickyCookie: &label}, settings{StickyCookie: new(string)}, func(l vultr.LoadBalancer) any { return l.StickyCookie }},
		{"proxy protocol", settings{ProxyProtocol: new(true)}, settings{ProxyProtocol: new(false)}, func(l vultr.LoadBalancer) any { return l.ProxyProtocol }},
		{"http2", settings{HTTP2: new(true)}, settings{HTTP2: new(false)}, func(l vultr.LoadBalancer) any { return l.HTTP2 }},
		{
			"http3",
			settings{HTTP2: new(true), HTTP3: new(true)},
			settings{HTTP2: new(false), HTTP3: new(false)},
			func(l vultr.LoadBalancer) any { return l.HTTP3 },
		},
		{"redirect", settings{SSLRedirect: new(true)}, settings{SSLRedirect: new(false)}, func(l vultr.LoadBalancer) any { return l.SSLRedirect }},
		{"nodes", settings{Nodes: new(3)}, settings{Nodes: new(1)}, func(l vultr.LoadBalancer) any { return l.Nodes }},
		{"algorithm", settings{Algorithm: new("leastconn")}, settings{Algorithm: new("roundrobin")}, func(l vultr.LoadBalancer) any { return l.Algorithm }},
		{"timeout", settings{Timeout: new(30)}, settings{Timeout: &base.Timeout}, func(l vultr.LoadBalancer) any { return l.Timeout }},
	}
}

// A certificate can be given, replaced and taken away. Its key is nowhere in what a refusal says.
func TestContractLoadBalancerCertificate(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	cert := certificate(t)
	https := []vultr.ForwardingRule{{FrontendProtocol: "https", FrontendPort: 443, BackendProtocol: "http", BackendPort: 31080}}
	lb, err := c.CreateLoadBalancer(ctx, "ewr", settings{Rules: &https, Certificate: &cert})
	lb = must(t, lb, err)
	if now := settled(ctx, t, cloud, c, lb.ID); !now.HasSSL || now.AutoSSL != (vultr.AutoSSL{}) {
		t.Errorf("created with %+v", now)
	}
	chained := cert
	chained.Chain = cert.Certificate
	change(ctx, t, cloud, c, lb.ID, settings{Certificate: &chained})
	wrong := cert
	wrong.PrivateKey = strings.Replace(cert.PrivateKey, "M", "N", 1)
	if err := c.UpdateLoadBalancer(ctx, lb.ID, settings{Certificate: &wrong}); !vultr.IsInvalid(err) || strings.Contains(err.Error(), "PRIVATE KEY") {
		t.Errorf("a key of another certificate: %v", err)
	}
	change(ctx, t, cloud, c, lb.ID, settings{Rules: &[]vultr.ForwardingRule{}})
	if err := c.DeleteCertificate(ctx, lb.ID); err != nil {
		t.Error(err)
	}
	if now := settled(ctx, t, cloud, c, lb.ID); now.HasSSL {
		t.Errorf("without a certificate: %+v", now)
	}
}

// certificate is that of a test server.
func certificate(t *testing.T) vultr.Certificate {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	key = must(t, key, err)
	return vultr.Certificate{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		PrivateKey:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
}

// change updates a load balancer and gives it as it is when it has settled.
func change(ctx context.Context, t *testing.T, cloud *simtest.Cloud, c *vultr.Client, id string, s vultr.LoadBalancerSettings) vultr.LoadBalancer {
	t.Helper()
	if err := c.UpdateLoadBalancer(ctx, id, s); err != nil {
		t.Fatal(err)
	}
	return settled(ctx, t, cloud, c, id)
}
