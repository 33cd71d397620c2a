package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

var update = flag.Bool("update", false, "write the golden file instead of comparing it")

// wire is an API that writes down what it is sent.
type wire struct {
	*vultr.Client
	sent *[]string
}

func newWire(t *testing.T) wire {
	t.Helper()
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		line := r.Method + " " + strings.Replace(r.URL.Path, idA, "ID", 1)
		if len(body) > 0 {
			var compact bytes.Buffer
			if err := json.Compact(&compact, body); err != nil {
				t.Errorf("%s: %v", body, err)
			}
			line += " " + compact.String()
		}
		sent = append(sent, line)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	api, err := vultr.New(vultr.Config{BaseURL: server.URL, Key: "key", StartRate: 1e4, MaxRate: 1e4})
	if err != nil {
		t.Fatal(err)
	}
	return wire{Client: api, sent: &sent}
}

// bring changes a load balancer to what is wanted, and returns it and what was sent for that.
func (w wire) bring(t *testing.T, lb vultr.LoadBalancer, want plan.Desired) (vultr.LoadBalancer, []string) {
	t.Helper()
	*w.sent = nil
	change := plan.Diff(lb, want)
	if want.TLSSecret != "" && !lb.HasSSL {
		change.Fields = append(change.Fields, "ssl")
		change.Settings.Certificate = &vultr.Certificate{PrivateKey: "KEY", Certificate: "CERT", Chain: "CHAIN"}
	}
	if !change.Empty() {
		if err := w.UpdateLoadBalancer(t.Context(), idA, change.Settings); err != nil {
			t.Fatal(err)
		}
	}
	if want.AutoSSL == nil && lb.AutoSSL != (vultr.AutoSSL{}) {
		if err := w.DeleteAutoSSL(t.Context(), idA); err != nil {
			t.Fatal(err)
		}
		lb.AutoSSL = vultr.AutoSSL{}
	}
	if want.TLSSecret == "" && want.AutoSSL == nil && lb.HasSSL {
		if err := w.DeleteCertificate(t.Context(), idA); err != nil {
			t.Fatal(err)
		}
	}
	lb = applied(lb, change.Settings)
	lb.HasSSL = want.TLSSecret != "" || want.AutoSSL != nil
	return lb, *w.sent
}

// TestGoldenPatches sets, clears and sets again each setting of a load balancer and compares what is sent for it with a
// file. After a change that is meant: go test ./pkg/cloud/plan -run Golden -update.
func TestGoldenPatches(t *testing.T) {
	tls := []func(*v1.Service){with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")}
	cases := []struct {
		name string
		base []func(*v1.Service)
		set  []func(*v1.Service)
	}{
		{"label", nil, []func(*v1.Service){with(settings.Label, "shop")}},
		{"protocol", nil, []func(*v1.Service){with(settings.Protocol, "http")}},
		{"ports", nil, []func(*v1.Service){ports(v1.ServicePort{Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP}, v1.ServicePort{Port: 53, NodePort: 30054})}},
		{"https-ports and ssl", nil, tls},
		{"auto-ssl-domain and auto-ssl-subdomain", nil, []func(*v1.Service){
			with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.AutoSSLDomain, "example.com"), with(settings.AutoSSLSubdomain, "www"),
		}},
		{"backend-protocol", tls, []func(*v1.Service){with(settings.BackendProtocol, "http")}},
		{"port-protocols", nil, []func(*v1.Service){with(settings.PortProtocols, "80=http,443=https/http"), with(settings.SSL, "tls")}},
		{"app-protocol", []func(*v1.Service){speaks("http", "kubernetes.io/ws")}, []func(*v1.Service){with(settings.AppProtocol, "true")}},
		{"ssl-pass-through", []func(*v1.Service){with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")}, []func(*v1.Service){with(settings.SSLPassThrough, "true")}},
		{"ssl-redirect", tls, []func(*v1.Service){with(settings.SSLRedirect, "true")}},
		{"http2", tls, []func(*v1.Service){with(settings.HTTP2, "true")}},
		{"http3", append(tls, with(settings.HTTP2, "true")), []func(*v1.Service){with(settings.HTTP3, "true")}},
		{"proxy-protocol", nil, []func(*v1.Service){with(settings.ProxyProtocol, "true")}},
		{"algorithm", nil, []func(*v1.Service){with(settings.Algorithm, "least_connections")}},
		{"sticky-session", tls, []func(*v1.Service){with(settings.StickySessionEnabled, "on"), with(settings.StickySessionCookieName, "route")}},
		{"timeout", nil, []func(*v1.Service){with(settings.Timeout, "30")}},
		{"node-count", nil, []func(*v1.Service){with(settings.NodeCount, "3")}},
		{"healthcheck-protocol", nil, []func(*v1.Service){with(settings.HealthCheckProtocol, "https")}},
		{"healthcheck-port", nil, []func(*v1.Service){with(settings.HealthCheckPort, "443")}},
		{"healthcheck-path", nil, []func(*v1.Service){with(settings.HealthCheckPath, "/ok")}},
		{"healthcheck-kube-proxy", nil, []func(*v1.Service){with(settings.HealthCheckKubeProxy, "true")}},
		{"healthcheck-check-interval", nil, []func(*v1.Service){with(settings.HealthCheckInterval, "3")}},
		{"healthcheck-response-timeout", nil, []func(*v1.Service){with(settings.HealthCheckTimeout, "2")}},
		{"healthcheck-unhealthy-threshold", nil, []func(*v1.Service){with(settings.HealthCheckUnhealthy, "4")}},
		{"healthcheck-healthy-threshold", nil, []func(*v1.Service){with(settings.HealthCheckHealthy, "6")}},
		{"firewall-rules", nil, []func(*v1.Service){with(settings.FirewallRules, "10.0.0.0/8,80;cloudflare,443")}},
		{"firewall-rules-cm", nil, []func(*v1.Service){with(settings.FirewallRulesCM, "office")}},
		{"vpc", nil, []func(*v1.Service){with(settings.VPC, idB)}},
		{"private-network", nil, []func(*v1.Service){with(settings.PrivateNetwork, idB)}},
		{"loadBalancerSourceRanges", nil, []func(*v1.Service){func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "2001:db8::/32"} }}},
		{"externalTrafficPolicy", nil, []func(*v1.Service){func(s *v1.Service) {
			s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
		}}},
	}
	api := newWire(t)
	var golden strings.Builder
	read := func(change ...func(*v1.Service)) plan.Desired {
		reading := plan.Read(service(change...), plan.WithFirewallText("10.0.0.0/8,80;cloudflare,443", nil))
		if reading.Err != nil {
			t.Fatal(reading.Err)
		}
		if reading.Desired.Label == "" {
			reading.Desired.Label = "default"
		}
		return reading.Desired
	}
	steps := func(name string, off, on plan.Desired) {
		lb, _ := api.bring(t, vultr.LoadBalancer{}, off)
		fmt.Fprintf(&golden, "# %s\n", name)
		var first []string
		for i, step := range []struct {
			word string
			want plan.Desired
		}{{"set", on}, {"clear", off}, {"set", on}} {
			var sent []string
			lb, sent = api.bring(t, lb, step.want)
			if rest := plan.Diff(lb, step.want); len(sent) == 0 || !rest.Empty() {
				t.Errorf("%s: %d calls to %s it, %v still differs", name, len(sent), step.word, rest.Fields)
			}
			switch i {
			case 0:
				first = sent
			case 2:
				if diff := cmp.Diff(first, sent); diff != "" {
					t.Errorf("%s: set again is not the same: %s", name, diff)
				}
				continue
			}
			for _, line := range sent {
				fmt.Fprintf(&golden, "%s: %s\n", step.word, line)
			}
		}
	}
	for _, c := range cases {
		steps(c.name, read(c.base...), read(append(append([]func(*v1.Service){}, c.base...), c.set...)...))
	}
	on := read()
	on.Instances = []string{idB, idA}
	steps("instances", read(), on)
	nowhere := read()
	nowhere.GlobalRegions = &[]vultr.GlobalRegion{} // as the controller asks for it when the Service does not name any more
	steps("global-regions", nowhere, read(with(settings.GlobalRegions, "fra,ams="+idB)))

	const file = "testdata/patches.golden"
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(golden.String(), "\n")); diff != "" {
		t.Errorf("what is sent has changed (-want +got):\n%s", diff)
	}
	// Every setting that is about the load balancer itself is among them.
	elsewhere := []settings.Key{ // which decide about the Service, its status or its nodes, and are sent to nobody
		settings.ID, settings.Create, settings.Hostname, settings.IPMode, settings.Retain, settings.Disown, settings.DeletionProtection, settings.NodeSelector,
	}
	for _, s := range settings.All() {
		if s.Support != settings.Supported || slices.Contains(elsewhere, s.Key) {
			continue
		}
		if name := strings.TrimSuffix(strings.TrimSuffix(s.Name(), "-enabled"), "-cookie-name"); !strings.Contains(string(want), name) {
			t.Errorf("%s is not tested", s.Name())
		}
	}
}
