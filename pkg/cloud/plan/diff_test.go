package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// applied does with settings what the platform does: what is not sent stays, lists are replaced and come back sorted.
func applied(lb vultr.LoadBalancer, s vultr.LoadBalancerSettings) vultr.LoadBalancer {
	set(&lb.Label, s.Label)
	set(&lb.Nodes, s.Nodes)
	set(&lb.Algorithm, s.Algorithm)
	set(&lb.Timeout, s.Timeout)
	set(&lb.SSLRedirect, s.SSLRedirect)
	set(&lb.ProxyProtocol, s.ProxyProtocol)
	set(&lb.HTTP2, s.HTTP2)
	set(&lb.HTTP3, s.HTTP3)
	set(&lb.StickyCookie, s.StickyCookie)
	set(&lb.HealthCheck, s.HealthCheck)
	set(&lb.Rules, s.Rules)
	set(&lb.Firewall, s.Firewall)
	set(&lb.Instances, s.Instances)
	set(&lb.VPC, s.VPC)
	set(&lb.GlobalRegions, s.GlobalRegions)
	if s.AutoSSL != nil {
		lb.AutoSSL = vultr.AutoSSL{Zone: s.AutoSSL.Zone, Sub: s.AutoSSL.Sub, Domain: s.AutoSSL.Sub + "." + s.AutoSSL.Zone}
	}
	slices.Reverse(lb.Rules)
	slices.Reverse(lb.Firewall)
	slices.Reverse(lb.GlobalRegions)
	slices.Sort(lb.Instances)
	return lb
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// full is a Service that uses everything.
func full() *v1.Service {
	return service(with(settings.Protocol, "http"), with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls"),
		with(settings.SSLRedirect, "true"), with(settings.HTTP2, "true"), with(settings.HTTP3, "true"),
		with(settings.ProxyProtocol, "true"), with(settings.Algorithm, "least_connections"), with(settings.NodeCount, "3"),
		with(settings.Timeout, "30"), with(settings.StickySessionEnabled, "on"), with(settings.StickySessionCookieName, "route"),
		with(settings.HealthCheckProtocol, "http"), with(settings.HealthCheckPath, "/ok"), with(settings.Label, "shop-web"),
		func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "192.0.2.0/24"} })
}

// Every setting is set, taken away and set again; in between nothing is left to send.
func TestDiffSetClearSet(t *testing.T) {
	plain, rich := plan.Read(service()), plan.Read(full())
	if plain.Err != nil || rich.Err != nil {
		t.Fatal(plain.Err, rich.Err)
	}
	none, all := plain.Desired, rich.Desired
	none.Label = "a6c8f4d0c43b64d94b8f51c5c0e0a3c1"
	all.Instances = []string{"b", "a"}
	lb := applied(vultr.LoadBalancer{}, plan.Creation(none))
	for round, want := range []plan.Desired{all, none, all} {
		change := plan.Diff(lb, want)
		if change.Empty() {
			t.Fatalf("round %d: nothing to change", round)
		}
		wanted := []string{
			"label", "nodes", "balancing_algorithm", "timeout", "ssl_redirect", "proxy_protocol", "http2", "http3",
			"sticky_session", "health_check", "forwarding_rules", "firewall_rules", "instances",
		}
		if diff := cmp.Diff(wanted, change.Fields); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		lb = applied(lb, change.Settings)
		if rest := plan.Diff(lb, want); !rest.Empty() {
			t.Errorf("round %d: %v still differs after the change", round, rest.Fields)
		}
	}
}

func TestDiffSendsEmptyLists(t *testing.T) {
	lb := vultr.LoadBalancer{Instances: []string{"a"}, Firewall: []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}}
	s := plan.Diff(lb, plan.Desired{}).Settings
	if s.Instances == nil || *s.Instances == nil || len(*s.Instances) > 0 || s.Firewall == nil || *s.Firewall == nil || len(*s.Firewall) > 0 {
		t.Errorf("the last one would stay: %+v", s)
	}
}

func TestDiffKeeps(t *testing.T) {
	lb := vultr.LoadBalancer{Label: "theirs", Instances: []string{"a"}, Firewall: []vultr.FirewallRule{{Port: 80, Source: "10.0.0.0/8", IPType: "v4"}}}
	change := plan.Diff(lb, plan.Desired{KeepFirewall: true, KeepInstances: true})
	if !change.Empty() {
		t.Errorf("%v must be left alone", change.Fields)
	}
	if change := plan.DiffBackends(lb, plan.Desired{KeepInstances: true}); !change.Empty() {
		t.Errorf("%v must be left alone", change.Fields)
	}
	if change := plan.DiffBackends(lb, plan.Desired{Instances: []string{"b"}}); !slices.Equal(change.Fields, []string{"instances"}) {
		t.Errorf("%v is changed, want the backends alone", change.Fields)
	}
}

// Networks, further regions and an issued certificate are left as they are until somebody asks for them.
func TestDiffOfNetworks(t *testing.T) {
	there := vultr.LoadBalancer{VPC: idA, AutoSSL: vultr.AutoSSL{Zone: "example.com"}, GlobalRegions: []vultr.GlobalRegion{{Region: "fra"}}}
	if change := plan.Diff(there, plan.Desired{}); !change.Empty() {
		t.Errorf("%v must be left alone", change.Fields)
	}
	vpc, public := idB, ""
	regions, none := []vultr.GlobalRegion{{Region: "fra", VPC: idA}, {Region: "ams"}}, []vultr.GlobalRegion{}
	lb := vultr.LoadBalancer{}
	for round, want := range []plan.Desired{
		{VPC: &vpc, AutoSSL: &vultr.AutoSSL{Zone: "example.com", Sub: "www"}, GlobalRegions: &regions},
		{VPC: &public, AutoSSL: &vultr.AutoSSL{Zone: "example.org"}, GlobalRegions: &none},
		{VPC: &vpc, AutoSSL: &vultr.AutoSSL{Zone: "example.com", Sub: "www"}, GlobalRegions: &regions},
	} {
		change := plan.Diff(lb, want)
		if diff := cmp.Diff([]string{"vpc", "auto_ssl", "global_regions"}, change.Fields); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		lb = applied(lb, change.Settings)
		if rest := plan.Diff(lb, want); !rest.Empty() {
			t.Errorf("round %d: %v still differs after the change", round, rest.Fields)
		}
	}
	if change := plan.Diff(lb, plan.Desired{AutoSSL: &vultr.AutoSSL{}}); !change.Empty() {
		t.Errorf("%v is sent to end a certificate, for which there is another request", change.Fields)
	}
}

func TestDiffKnowsTheSameInOtherWords(t *testing.T) {
	want := plan.Read(service(func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"2001:db8::/32"} })).Desired
	lb := applied(vultr.LoadBalancer{}, plan.Creation(want))
	lb.HealthCheck.Path = "/" // sent with a check by tcp, it has no meaning
	for i := range lb.Firewall {
		lb.Firewall[i].Source = "2001:0DB8:0000:0000:0000:0000:0000:0000/32"
	}
	if change := plan.Diff(lb, want); !change.Empty() {
		t.Errorf("%v: %+v", change.Fields, change.Settings)
	}
}

func TestCreationLeavesOutWhatIsOff(t *testing.T) {
	s := plan.Creation(plan.Read(service()).Desired)
	if s.SSLRedirect != nil || s.ProxyProtocol != nil || s.HTTP2 != nil || s.HTTP3 != nil || s.StickyCookie != nil || s.Firewall != nil || s.VPC != nil || s.Certificate != nil {
		t.Errorf("%+v", s)
	}
	if s.Rules == nil || s.HealthCheck == nil || s.Algorithm == nil || s.Timeout == nil || s.Nodes == nil {
		t.Errorf("%+v", s)
	}
}

const (
	idA = "aaaaaaaa-66fd-4dfb-b839-443f2e6c0b60"
	idB = "bbbbbbbb-66fd-4dfb-b839-443f2e6c0b60"
)

func node(name, providerID, region string, taints ...v1.Taint) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}, Spec: v1.NodeSpec{ProviderID: providerID, Taints: taints}}
	if region != "" {
		n.Labels[v1.LabelTopologyRegion] = region
	}
	return n
}

func TestBackends(t *testing.T) {
	nodes := []*v1.Node{
		node("b", "vultr://"+idB, "ewr"),
		node("a", "vultr://"+idA, ""),
		node("young", "", ""),
		node("stranger", "aws:///eu/i-1", "ewr"),
		node("far", "vultr://cccccccc-66fd-4dfb-b839-443f2e6c0b60", "fra"),
		node("dead", "vultr://dddddddd-66fd-4dfb-b839-443f2e6c0b60", "ewr",
			v1.Taint{Key: v1.TaintNodeOutOfService, Value: outofservice.Value, Effect: v1.TaintEffectNoExecute}),
		node("served", "vultr://eeeeeeee-66fd-4dfb-b839-443f2e6c0b60", "EWR",
			v1.Taint{Key: v1.TaintNodeOutOfService, Value: "nodeshutdown", Effect: v1.TaintEffectNoExecute}),
	}
	got, skipped := plan.Backends(nodes, plan.BackendRules{Region: "ewr"})
	if want := []string{idA, idB, "eeeeeeee-66fd-4dfb-b839-443f2e6c0b60"}; !slices.Equal(got, want) {
		t.Errorf("backends %v", got)
	}
	names := make([]string, 0, len(skipped))
	for _, s := range skipped {
		names = append(names, s.Node)
		if s.Passing != (s.Node == "young" || s.Node == "dead") {
			t.Errorf("%v: passing %v", s, s.Passing)
		}
	}
	if want := []string{"dead", "far", "stranger", "young"}; !slices.Equal(names, want) {
		t.Errorf("skipped %v", names)
	}
	if regions := plan.Regions(nodes[:4]); !slices.Equal(regions, []string{"ewr"}) {
		t.Errorf("regions %v", regions)
	}
}

// The annotation counts more than what the load balancer does.
func TestReadIPMode(t *testing.T) {
	for value, want := range map[string]string{"": "Proxy", "VIP": "VIP", "proxy": "Proxy"} {
		s := service(with(settings.ProxyProtocol, "true"), with(settings.IPMode, value))
		reading := plan.Read(s)
		status, ok := plan.Status(vultr.LoadBalancer{Status: "active", IPv4: "192.0.2.1"}, s, reading.Desired, false)
		if reading.Err != nil || !ok || string(*status.Ingress[0].IPMode) != want {
			t.Errorf("%q: %v, %+v, want %s", value, reading.Err, status, want)
		}
	}
	plain := service(with(settings.IPMode, "proxy"))
	if status, ok := plan.Status(vultr.LoadBalancer{Status: "active", IPv4: "192.0.2.1"}, plain, plan.Read(plain).Desired, false); !ok || *status.Ingress[0].IPMode != v1.LoadBalancerIPModeProxy {
		t.Errorf("%+v", status)
	}
}

func TestStatus(t *testing.T) {
	ready := vultr.LoadBalancer{Status: "active", Label: "a6c8f4d0c43b64d94b8f51c5c0e0a3c1", IPv4: "192.0.2.1", IPv6: "2001:db8::1"}
	vip, proxy := v1.LoadBalancerIPModeVIP, v1.LoadBalancerIPModeProxy
	plain := plan.Read(service()).Desired
	tests := map[string]struct {
		change  func(*vultr.LoadBalancer, *v1.Service, *plan.Desired)
		noLabel bool
		want    []v1.LoadBalancerIngress
	}{
		"active":            {func(*vultr.LoadBalancer, *v1.Service, *plan.Desired) {}, false, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &vip, Hostname: ready.Label}}},
		"without the label": {func(*vultr.LoadBalancer, *v1.Service, *plan.Desired) {}, true, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &vip}}},
		"label is no host":  {func(lb *vultr.LoadBalancer, _ *v1.Service, _ *plan.Desired) { lb.Label = "My Shop" }, false, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &vip}}},
		"pending":           {func(lb *vultr.LoadBalancer, _ *v1.Service, _ *plan.Desired) { lb.Status = "pending" }, false, nil},
		"no address yet":    {func(lb *vultr.LoadBalancer, _ *v1.Service, _ *plan.Desired) { lb.IPv4 = "" }, false, nil},
		"host name":         {func(_ *vultr.LoadBalancer, _ *v1.Service, d *plan.Desired) { d.Hostname = "web.example.com" }, false, []v1.LoadBalancerIngress{{Hostname: "web.example.com"}}},
		"PROXY protocol":    {func(_ *vultr.LoadBalancer, _ *v1.Service, d *plan.Desired) { d.ProxyProtocol = true }, true, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &proxy}}},
		"IP mode asked for": {func(_ *vultr.LoadBalancer, _ *v1.Service, d *plan.Desired) { d.ProxyProtocol, d.IPMode = true, &vip }, true, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &vip}}},
		"HTTP": {func(_ *vultr.LoadBalancer, _ *v1.Service, d *plan.Desired) {
			d.Rules = []vultr.ForwardingRule{rule("http", 80, "http", 1)}
		}, true, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &proxy}}},
		"first family missing": {func(lb *vultr.LoadBalancer, s *v1.Service, _ *plan.Desired) {
			s.Spec.IPFamilies = []v1.IPFamily{v1.IPv6Protocol, v1.IPv4Protocol}
			lb.IPv6 = ""
		}, true, nil},
		"second family missing": {func(lb *vultr.LoadBalancer, s *v1.Service, _ *plan.Desired) {
			s.Spec.IPFamilies = []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol}
			lb.IPv6 = ""
		}, true, []v1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &vip}}},
		"both families": {func(_ *vultr.LoadBalancer, s *v1.Service, _ *plan.Desired) {
			s.Spec.IPFamilies = []v1.IPFamily{v1.IPv6Protocol, v1.IPv4Protocol}
		}, true, []v1.LoadBalancerIngress{{IP: "2001:db8::1", IPMode: &vip}, {IP: "192.0.2.1", IPMode: &vip}}},
		"IPv6 alone": {func(_ *vultr.LoadBalancer, s *v1.Service, _ *plan.Desired) {
			s.Spec.IPFamilies = []v1.IPFamily{v1.IPv6Protocol}
		}, true, []v1.LoadBalancerIngress{{IP: "2001:db8::1", IPMode: &vip}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lb, s, want := ready, service(), plain
			tt.change(&lb, s, &want)
			status, ok := plan.Status(lb, s, want, !tt.noLabel)
			if ok != (tt.want != nil) {
				t.Fatalf("ready: %v", ok)
			}
			if ok {
				if diff := cmp.Diff(tt.want, status.Ingress); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// A port that is not forwarded is told apart from those that are, by node port and not by number; if all are, nothing is said.
func TestMarkPorts(t *testing.T) {
	s := service(func(s *v1.Service) {
		s.Spec.Ports = []v1.ServicePort{
			{Name: "dns", Port: 53, NodePort: 30053, Protocol: v1.ProtocolTCP}, {Name: "dns-udp", Port: 53, NodePort: 31053, Protocol: v1.ProtocolUDP}, {Name: "web", Port: 80, NodePort: 30080},
		}
	})
	rules := []vultr.ForwardingRule{rule("tcp", 53, "tcp", 30053), rule("udp", 53, "udp", 31053), rule("tcp", 80, "tcp", 30080)}
	status := &v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}}}
	plan.MarkPorts(status, s, rules)
	if status.Ingress[0].Ports != nil || status.Ingress[1].Ports != nil {
		t.Errorf("all are forwarded: %+v", status.Ingress)
	}
	rules[1].BackendPort = 32053 // another Service's
	plan.MarkPorts(status, s, rules)
	fault := plan.PortError
	want := []v1.PortStatus{{Port: 53, Protocol: v1.ProtocolTCP}, {Port: 53, Protocol: v1.ProtocolUDP, Error: &fault}, {Port: 80, Protocol: v1.ProtocolTCP}}
	for _, ingress := range status.Ingress {
		if diff := cmp.Diff(want, ingress.Ports); diff != "" {
			t.Errorf("%s: %s", ingress.IP, diff)
		}
	}
}

// While a port is not forwarded connections from the cluster go through the load balancer: kube-proxy would take that port, too, for one of
// the Service's. A rule that leads to the port's node port from another number does not forward it.
func TestMarkPortsMode(t *testing.T) {
	s := service(func(s *v1.Service) { s.Spec.Ports = s.Spec.Ports[:1] })
	vip, proxy := v1.LoadBalancerIPModeVIP, v1.LoadBalancerIPModeProxy
	for name, tt := range map[string]struct {
		rules []vultr.ForwardingRule
		mode  v1.LoadBalancerIPMode
	}{
		"it is forwarded":                {[]vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080)}, vip},
		"nothing is":                     {nil, proxy},
		"it is another one's":            {[]vultr.ForwardingRule{rule("tcp", 80, "tcp", 31080)}, proxy},
		"another number is":              {[]vultr.ForwardingRule{rule("tcp", 8080, "tcp", 30080)}, proxy},
		"the same number is, by UDP":     {[]vultr.ForwardingRule{rule("udp", 80, "udp", 30080)}, proxy},
		"it is, and so is another one's": {[]vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 31443)}, vip},
	} {
		t.Run(name, func(t *testing.T) {
			status := &v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{
				{IP: "192.0.2.1", IPMode: &vip, Ports: []v1.PortStatus{{Port: 81}}}, {IP: "2001:db8::1", IPMode: &vip}, {Hostname: "web.example.com"},
			}}
			plan.MarkPorts(status, s, tt.rules)
			for _, ingress := range status.Ingress {
				if ingress.IP == "" && ingress.IPMode != nil || ingress.IP != "" && *ingress.IPMode != tt.mode {
					t.Errorf("%+v", ingress)
				}
				if told := len(ingress.Ports) == 1 && ingress.Ports[0].Port == 80 && ingress.Ports[0].Error != nil; told != (tt.mode == proxy) || !told && len(ingress.Ports) > 0 {
					t.Errorf("ports %+v", ingress.Ports)
				}
			}
			if vip != v1.LoadBalancerIPModeVIP {
				t.Fatal("the mode that it had was changed in place")
			}
		})
	}
}

// The API server gives a Service one node port for a number by TCP and UDP: that one of both is forwarded says nothing of the other.
func TestMarkPortsOfOneNodePort(t *testing.T) {
	s := service(func(s *v1.Service) {
		s.Spec.Ports = []v1.ServicePort{{Name: "dns", Port: 53, NodePort: 30053, Protocol: v1.ProtocolTCP}, {Name: "dns-udp", Port: 53, NodePort: 30053, Protocol: v1.ProtocolUDP}}
	})
	fault := plan.PortError
	for protocol, want := range map[string][]v1.PortStatus{
		"tcp": {{Port: 53, Protocol: v1.ProtocolTCP}, {Port: 53, Protocol: v1.ProtocolUDP, Error: &fault}},
		"udp": {{Port: 53, Protocol: v1.ProtocolTCP, Error: &fault}, {Port: 53, Protocol: v1.ProtocolUDP}},
	} {
		status := &v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "192.0.2.1"}}}
		plan.MarkPorts(status, s, []vultr.ForwardingRule{rule(protocol, 53, protocol, 30053)})
		if diff := cmp.Diff(want, status.Ingress[0].Ports); diff != "" {
			t.Errorf("%s: %s", protocol, diff)
		}
	}
}
