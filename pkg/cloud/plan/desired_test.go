package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// service makes a Service with TCP port 80 on node port 30080 and 443 on 30443.
func service(change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "6c8f4d0c-43b6-4d94-b8f5-1c5c0e0a3c11", Annotations: map[string]string{}},
		Spec: v1.ServiceSpec{
			Type: v1.ServiceTypeLoadBalancer,
			Ports: []v1.ServicePort{
				{Name: "http", Port: 80, NodePort: 30080, Protocol: v1.ProtocolTCP},
				{Name: "https", Port: 443, NodePort: 30443, Protocol: v1.ProtocolTCP},
			},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func with(key settings.Key, value string) func(*v1.Service) {
	return func(s *v1.Service) { s.Annotations[string(key)] = value }
}

func ports(ports ...v1.ServicePort) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.Ports = ports }
}

func rule(frontend string, port int, backend string, nodePort int) vultr.ForwardingRule {
	return vultr.ForwardingRule{FrontendProtocol: frontend, FrontendPort: port, BackendProtocol: backend, BackendPort: nodePort}
}

func TestReadDefaults(t *testing.T) {
	got := plan.Read(service())
	if got.Err != nil || len(got.Warnings) > 0 || len(got.Unprotected) > 0 {
		t.Fatalf("err %v, warnings %v, unprotected %v", got.Err, got.Warnings, got.Unprotected)
	}
	want := plan.Desired{
		Nodes: 1, Algorithm: "roundrobin", Timeout: 600,
		HealthCheck: vultr.HealthCheck{Protocol: "tcp", Port: 30080, CheckInterval: 15, ResponseTimeout: 5, UnhealthyThreshold: 5, HealthyThreshold: 5},
		Rules:       []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)},
		VPC:         new(""), // the public network, as with the official controller
	}
	if diff := cmp.Diff(want, got.Desired); diff != "" {
		t.Error(diff)
	}
}

func TestReadPorts(t *testing.T) {
	udp := ports(
		v1.ServicePort{Name: "dns", Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP},
		v1.ServicePort{Name: "dns-tcp", Port: 53, NodePort: 30054, Protocol: v1.ProtocolTCP})
	tests := map[string]struct {
		service *v1.Service
		want    []vultr.ForwardingRule
		warning string
	}{
		"http":                        {service(with(settings.Protocol, "http")), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("http", 443, "http", 30443)}, ""},
		"https on one port":           {service(with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("https", 443, "https", 30443)}, ""},
		"http behind https":           {service(with(settings.Protocol, "http"), with(settings.BackendProtocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("https", 443, "http", 30443)}, ""},
		"pods end TLS":                {service(with(settings.HTTPSPorts, "443"), with(settings.SSLPassThrough, "true")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, ""},
		"by the port":                 {service(udp), []vultr.ForwardingRule{rule("tcp", 53, "tcp", 30054), rule("udp", 53, "udp", 30053)}, ""},
		"official annotations of UDP": {service(ports(v1.ServicePort{Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP}), with(settings.Protocol, "udp"), with(settings.BackendProtocol, "udp")), []vultr.ForwardingRule{rule("udp", 53, "udp", 30053)}, ""},
		"udp asked of TCP ports":      {service(with(settings.Protocol, "udp")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, "port 80 is TCP"},
		"backend without effect":      {service(with(settings.BackendProtocol, "http")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, "no port can use it"},
		"https port of nobody":        {service(with(settings.HTTPSPorts, "8443")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, "not a port of the Service"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			if diff := cmp.Diff(tt.want, got.Desired.Rules); diff != "" {
				t.Error(diff)
			}
			if text := strings.Join(got.Warnings, "\n"); (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warnings %q, want %q", text, tt.warning)
			}
		})
	}
}

// One switch has kube-proxy checked, as a default for the Services that do not say what is checked.
func TestReadHealthOfKubeProxy(t *testing.T) {
	local := func(s *v1.Service) {
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
	}
	on, proxied := with(settings.HealthCheckKubeProxy, "true"), with(settings.ProxyProtocol, "true")
	standard := defaults(t, map[string]string{"healthcheck-kube-proxy": "true"})
	tests := map[string]struct {
		service *v1.Service
		options []plan.Option
		want    string
		warning string
	}{
		"by the Service":         {service(on), nil, "http 10256 /healthz", ""},
		"by default":             {service(), []plan.Option{standard}, "http 10256 /healthz", ""},
		"on another port":        {service(on), []plan.Option{plan.WithKubeProxyPort(10356)}, "http 10356 /healthz", ""},
		"the usual port":         {service(on), []plan.Option{plan.WithKubeProxyPort(0)}, "http 10256 /healthz", ""},
		"its port by number":     {service(with(settings.HealthCheckPort, "10256"), with(settings.HealthCheckPath, "/healthz")), []plan.Option{plan.WithKubeProxyPort(10356)}, "http 10356 /healthz", ""},
		"the Service says no":    {service(with(settings.HealthCheckKubeProxy, "false")), []plan.Option{standard}, "tcp 30080 ", ""},
		"the Service says what":  {service(with(settings.HealthCheckPath, "/ok")), []plan.Option{standard}, "http 30080 /ok", ""},
		"the Service says both":  {service(on, with(settings.HealthCheckPath, "/ok")), nil, "http 10256 /healthz", "healthcheck-path has no effect"},
		"policy Local":           {service(on, local), nil, "http 32000 /healthz", ""},
		"PROXY protocol":         {service(on, proxied), nil, "http 10256 /healthz", ""},
		"PROXY protocol, tcp":    {service(proxied), nil, "tcp 30080 ", ""},
		"PROXY protocol, by app": {service(proxied, with(settings.HealthCheckPath, "/ok")), nil, "http 30080 /ok", "pods that demand it may not answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service, tt.options...)
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			hc := got.Desired.HealthCheck
			if text := fmt.Sprintf("%s %d %s", hc.Protocol, hc.Port, hc.Path); text != tt.want {
				t.Errorf("%q, want %q", text, tt.want)
			}
			if text := strings.Join(got.Warnings, "\n"); (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warnings %q, want %q", text, tt.warning)
			}
		})
	}
}

// speaks gives the ports of a Service an appProtocol each.
func speaks(protocols ...string) func(*v1.Service) {
	return func(s *v1.Service) {
		for i := range protocols {
			s.Spec.Ports[i].AppProtocol = &protocols[i]
		}
	}
}

// What is said about a single port counts most, then its appProtocol if that is to be looked at, then what is said about the Service.
func TestReadProtocolsOfPorts(t *testing.T) {
	tls, app := with(settings.SSL, "tls"), with(settings.AppProtocol, "true")
	tests := map[string]struct {
		service *v1.Service
		want    []vultr.ForwardingRule
		warning string
		fault   string
	}{
		"each for itself":         {service(with(settings.PortProtocols, "80=http,443=https/http"), tls), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("https", 443, "http", 30443)}, "", ""},
		"tcp beside http":         {service(with(settings.Protocol, "http"), with(settings.PortProtocols, "443=tcp")), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("tcp", 443, "tcp", 30443)}, "", ""},
		"two certificates' worth": {service(with(settings.PortProtocols, "80=https/http,443=https"), tls), []vultr.ForwardingRule{rule("https", 80, "http", 30080), rule("https", 443, "https", 30443)}, "", ""},
		"over all others":         {service(with(settings.HTTPSPorts, "443"), with(settings.BackendProtocol, "https"), with(settings.PortProtocols, "443=http"), app, speaks("tcp", "https")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("http", 443, "http", 30443)}, "no port can use it", ""},
		"one port passed through": {service(with(settings.SSLPassThrough, "true"), with(settings.HTTPSPorts, "80,443"), with(settings.PortProtocols, "80=https"), tls), []vultr.ForwardingRule{rule("https", 80, "https", 30080), rule("tcp", 443, "tcp", 30443)}, "", ""},
		"no such port":            {service(with(settings.PortProtocols, "8443=tcp")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, "8443, which is not a port of the Service", ""},
		"a UDP port":              {service(ports(v1.ServicePort{Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP}), with(settings.PortProtocols, "53=tcp")), []vultr.ForwardingRule{rule("udp", 53, "udp", 30053)}, "port 53 is UDP", ""},
		"twice":                   {service(with(settings.PortProtocols, "80=http,80=tcp")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, "", "names port 80 twice"},
		"https without Secret":    {service(with(settings.PortProtocols, "443=https")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("https", 443, "https", 30443)}, "", "there is no certificate"},
		"app":                     {service(app, speaks("http", "HTTPS"), tls), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("https", 443, "https", 30443)}, "", ""},
		"app over the Service's":  {service(app, speaks("kubernetes.io/wss", "tcp"), tls, with(settings.Protocol, "http"), with(settings.BackendProtocol, "http")), []vultr.ForwardingRule{rule("https", 80, "http", 30080), rule("tcp", 443, "tcp", 30443)}, "", ""},
		"app, HTTP/2 to the pods": {service(app, speaks("kubernetes.io/h2c")), []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("tcp", 443, "tcp", 30443)}, "does not speak HTTP/2 to the pods", ""},
		"app, a word of others":   {service(app, speaks("mongo")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, `"mongo" is not known`, ""},
		"app, but not asked for":  {service(speaks("http", "https")), []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 30443)}, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service)
			if (got.Err != nil) != (tt.fault != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.fault) {
				t.Errorf("fault %v, want %q", got.Err, tt.fault)
			}
			if diff := cmp.Diff(tt.want, got.Desired.Rules); diff != "" {
				t.Error(diff)
			}
			if text := strings.Join(got.Warnings, "\n"); (tt.warning == "") != (text == "") || !strings.Contains(text, tt.warning) {
				t.Errorf("warnings %q, want %q", text, tt.warning)
			}
		})
	}
}

func TestReadHealth(t *testing.T) {
	local := func(s *v1.Service) {
		s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
		s.Spec.HealthCheckNodePort = 32000
	}
	onlyUDP := ports(v1.ServicePort{Name: "dns", Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP})
	firstUDP := ports(v1.ServicePort{Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP}, v1.ServicePort{Port: 54, NodePort: 30054})
	tests := map[string]struct {
		service  *v1.Service
		protocol string
		port     int
		path     string
	}{
		"first TCP port":      {service(), "tcp", 30080, ""},
		"UDP is not asked":    {service(firstUDP), "tcp", 30054, ""},
		"only UDP":            {service(onlyUDP), "http", 10256, "/healthz"},
		"policy Local":        {service(local), "http", 32000, "/healthz"},
		"Local wins":          {service(local, with(settings.HealthCheckPort, "443"), with(settings.HealthCheckProtocol, "tcp")), "http", 32000, "/healthz"},
		"http":                {service(with(settings.HealthCheckProtocol, "http")), "http", 30080, "/"},
		"path":                {service(with(settings.HealthCheckProtocol, "https"), with(settings.HealthCheckPath, "/ready"), with(settings.HealthCheckPort, "https")), "https", 30443, "/ready"},
		"by number":           {service(with(settings.HealthCheckPort, "443")), "tcp", 30443, ""},
		"by node port":        {service(with(settings.HealthCheckPort, "30443")), "tcp", 30443, ""},
		"kube-proxy":          {service(with(settings.HealthCheckPort, "10256"), with(settings.HealthCheckProtocol, "http"), with(settings.HealthCheckPath, "/healthz")), "http", 10256, "/healthz"},
		"path implies http":   {service(with(settings.HealthCheckPath, "/x")), "http", 30080, "/x"},
		"path without effect": {service(with(settings.HealthCheckPath, "/x"), with(settings.HealthCheckProtocol, "tcp")), "tcp", 30080, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service)
			hc := got.Desired.HealthCheck
			if got.Err != nil || hc.Protocol != tt.protocol || hc.Port != tt.port || hc.Path != tt.path {
				t.Errorf("got %+v, %v", hc, got.Err)
			}
		})
	}
	t.Run("numbers", func(t *testing.T) {
		hc := plan.Read(service(with(settings.HealthCheckInterval, "3"), with(settings.HealthCheckTimeout, "2"),
			with(settings.HealthCheckUnhealthy, "4"), with(settings.HealthCheckHealthy, "6"))).Desired.HealthCheck
		if hc.CheckInterval != 3 || hc.ResponseTimeout != 2 || hc.UnhealthyThreshold != 4 || hc.HealthyThreshold != 6 {
			t.Errorf("%+v", hc)
		}
	})
}

func TestReadFirewall(t *testing.T) {
	fw := func(port int, source, kind string) vultr.FirewallRule {
		return vultr.FirewallRule{Port: port, Source: source, IPType: kind}
	}
	ranges := func(list ...string) func(*v1.Service) {
		return func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = list }
	}
	tests := map[string]struct {
		service *v1.Service
		want    []vultr.FirewallRule
		stated  bool
	}{
		"nothing said":      {service(), nil, false},
		"ranges times port": {service(ranges("10.0.0.0/8", "2001:db8::/32")), []vultr.FirewallRule{fw(80, "10.0.0.0/8", "v4"), fw(80, "2001:db8::/32", "v6"), fw(443, "10.0.0.0/8", "v4"), fw(443, "2001:db8::/32", "v6")}, true},
		"host bits":         {service(ranges(" 10.1.2.3/8 "), ports(v1.ServicePort{Port: 80, NodePort: 30080})), []vultr.FirewallRule{fw(80, "10.0.0.0/8", "v4")}, true},
		"old annotation": {service(func(s *v1.Service) {
			s.Annotations[v1.AnnotationLoadBalancerSourceRangesKey] = "10.0.0.0/8, 11.0.0.0/8"
		}, ports(v1.ServicePort{Port: 80, NodePort: 30080})), []vultr.FirewallRule{fw(80, "10.0.0.0/8", "v4"), fw(80, "11.0.0.0/8", "v4")}, true},
		"our annotation":  {service(with(settings.FirewallRules, "cloudflare,443; 192.0.2.0/24 , 80;")), []vultr.FirewallRule{fw(80, "192.0.2.0/24", "v4"), fw(443, "cloudflare", "v4")}, true},
		"both, once each": {service(ranges("192.0.2.0/24"), with(settings.FirewallRules, "192.0.2.7/24,80")), []vultr.FirewallRule{fw(80, "192.0.2.0/24", "v4"), fw(443, "192.0.2.0/24", "v4")}, true},
		"said: everybody": {service(with(settings.FirewallRules, "")), nil, true},
		"both kinds of port": {
			service(ranges("192.0.2.0/24"), ports(v1.ServicePort{Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP}, v1.ServicePort{Port: 53, NodePort: 30054})),
			[]vultr.FirewallRule{fw(53, "192.0.2.0/24", "v4")},
			true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service)
			if got.Err != nil || got.Desired.FirewallStated != tt.stated {
				t.Errorf("err %v, stated %v", got.Err, got.Desired.FirewallStated)
			}
			if diff := cmp.Diff(tt.want, got.Desired.Firewall); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadNamesEveryFault(t *testing.T) {
	many := make([]v1.ServicePort, 0, 18)
	for i := range 16 {
		many = append(many, v1.ServicePort{Port: int32(1000 + i), NodePort: int32(31000 + i)})
	}
	many = append(many,
		v1.ServicePort{Port: 65305, NodePort: 31100},
		v1.ServicePort{Port: 9, Protocol: v1.ProtocolTCP},
		v1.ServicePort{Port: 10, NodePort: 31101, Protocol: v1.ProtocolSCTP})
	err := plan.Read(service(ports(many...),
		with(settings.Protocol, "gopher"),
		with(settings.HealthCheckPort, "nope"),
		with(settings.HealthCheckProtocol, "http"),
		with(settings.HealthCheckPath, "ready"),
		with(settings.NodeCount, "2"),
		with(settings.StickySessionEnabled, "on"),
		with(settings.SSLRedirect, "true"),
		with(settings.HTTP2, "true"),
		with(settings.ID, "not-a-uuid"),
		with(settings.Hostname, "Not A Host"),
		with(settings.Label, " "),
		with(settings.FirewallRules, "192.0.2.1,80;10.0.0.0/8"),
		func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "anywhere"} },
	)).Err
	for _, want := range []string{
		"has 19 ports, but a load balancer forwards at most 15",
		"port 65305 cannot be used",
		"port 9 has no node port",
		"port 10: SCTP cannot be forwarded",
		`protocol: "gopher" must be one of tcp, udp, http, https`,
		`healthcheck-port: "nope" must be`,
		`healthcheck-path: "ready" must begin with /`,
		`node-count: "2" must be an odd number`,
		"sticky-session-cookie-name is missing",
		"ssl-redirect",
		"http2: \"true\" needs an https port",
		"must be the UUID of a load balancer",
		"must be a host name in lower case",
		"label: \" \" must not be empty",
		`"192.0.2.1,80" is not`,
		`"10.0.0.0/8" is not`,
		`spec.loadBalancerSourceRanges: "anywhere" is not an address range`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q in\n%v", want, err)
		}
	}
}

func TestReadTLS(t *testing.T) {
	tests := map[string]struct {
		service *v1.Service
		fault   string
	}{
		"https without certificate": {service(with(settings.HTTPSPorts, "443")), "there is no certificate"},
		"certificate":               {service(with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")), ""},
		"certificate from Vultr":    {service(with(settings.HTTPSPorts, "443"), with(settings.AutoSSL, "secret")), ""},
		"redirect":                  {service(with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls"), with(settings.SSLRedirect, "true")), ""},
		"redirect from nowhere":     {service(with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls"), with(settings.SSLRedirect, "true")), "needs an http port"},
		"http3 alone":               {service(with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls"), with(settings.HTTP3, "true")), "needs " + string(settings.HTTP2)},
		"http2 and http3":           {service(with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls"), with(settings.HTTP2, "true"), with(settings.HTTP3, "true")), ""},
		"Secret of elsewhere":       {service(with(settings.HTTPSPorts, "443"), with(settings.SSL, "other/tls")), "in the namespace of the Service"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := plan.Read(tt.service).Err
			if (tt.fault == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %v, want %q", err, tt.fault)
			}
		})
	}
}

func TestUnknownKeys(t *testing.T) {
	const internal = settings.Prefix + "internal-only"
	got := plan.Read(service(with(internal, "true"), with(settings.Prefix+"colour", "blue")))
	if got.Err != nil || len(got.Warnings) != 1 {
		t.Fatalf("err %v, warnings %q", got.Err, got.Warnings)
	}
	for _, key := range []settings.Key{internal, settings.Prefix + "colour"} {
		if !strings.Contains(got.Warnings[0], string(key)) {
			t.Errorf("%s is not named in %q", key, got.Warnings[0])
		}
	}
	if want := []settings.Key{internal}; !slices.Equal(got.Unprotected, want) {
		t.Errorf("unprotected %v", got.Unprotected)
	}
	if err := got.MayCreate(); !errors.Is(err, plan.ErrUnprotected) {
		t.Errorf("a new one must be refused: %v", err)
	}
	if err := plan.Read(service(with(settings.Prefix+"colour", "blue"))).MayCreate(); err != nil {
		t.Errorf("a key that protects nothing must not stop a new one: %v", err)
	}
}

// A slip of the pen costs no address.
func TestReadProtection(t *testing.T) {
	for value, want := range map[string]bool{"": false, "false": false, "true": true, "enabled": true} {
		if got := plan.Read(service(with(settings.DeletionProtection, value))); got.Protected != want || got.Retain {
			t.Errorf("%q: %v", value, got.Protected)
		}
	}
}

// The same for one that is to be kept.
func TestReadRetain(t *testing.T) {
	for value, want := range map[string]bool{"": false, "false": false, "F": false, "true": true, "1": true, "yes": true, "no": true, "ture": true} {
		if got := plan.Read(service(with(settings.Retain, value))); got.Retain != want {
			t.Errorf("%q: %v", value, got.Retain)
		}
	}
	if plan.Read(service()).Retain || plan.Read(service(with(settings.Retain, " F "))).Retain {
		t.Error("nothing is kept without being asked")
	}
}

func TestManaged(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false, "False": false, "nonsense": true, "": true, "0": true, "no": true} {
		if got := plan.Managed(service(with(settings.Create, value))); got != want {
			t.Errorf("create=%q: %v", value, got)
		}
	}
	if !plan.Managed(service()) {
		t.Error("a Service is managed unless it says otherwise")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("protocol", "https", "443", "10.0.0.0/8,80;cloudflare,443")
	f.Add("healthcheck-port", "http", "80,443", ";;,")
	f.Add("node-count", "-1", ",", "::/0,65536")
	f.Fuzz(func(t *testing.T, suffix, value, https, firewall string) {
		s := service(with(settings.Prefix+settings.Key(suffix), value), with(settings.HTTPSPorts, https), with(settings.FirewallRules, firewall))
		got := plan.Read(s)
		if again := plan.Read(s); !cmp.Equal(got.Desired, again.Desired) {
			t.Fatal("two readings differ")
		}
		if got.Err != nil {
			return
		}
		d := got.Desired
		if d.Nodes%2 == 0 || d.HealthCheck.Port == 0 || len(d.Rules) != len(s.Spec.Ports) {
			t.Fatalf("accepted, but senseless: %+v", d)
		}
		made := plan.Creation(d)
		if got.MayCreate() != nil {
			return
		}
		if made.Rules == nil || made.HealthCheck == nil {
			t.Fatal("a creation lacks its rules or its health check")
		}
		if change := plan.Diff(applied(vultr.LoadBalancer{}, made), d); !change.Empty() {
			t.Fatalf("made as asked for, but %v differs", change.Fields)
		}
	})
}
