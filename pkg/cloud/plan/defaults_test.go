package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

func defaults(t *testing.T, values map[string]string) plan.Option {
	t.Helper()
	d, err := settings.ParseDefaults(values)
	if err != nil {
		t.Fatal(err)
	}
	return plan.WithDefaults(d)
}

// A default is the same as the annotation, where the Service does not say anything else.
func TestDefaultsAreLikeAnnotations(t *testing.T) {
	values := map[string]string{
		"algorithm": "least_connections", "timeout": "30", "node-count": "3", "proxy-protocol": "true", "protocol": "http",
		"ssl-redirect": "true", "http2": "true", "http3": "true", "sticky-session-enabled": "on", "sticky-session-cookie-name": "route",
		"healthcheck-port": "10256", "healthcheck-protocol": "http", "healthcheck-path": "/healthz", "healthcheck-check-interval": "3",
		"healthcheck-response-timeout": "2", "healthcheck-unhealthy-threshold": "4", "healthcheck-healthy-threshold": "6",
		"backend-protocol": "http", "firewall-rules": "cloudflare,443",
	}
	var annotated []func(*v1.Service)
	for name, value := range values {
		annotated = append(annotated, with(settings.Key(settings.Prefix+name), value))
	}
	base := []func(*v1.Service){with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")}
	got := plan.Read(service(base...), defaults(t, values))
	want := plan.Read(service(append(base, annotated...)...))
	if got.Err != nil || len(got.Warnings) > 0 || want.Err != nil {
		t.Fatal(got.Err, got.Warnings, want.Err)
	}
	if diff := cmp.Diff(want.Desired, got.Desired); diff != "" {
		t.Error(diff)
	}
	stated := plan.Read(service(append(base, annotated...)...), defaults(t, map[string]string{
		"algorithm": "roundrobin", "timeout": "31", "protocol": "tcp", "sticky-session-enabled": "off", "healthcheck-path": "/other",
		"firewall-rules": "0.0.0.0/0,80", "ssl-redirect": "false",
	}))
	if diff := cmp.Diff(want.Desired, stated.Desired); diff != "" {
		t.Errorf("the Service's word counts: %s", diff)
	}
}

// A default that does not fit a Service is left out there; it neither stops nor annoys anybody.
func TestDefaultsApplyWhereTheyFit(t *testing.T) {
	all := defaults(t, map[string]string{
		"ssl-redirect": "true", "http2": "true", "http3": "true", "ssl-pass-through": "false", "backend-protocol": "http",
		"sticky-session-enabled": "on", "sticky-session-cookie-name": "route",
	})
	udp := v1.ServicePort{Name: "q", Port: 443, NodePort: 30444, Protocol: v1.ProtocolUDP}
	tests := map[string]struct {
		service  *v1.Service
		want     func(*plan.Desired)
		defaults plan.Option
	}{
		"tcp": {service(), func(*plan.Desired) {}, all},
		"https alone": {
			service(with(settings.Protocol, "https"), with(settings.SSL, "tls")),
			func(d *plan.Desired) { d.HTTP2, d.HTTP3, d.StickyCookie = true, true, "route" },
			defaults(t, map[string]string{"ssl-redirect": "true", "http2": "true", "http3": "true", "sticky-session-enabled": "on", "sticky-session-cookie-name": "route"}),
		},
		"http/2 refused": {https(with(settings.HTTP2, "false")), func(*plan.Desired) {}, defaults(t, map[string]string{"http2": "true", "http3": "true"})},
		"UDP on the port": {
			https(ports(v1.ServicePort{Name: "s", Port: 443, NodePort: 30443}, udp)), func(d *plan.Desired) { d.HTTP2 = true },
			defaults(t, map[string]string{"http2": "true", "http3": "true"}),
		},
		"no cookie": {https(), func(*plan.Desired) {}, defaults(t, map[string]string{"sticky-session-enabled": "on"})},
		"cookie for who wants one": {
			https(with(settings.StickySessionEnabled, "on")), func(d *plan.Desired) { d.StickyCookie = "route" },
			defaults(t, map[string]string{"sticky-session-cookie-name": "route"}),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bare := tt.service.DeepCopy()
			delete(bare.Annotations, string(settings.StickySessionEnabled))
			want := plan.Read(bare).Desired
			tt.want(&want)
			got := plan.Read(tt.service, tt.defaults)
			wantReading(t, got, "", "")
			if diff := cmp.Diff(want, got.Desired); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The three settings about what a health check asks belong together.
func TestDefaultHealthCheckIsTakenWhole(t *testing.T) {
	kubeProxy := defaults(t, map[string]string{"healthcheck-port": "10256", "healthcheck-protocol": "http", "healthcheck-path": "/healthz"})
	local := func(s *v1.Service) {
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
	}
	for name, tt := range map[string]struct {
		service  *v1.Service
		protocol string
		port     int
		path     string
	}{
		"default":      {service(), "http", 10256, "/healthz"},
		"own port":     {service(with(settings.HealthCheckPort, "https")), "tcp", 30443, ""},
		"own path":     {service(with(settings.HealthCheckPath, "/ok")), "http", 30080, "/ok"},
		"own protocol": {service(with(settings.HealthCheckProtocol, "tcp")), "tcp", 30080, ""},
		"empty":        {service(with(settings.HealthCheckPort, "")), "http", 10256, "/healthz"},
		"Local":        {service(local), "http", 32000, "/healthz"},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(tt.service, kubeProxy)
			wantReading(t, got, "", "")
			if hc := got.Desired.HealthCheck; hc.Protocol != tt.protocol || hc.Port != tt.port || hc.Path != tt.path {
				t.Errorf("%+v", hc)
			}
		})
	}
}

// Default sources are for Services that name none: beside their own they would admit more than was asked for.
func TestDefaultFirewallOpensNothing(t *testing.T) {
	everybody := defaults(t, map[string]string{"firewall-rules": "0.0.0.0/0,80;0.0.0.0/0,443"})
	for name, tt := range map[string]struct {
		service *v1.Service
		rules   int
		stated  bool
	}{
		"says nothing":   {service(), 2, true},
		"own rules":      {service(with(settings.FirewallRules, "10.0.0.0/8,80")), 1, true},
		"own ranges":     {service(func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} }, ports(v1.ServicePort{Port: 80, NodePort: 30080})), 1, true},
		"old annotation": {service(with(v1.AnnotationLoadBalancerSourceRangesKey, "10.0.0.0/8"), ports(v1.ServicePort{Port: 80, NodePort: 30080})), 1, true},
		"says everybody": {service(with(settings.FirewallRules, "")), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := plan.Read(tt.service, everybody).Desired
			if len(d.Firewall) != tt.rules || d.FirewallStated != tt.stated {
				t.Errorf("%v, stated %v", d.Firewall, d.FirewallStated)
			}
		})
	}
}
