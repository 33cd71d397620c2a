package plan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// https makes a Service of http and https ports with a certificate.
func https(change ...func(*v1.Service)) *v1.Service {
	return service(append([]func(*v1.Service){with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls")}, change...)...)
}

// A Service that asks for restricted access or encryption in a way that is not understood gets no new load balancer.
// The rest of what it says is read as ever, so that one that exists goes on serving.
func TestLessOpenRefusesCreationOnly(t *testing.T) {
	tests := map[settings.Key]string{
		settings.Prefix + "internal":                                  "true",
		settings.Prefix + "firewall-rule":                             "10.0.0.0/8,80",
		settings.Prefix + "Firewall-Rules":                            "10.0.0.0/8,80",
		"service.beta.kubernetes.io/aws-load-balancer-internal":       "true",
		"networking.gke.io/load-balancer-type":                        "Internal",
		"service.beta.kubernetes.io/azure-load-balancer-internal":     "true",
		"service.beta.kubernetes.io/openstack-internal-load-balancer": "true",
		settings.VPC:             "yes",
		settings.PrivateNetwork:  "private",
		settings.SSLRedirect:     "permanent",
		settings.SSLPassThrough:  "yes",
		settings.BackendProtocol: "TLS",
		settings.Create:          "no",
	}
	plain := plan.Read(https())
	for key, value := range tests {
		t.Run(string(key), func(t *testing.T) {
			got := plan.Read(https(with(key, value)))
			if got.Err != nil {
				t.Errorf("it stops what exists: %v", got.Err)
			}
			err := got.MayCreate()
			if !errors.Is(err, plan.ErrUnprotected) || !strings.Contains(err.Error(), string(key)) || !strings.Contains(err.Error(), "loadBalancerSourceRanges") {
				t.Errorf("a new one must be refused, with the reason and a way out: %v", err)
			}
			if !slices.Equal(got.Unprotected, []settings.Key{key}) {
				t.Errorf("unprotected %v", got.Unprotected)
			}
			if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], string(key)) {
				t.Errorf("warnings %q", got.Warnings)
			}
			d := got.Desired
			d.KeepFirewall, d.KeepRules, d.KeepSSLRedirect, d.KeepTLS, d.VPC = false, false, false, false, plain.Desired.VPC
			if diff := cmp.Diff(plain.Desired, d); diff != "" {
				t.Errorf("it changes the rest: %s", diff)
			}
		})
	}
	if err := plain.MayCreate(); err != nil {
		t.Error(err)
	}
}

// A slip of the pen in what protects a load balancer that serves does not open it.
func TestSlipOpensNothing(t *testing.T) {
	slip := func(key settings.Key, to settings.Key, value string) func(*v1.Service) {
		return func(s *v1.Service) {
			delete(s.Annotations, string(key))
			s.Annotations[string(to)] = value
		}
	}
	protected := []func(*v1.Service){
		with(settings.SSLRedirect, "true"), with(settings.BackendProtocol, "https"), with(settings.FirewallRules, "10.0.0.0/8,443"), with(settings.VPC, idB),
	}
	before := plan.Read(https(protected...))
	lb := applied(vultr.LoadBalancer{HasSSL: true}, plan.Creation(before.Desired))
	tests := map[string]struct {
		slip    func(*v1.Service)
		keepTLS bool
	}{
		"firewall key":           {slip(settings.FirewallRules, settings.Prefix+"firewall-rulez", "10.0.0.0/8,443"), false},
		"firewall by other name": {slip(settings.FirewallRules, settings.Prefix+"allow-from", "10.0.0.0/8"), false},
		"redirect key":           {slip(settings.SSLRedirect, settings.Prefix+"ssl-redirekt", "true"), false},
		"redirect value":         {slip(settings.SSLRedirect, settings.SSLRedirect, "yes"), false},
		"backend key":            {slip(settings.BackendProtocol, settings.Prefix+"backend-protcol", "https"), false},
		"backend value":          {slip(settings.BackendProtocol, settings.BackendProtocol, "htps"), false},
		"secret key":             {slip(settings.SSL, settings.Prefix+"sll", "tls"), true},
		"pass-through value":     {slip(settings.SSLPassThrough, settings.SSLPassThrough, "yes"), false},
		"pass-through key":       {slip(settings.SSLPassThrough, settings.Prefix+"ssl-passthru", "true"), false},
		"ports key":              {slip(settings.Label, settings.Prefix+"https-port", "80"), false},
		"protocol key":           {slip(settings.Label, settings.Prefix+"protocoll", "https"), false},
		"network key":            {slip(settings.VPC, settings.Prefix+"vcp", idB), false},
		"network value":          {slip(settings.VPC, settings.VPC, "yes"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := plan.Read(https(append(protected, tt.slip)...))
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			if got.MayCreate() == nil {
				t.Error("a new one would be created")
			}
			if change := plan.Diff(lb, got.Desired); !change.Empty() {
				t.Errorf("%v is changed: %+v", change.Fields, change.Settings)
			}
			if got.Desired.KeepTLS != tt.keepTLS {
				t.Errorf("certificate kept: %v", got.Desired.KeepTLS)
			}
		})
	}
	t.Run("stated elsewhere", func(t *testing.T) {
		got := plan.Read(https(append(protected, tests["firewall key"].slip, func(s *v1.Service) {
			s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
		})...))
		if change := plan.Diff(lb, got.Desired); !slices.Equal(change.Fields, []string{"firewall_rules"}) {
			t.Errorf("what the Service states must be applied, but %v is changed", change.Fields)
		}
	})
	t.Run("another cloud's", func(t *testing.T) {
		got := plan.Read(https(protected[0], protected[1], protected[3], with("service.beta.kubernetes.io/aws-load-balancer-internal", "true")))
		if change := plan.Diff(lb, got.Desired); !slices.Equal(change.Fields, []string{"firewall_rules"}) {
			t.Errorf("another cloud's annotation says nothing about these rules, but %v is changed", change.Fields)
		}
	})
}

// Values that users have in their files and that the official controller ignores do not stop a new Service. They are
// read as it reads them, and a warning names the right spelling.
func TestWhatTheOfficialControllerIgnores(t *testing.T) {
	tests := map[settings.Key]map[string]string{
		settings.StickySessionEnabled: {"true": `write "on"`, "enabled": `write "on"`, "false": `write "off"`, "ON": `write "on"`},
		settings.Algorithm:            {"round_robin": `write "roundrobin"`, "random": "is read as roundrobin", "least-connections": `write "least_connections"`},
		settings.ProxyProtocol:        {"disabled": `write "false"`, "v1": "is read as false", "enabled": `write "true"`},
		settings.HTTP2:                {"no": `write "false"`, "on": `write "true"`},
		settings.HTTP3:                {"off": `write "false"`},
		settings.SSLRedirect:          {"off": `write "false"`},
		settings.SSLPassThrough:       {"none": `write "false"`},
		settings.BackendProtocol:      {"grpc": "has no effect"},
		settings.Create:               {"yes": `write "true"`, "maybe": "is read as true"},
		settings.Timeout:              {"0": "the default, 600"},
		settings.HealthCheckInterval:  {"0": "the default, 15"},
		settings.HealthCheckUnhealthy: {"0": "the default, 5"},
	}
	plain := plan.Read(service()).Desired
	for key, list := range tests {
		for value, warning := range list {
			t.Run(string(key)+"="+value, func(t *testing.T) {
				got := plan.Read(service(with(key, value)))
				if err := errors.Join(got.Err, got.MayCreate()); err != nil {
					t.Errorf("it stops a new Service: %v", err)
				}
				if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], warning) || !strings.Contains(got.Warnings[0], string(key)) {
					t.Errorf("warnings %q, want %q", got.Warnings, warning)
				}
				if diff := cmp.Diff(plain, got.Desired); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestStickySession(t *testing.T) {
	cookie := with(settings.StickySessionCookieName, "route")
	tests := map[string]struct {
		service                *v1.Service
		cookie, fault, warning string
	}{
		"on":              {https(with(settings.StickySessionEnabled, "on"), cookie), "route", "", ""},
		"in capitals":     {https(with(settings.StickySessionEnabled, "ON"), cookie), "route", "", ""},
		"cookie alone":    {https(cookie), "", "", ""},
		"off, bad cookie": {https(with(settings.StickySessionEnabled, "off"), with(settings.StickySessionCookieName, "a b")), "", "", ""},
		"bad cookie":      {https(with(settings.StickySessionEnabled, "on"), with(settings.StickySessionCookieName, "a;b")), "", `"a;b" is not a name`, ""},
		"no cookie":       {https(with(settings.StickySessionEnabled, "on")), "", "cookie-name is missing", ""},
		"tcp":             {service(with(settings.StickySessionEnabled, "on"), cookie), "route", "", "no port is http or https"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			wantReading(t, plan.Read(tt.service), tt.fault, tt.warning)
			if got := plan.Read(tt.service).Desired.StickyCookie; got != tt.cookie {
				t.Errorf("cookie %q", got)
			}
		})
	}
}

// wantReading compares faults and warnings with what they should contain, nothing if that is "".
func wantReading(t *testing.T, got plan.Reading, fault, warning string) {
	t.Helper()
	text := ""
	if got.Err != nil {
		text = got.Err.Error()
	}
	if (text == "") != (fault == "") || !strings.Contains(text, fault) {
		t.Errorf("fault %q, want %q", text, fault)
	}
	if text = strings.Join(got.Warnings, "\n"); (text == "") != (warning == "") || !strings.Contains(text, warning) {
		t.Errorf("warnings %q, want %q", text, warning)
	}
}

func TestReadID(t *testing.T) {
	for value, want := range map[string]string{idA: idA, idA + "\n": idA, " " + idA + " ": idA, "": "", " ": "", "nonsense": ""} {
		got := plan.Read(service(with(settings.ID, value)))
		if got.ID != want || (got.Err != nil) != (value == "nonsense") {
			t.Errorf("%q was read as %q, %v", value, got.ID, got.Err)
		}
	}
}

func TestCollisions(t *testing.T) {
	tcp := func(port int32) v1.ServicePort {
		return v1.ServicePort{Name: "t", Port: port, NodePort: 30000 + port, Protocol: v1.ProtocolTCP}
	}
	udp := func(port int32) v1.ServicePort {
		return v1.ServicePort{Name: "u", Port: port, NodePort: 31000 + port, Protocol: v1.ProtocolUDP}
	}
	quic := []func(*v1.Service){with(settings.HTTP2, "true"), with(settings.HTTP3, "true")}
	tests := map[string]struct {
		service *v1.Service
		fault   string
	}{
		"TCP and UDP":              {service(ports(tcp(53), udp(53))), ""},
		"TCP twice":                {service(ports(tcp(53), tcp(54), tcp(53))), "port 53 is forwarded twice"},
		"UDP twice":                {service(ports(udp(53), udp(53))), "port 53 is forwarded twice"},
		"HTTP/3 and UDP":           {https(append(quic, ports(tcp(443), udp(443)))...), "http3: \"true\" needs UDP port 443 for itself"},
		"HTTP/3 and UDP elsewhere": {https(append(quic, ports(tcp(443), udp(444)))...), ""},
		"HTTP/3 and UDP beside":    {https(append(quic, ports(tcp(443), tcp(80), udp(80)))...), ""},
		"HTTP/2 and UDP":           {https(quic[0], ports(tcp(443), udp(443))), ""},
		"fifteen":                  {service(ports(many(15, tcp)...)), ""},
		"sixteen":                  {service(ports(many(16, tcp)...)), "has 16 ports"},
		"last before the reserved": {service(ports(tcp(65299), tcp(65311))), ""},
		"first reserved":           {service(ports(tcp(65300))), "65300"},
		"last reserved":            {service(ports(tcp(65310))), "65310"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { wantReading(t, plan.Read(tt.service), tt.fault, "") })
	}
}

func many(n int32, port func(int32) v1.ServicePort) []v1.ServicePort {
	list := make([]v1.ServicePort, 0, n)
	for i := range n {
		list = append(list, port(100+i))
	}
	return list
}

// What the platform cannot do is said.
func TestFieldsWithoutEffect(t *testing.T) {
	tests := map[string]struct {
		change  func(*v1.Service)
		warning string
	}{
		"client address":    {func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP }, "sessionAffinity ClientIP"},
		"no affinity":       {func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityNone }, ""},
		"address":           {func(s *v1.Service) { s.Spec.LoadBalancerIP = "192.0.2.9" }, "spec.loadBalancerIP 192.0.2.9 has no effect"},
		"certificate, http": {with(settings.SSL, "tls"), "no port is https"},
		"path with tcp": {func(s *v1.Service) {
			with(settings.HealthCheckPath, "/x")(s)
			with(settings.HealthCheckProtocol, "tcp")(s)
		}, "healthcheck-path has no effect on a health check by tcp"},
		"port with Local": {func(s *v1.Service) {
			s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
			with(settings.HealthCheckPort, "443")(s)
		}, "healthcheck-port has no effect with externalTrafficPolicy Local"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { wantReading(t, plan.Read(service(tt.change)), "", tt.warning) })
	}
}
