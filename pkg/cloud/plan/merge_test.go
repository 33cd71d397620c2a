package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// sharer is a Service with these ports, each on the node port of its number plus the offset.
func sharer(name string, offset int32, numbers []int32, change ...func(*v1.Service)) plan.Member {
	s := service(append([]func(*v1.Service){func(s *v1.Service) {
		s.Name, s.UID, s.Spec.Ports = name, types.UID(name), nil
		for _, number := range numbers {
			s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: fmt.Sprint(number), Port: number, NodePort: offset + number, Protocol: v1.ProtocolTCP})
		}
	}}, change...)...)
	return plan.Member{Service: s, Reading: plan.Read(s)}
}

// from returns numbers that follow each other.
func from(first, count int32) []int32 {
	var numbers []int32
	for i := range count {
		numbers = append(numbers, first+i)
	}
	return numbers
}

func admits(port int, sources ...string) []vultr.FirewallRule {
	var rules []vultr.FirewallRule
	for _, source := range sources {
		kind := "v4"
		if strings.Contains(source, ":") {
			kind = "v6"
		}
		rules = append(rules, vultr.FirewallRule{Port: port, Source: source, IPType: kind})
	}
	return rules
}

// Whose the ports are.
func TestMergePorts(t *testing.T) {
	tcp := func(port, nodePort int) vultr.ForwardingRule { return rule("tcp", port, "tcp", nodePort) }
	udp := func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolUDP }
	faulty := with(settings.NodeCount, "2")
	many := func(first, count, offset int) (rules []vultr.ForwardingRule) {
		for i := range count {
			rules = append(rules, tcp(first+i, offset+first+i))
		}
		return rules
	}
	for name, tt := range map[string]struct {
		members []plan.Member
		current []vultr.ForwardingRule
		want    []vultr.ForwardingRule
		refused []string // for each member, "" for nothing
	}{
		"each has its own": {
			members: []plan.Member{sharer("a", 30000, []int32{80}), sharer("b", 31000, []int32{443})},
			want:    []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443)}, refused: []string{"", ""},
		},
		"two want one": {
			members: []plan.Member{sharer("a", 30000, []int32{80}), sharer("b", 31000, []int32{80, 443})},
			want:    []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443)}, refused: []string{"", "80/TCP (Service shop/a has it)"},
		},
		"the younger has it": {
			members: []plan.Member{sharer("a", 30000, []int32{80, 81}), sharer("b", 31000, []int32{80})},
			current: []vultr.ForwardingRule{tcp(80, 31080)},
			want:    []vultr.ForwardingRule{tcp(80, 31080), tcp(81, 30081)}, refused: []string{"80/TCP (Service shop/b has it)", ""},
		},
		"who had it wants it no more": {
			members: []plan.Member{sharer("a", 30000, []int32{80}), sharer("b", 31000, []int32{443})},
			current: []vultr.ForwardingRule{tcp(80, 31080)},
			want:    []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443)}, refused: []string{"", ""},
		},
		"who had it has left": {
			members: []plan.Member{sharer("a", 30000, []int32{80})},
			current: []vultr.ForwardingRule{tcp(80, 31080), tcp(443, 31443)},
			want:    []vultr.ForwardingRule{tcp(80, 30080)}, refused: []string{""},
		},
		"one by UDP": {
			members: []plan.Member{sharer("a", 30000, []int32{53}), sharer("b", 31000, []int32{53}, udp)},
			want:    []vultr.ForwardingRule{tcp(53, 30053), rule("udp", 53, "udp", 31053)}, refused: []string{"", ""},
		},
		"the sixteenth port": {
			members: []plan.Member{sharer("a", 30000, from(100, 10)), sharer("b", 31000, from(200, 6))},
			want:    slices.Concat(many(100, 10, 30000), many(200, 5, 31000)), refused: []string{"", "205/TCP (the load balancer forwards 15 ports already"},
		},
		"the sixteenth port is the older one's": {
			members: []plan.Member{sharer("a", 30000, []int32{80, 81}), sharer("b", 31000, from(200, 14))},
			current: slices.Concat([]vultr.ForwardingRule{tcp(80, 30080)}, many(200, 14, 31000)),
			want:    slices.Concat([]vultr.ForwardingRule{tcp(80, 30080)}, many(200, 14, 31000)), refused: []string{"81/TCP (the load balancer forwards 15", ""},
		},
		"one has faults": {
			members: []plan.Member{sharer("a", 30000, []int32{80}), sharer("b", 31000, []int32{443, 444}, faulty)},
			current: []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443)},
			want:    []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443)}, refused: []string{"", ""},
		},
		"all have faults": {
			members: []plan.Member{sharer("a", 30000, []int32{80, 81}, faulty), sharer("b", 31000, []int32{443}, faulty)},
			current: []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443), tcp(8080, 32080)},
			want:    []vultr.ForwardingRule{tcp(80, 30080), tcp(443, 31443)}, refused: []string{"", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Merge(tt.members, vultr.LoadBalancer{Rules: tt.current})
			if diff := cmp.Diff(tt.want, got.Desired.Rules); diff != "" {
				t.Error(diff)
			}
			for i, want := range tt.refused {
				if text := strings.Join(got.Refused[i], ", "); (text == "") != (want == "") || !strings.Contains(text, want) {
					t.Errorf("member %d is refused %q, want %q", i, text, want)
				}
			}
		})
	}
}

// Who may connect: the ranges of one Service neither close the ports of another nor open them.
func TestMergeFirewall(t *testing.T) {
	ranges := func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} }
	faulty, slip := with(settings.NodeCount, "2"), with(settings.FirewallRulesCM, "rules") // no ConfigMap was read
	everybody := func(port int) []vultr.FirewallRule { return admits(port, "0.0.0.0/0", "::/0") }
	a := func(change ...func(*v1.Service)) plan.Member { return sharer("a", 30000, []int32{80}, change...) }
	b := func(change ...func(*v1.Service)) plan.Member { return sharer("b", 31000, []int32{443}, change...) }
	for name, tt := range map[string]struct {
		members         []plan.Member
		current, want   []vultr.FirewallRule
		stated, kept    bool
		overruledSecond bool
	}{
		"nobody says anything": {members: []plan.Member{a(), b()}},
		"one does":             {members: []plan.Member{a(ranges), b()}, want: slices.Concat(admits(80, "10.0.0.0/8"), everybody(443)), stated: true},
		"the other does":       {members: []plan.Member{a(), b(ranges)}, want: slices.Concat(everybody(80), admits(443, "10.0.0.0/8")), stated: true},
		"both do":              {members: []plan.Member{a(ranges), b(ranges)}, want: slices.Concat(admits(80, "10.0.0.0/8"), admits(443, "10.0.0.0/8")), stated: true},
		"everybody is stated":  {members: []plan.Member{a(with(settings.FirewallRules, "")), b()}, stated: true},
		"for the port of another": {
			members: []plan.Member{a(ranges), b(with(settings.FirewallRules, "0.0.0.0/0,80;192.0.2.0/24,443"))},
			want:    slices.Concat(admits(80, "10.0.0.0/8"), admits(443, "192.0.2.0/24")), stated: true, overruledSecond: true,
		},
		"each for the port of the other": { // which must not open both
			members: []plan.Member{a(with(settings.FirewallRules, "10.0.0.0/8,443")), b(with(settings.FirewallRules, "10.0.0.0/8,80"))},
			want:    admits(80, "192.0.2.0/32"), stated: true, overruledSecond: true,
		},
		"faults keep what is restricted": {
			members: []plan.Member{a(faulty), b()}, current: admits(80, "10.0.0.0/8"),
			want: slices.Concat(admits(80, "10.0.0.0/8"), everybody(443)), stated: true,
		},
		"faults keep what is open": {
			members: []plan.Member{a(faulty), b(ranges)},
			want:    slices.Concat(everybody(80), admits(443, "10.0.0.0/8")), stated: true,
		},
		"a slip keeps what is closed": {
			members: []plan.Member{a(slip), b()}, current: admits(443, "10.0.0.0/8"),
			want: everybody(443), stated: true,
		},
		"a slip where all is open": {members: []plan.Member{a(slip), b()}, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			lb := vultr.LoadBalancer{Firewall: tt.current, Rules: []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080), rule("tcp", 443, "tcp", 31443)}}
			got := plan.Merge(tt.members, lb)
			if diff := cmp.Diff(tt.want, got.Desired.Firewall); diff != "" {
				t.Error(diff)
			}
			if d := got.Desired; d.FirewallStated != tt.stated || d.KeepFirewall != tt.kept {
				t.Errorf("stated %t, kept %t", d.FirewallStated, d.KeepFirewall)
			}
			if told := slices.ContainsFunc(got.Overruled[1], func(s string) bool { return strings.Contains(s, "firewall rules") }); told != tt.overruledSecond {
				t.Errorf("told %q", got.Overruled[1])
			}
		})
	}
}

// Firewall rules are for a number, by TCP and UDP alike. Of two who have a number, one by each protocol, and admit others, each would open
// the other's port: the later one's is refused, and nothing changes for who has the other.
func TestMergeFirewallOfBothProtocols(t *testing.T) {
	ranges := func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} }
	udp := func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolUDP }
	slip := with(settings.FirewallRulesCM, "rules") // no ConfigMap was read
	all := with(settings.FirewallRules, "0.0.0.0/0,53;::/0,53")
	tcpOnly := []vultr.ForwardingRule{rule("tcp", 53, "tcp", 30053)}
	udpOnly := []vultr.ForwardingRule{rule("udp", 53, "udp", 31053)}
	both := slices.Concat(tcpOnly, udpOnly)
	a := func(change ...func(*v1.Service)) plan.Member { return sharer("a", 30000, []int32{53}, change...) }
	b := func(change ...func(*v1.Service)) plan.Member {
		return sharer("b", 31000, []int32{53}, append(change, udp)...)
	}
	for name, tt := range map[string]struct {
		members        []plan.Member
		current, want  []vultr.ForwardingRule
		firewall, then []vultr.FirewallRule
		refused        int // the member, -1 for none
		also           int // another one, 0 for none
	}{
		"the younger would open it":         {members: []plan.Member{a(ranges), b()}, want: tcpOnly, then: admits(53, "10.0.0.0/8"), refused: 1},
		"the older would open it":           {members: []plan.Member{a(), b(ranges)}, want: tcpOnly, then: admits(53, "0.0.0.0/0", "::/0"), refused: 1},
		"the younger has it":                {members: []plan.Member{a(ranges), b()}, current: udpOnly, want: udpOnly, then: admits(53, "0.0.0.0/0", "::/0"), refused: 0},
		"both had it, and one is narrowed":  {members: []plan.Member{a(ranges), b()}, current: both, want: tcpOnly, then: admits(53, "10.0.0.0/8"), refused: 1},
		"both admit everybody":              {members: []plan.Member{a(), b()}, want: both, refused: -1},
		"one says that it admits everybody": {members: []plan.Member{a(all), b()}, want: both, then: admits(53, "0.0.0.0/0", "::/0"), refused: -1},
		"both admit the same":               {members: []plan.Member{a(ranges), b(ranges)}, want: both, then: admits(53, "10.0.0.0/8"), refused: -1},
		"a third one that admits the same": {
			members: []plan.Member{a(ranges), b(), sharer("c", 32000, []int32{53}, ranges, udp)},
			want:    []vultr.ForwardingRule{tcpOnly[0], rule("udp", 53, "udp", 32053)}, then: admits(53, "10.0.0.0/8"), refused: -1,
		},
		"a third one that admits others, too": {
			members: []plan.Member{a(ranges), b(), sharer("c", 32000, []int32{53}, udp)}, want: tcpOnly, then: admits(53, "10.0.0.0/8"), refused: 1, also: 2,
		},
		"a slip keeps what both have": {
			members: []plan.Member{a(ranges), b(slip)}, current: both, firewall: admits(53, "10.0.0.0/8"),
			want: both, then: admits(53, "10.0.0.0/8"), refused: -1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Merge(tt.members, vultr.LoadBalancer{Rules: tt.current, Firewall: tt.firewall})
			if diff := cmp.Diff(tt.want, got.Desired.Rules); diff != "" {
				t.Error(diff)
			}
			if len(tt.then) != len(got.Desired.Firewall) || len(tt.then) > 0 && !slices.Equal(tt.then, got.Desired.Firewall) {
				t.Errorf("firewall %+v, want %+v", got.Desired.Firewall, tt.then)
			}
			for i, texts := range got.Refused {
				if told := strings.Contains(strings.Join(texts, ", "), "firewall rules are for both"); told != (i == tt.refused || i > 0 && i == tt.also) {
					t.Errorf("member %d is refused %q", i, texts)
				}
			}
		})
	}
}

// What a load balancer has once for all follows the leader; who states something else is told, and only that one.
func TestMergeSettings(t *testing.T) {
	a := func(change ...func(*v1.Service)) plan.Member { return sharer("a", 30000, []int32{80}, change...) }
	b := func(change ...func(*v1.Service)) plan.Member { return sharer("b", 31000, []int32{443}, change...) }
	local := func(s *v1.Service) {
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
	}
	https := func(change ...func(*v1.Service)) plan.Member {
		return b(append(change, with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls-b"), with(settings.HTTP2, "true"))...)
	}
	redirects := func(name string) plan.Member {
		first := map[string]int32{"a": 8080, "b": 9080}[name]
		return sharer(name, first+20000, []int32{first, first + 1}, with(settings.Protocol, "http"), with(settings.HTTPSPorts, fmt.Sprint(first+1)),
			with(settings.SSL, "tls"), with(settings.SSLRedirect, "true"))
	}
	for name, tt := range map[string]struct {
		members []plan.Member
		leader  string
		is      func(plan.Desired) bool
		told    []string
	}{
		"nothing is stated":    {[]plan.Member{a(with(settings.Timeout, "30")), b()}, "a", func(d plan.Desired) bool { return d.Timeout == 30 && d.HealthCheck.Port == 30080 }, []string{"", ""}},
		"something else":       {[]plan.Member{a(with(settings.Timeout, "30")), b(with(settings.Timeout, "40"), with(settings.NodeCount, "3"))}, "a", func(d plan.Desired) bool { return d.Timeout == 30 && d.Nodes == 1 }, []string{"", "node-count, timeout"}},
		"the same":             {[]plan.Member{a(with(settings.Timeout, "30")), b(with(settings.Timeout, "30"))}, "a", func(d plan.Desired) bool { return d.Timeout == 30 }, []string{"", ""}},
		"the oldest is faulty": {[]plan.Member{a(with(settings.NodeCount, "2"), with(settings.Timeout, "30")), b(with(settings.Timeout, "40"))}, "b", func(d plan.Desired) bool { return d.Timeout == 40 && d.Nodes == 1 }, []string{"", ""}},
		"PROXY protocol":       {[]plan.Member{a(with(settings.ProxyProtocol, "true")), b()}, "a", func(d plan.Desired) bool { return d.ProxyProtocol }, []string{"", "proxy-protocol, which is true for all"}},
		"policy Local":         {[]plan.Member{a(), b(local)}, "a", func(d plan.Desired) bool { return d.HealthCheck.Port == 30080 }, []string{"", ""}},
		"the leader's Local":   {[]plan.Member{a(local), b()}, "a", func(d plan.Desired) bool { return d.HealthCheck.Port == 32000 }, []string{"", ""}},
		"the leader's network": {[]plan.Member{a(with(settings.VPC, "true")), b()}, "a", func(d plan.Desired) bool { return d.VPCOfNodes }, []string{"", ""}},
		"another network":      {[]plan.Member{a(), b(with(settings.PrivateNetwork, "true"))}, "a", func(d plan.Desired) bool { return !d.VPCOfNodes && *d.VPC == "" }, []string{"", "vpc"}},
		"two networks":         {[]plan.Member{a(with(settings.VPC, idA)), b(with(settings.VPC, idB))}, "a", func(d plan.Desired) bool { return *d.VPC == idA }, []string{"", "vpc"}},
		"the same network":     {[]plan.Member{a(with(settings.VPC, idA)), b(with(settings.PrivateNetwork, idA))}, "a", func(d plan.Desired) bool { return *d.VPC == idA }, []string{"", ""}},
		"selectors":            {[]plan.Member{a(with(settings.NodeSelector, "pool=web")), b(with(settings.NodeSelector, "pool=db"))}, "a", func(d plan.Desired) bool { return d.NodeSelector == "" }, []string{"", ""}},
		"a health check":       {[]plan.Member{a(), b(with(settings.HealthCheckPath, "/ok"))}, "a", func(d plan.Desired) bool { return d.HealthCheck.Protocol == "tcp" }, []string{"", "health check"}},
		"https of the second":  {[]plan.Member{a(), https()}, "a", func(d plan.Desired) bool { return d.TLSSecret == "tls-b" && d.HTTP2 && !d.HTTP3 }, []string{"", ""}},
		"http beside https": {
			[]plan.Member{a(with(settings.Protocol, "http")), https()}, "a", func(d plan.Desired) bool { return !d.SSLRedirect }, []string{"", ""},
		},
		"redirect of the second": {
			[]plan.Member{a(with(settings.Protocol, "http")), redirects("b")},
			"a",
			func(d plan.Desired) bool { return d.SSLRedirect && len(d.Rules) == 3 },
			[]string{"ssl-redirect, which Service shop/b has for all http ports", ""},
		},
		"redirect of the second, beside TCP": {
			[]plan.Member{a(), redirects("b")}, "a", func(d plan.Desired) bool { return d.SSLRedirect }, []string{"", ""},
		},
		"redirect of both": {
			[]plan.Member{redirects("a"), redirects("b")}, "a", func(d plan.Desired) bool { return d.SSLRedirect }, []string{"", ""},
		},
		"no redirect, and that of the second": {
			[]plan.Member{a(with(settings.Protocol, "http"), with(settings.SSLRedirect, "false")), redirects("b")},
			"a",
			func(d plan.Desired) bool { return d.SSLRedirect },
			[]string{"ssl-redirect", ""},
		},
		"two certificates": {
			[]plan.Member{sharer("a", 30000, []int32{8443}, with(settings.HTTPSPorts, "8443"), with(settings.SSL, "tls-a")), https()},
			"a",
			func(d plan.Desired) bool { return d.TLSSecret == "tls-a" && !d.HTTP2 },
			[]string{"", "http2, certificate"},
		},
		"HTTP/3 beside UDP": {
			[]plan.Member{sharer("a", 30000, []int32{443}, func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolUDP }), https(with(settings.HTTP3, "true"))},
			"a",
			func(d plan.Desired) bool { return d.HTTP2 && !d.HTTP3 && len(d.Rules) == 2 },
			[]string{"", "http3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i, member := range tt.members {
				if faulty := member.Reading.Err != nil; faulty != (name == "the oldest is faulty" && i == 0) {
					t.Fatalf("member %d: %v", i, member.Reading.Err)
				}
			}
			got := plan.Merge(tt.members, vultr.LoadBalancer{})
			if got.Leader == nil || got.Leader.Name != tt.leader || !tt.is(got.Desired) {
				t.Errorf("leader %v, %+v", got.Leader, got.Desired)
			}
			for i, want := range tt.told {
				if text := strings.Join(got.Overruled[i], ", "); text != want {
					t.Errorf("member %d is told %q, want %q", i, text, want)
				}
			}
		})
	}
}

// An older Service comes to want an https port, too. The certificate stays that of the one whose https port is served, whose clients would
// see another one, and the older one is told.
func TestMergeCertificateStays(t *testing.T) {
	older := func(ports ...int32) plan.Member {
		return sharer("a", 30000, ports, with(settings.HTTPSPorts, "8443"), with(settings.SSL, "tls-a"))
	}
	younger := sharer("b", 31000, []int32{443}, with(settings.HTTPSPorts, "443"), with(settings.SSL, "tls-b"), with(settings.HTTP2, "true"))
	of := func(port, nodePort int) vultr.ForwardingRule { return rule("https", port, "http", nodePort) }
	for name, tt := range map[string]struct {
		members []plan.Member
		current []vultr.ForwardingRule
		secret  string
		told    string // to the first
	}{
		"neither is served":     {members: []plan.Member{older(80, 8443), younger}, secret: "tls-a"},
		"the younger is served": {members: []plan.Member{older(80, 8443), younger}, current: []vultr.ForwardingRule{of(443, 31443)}, secret: "tls-b", told: "certificate"},
		"both are served":       {members: []plan.Member{older(80, 8443), younger}, current: []vultr.ForwardingRule{of(443, 31443), of(8443, 38443)}, secret: "tls-a"},
		"the younger has left":  {members: []plan.Member{older(80, 8443)}, current: []vultr.ForwardingRule{of(443, 31443)}, secret: "tls-a"},
	} {
		t.Run(name, func(t *testing.T) {
			got := plan.Merge(tt.members, vultr.LoadBalancer{Rules: tt.current})
			if got.Desired.TLSSecret != tt.secret || got.Desired.HTTP2 != (tt.secret == "tls-b") {
				t.Errorf("certificate %s, HTTP/2 %t", got.Desired.TLSSecret, got.Desired.HTTP2)
			}
			if text := strings.Join(got.Overruled[0], ", "); text != tt.told {
				t.Errorf("the first is told %q", text)
			}
		})
	}
}

// What the platform refuses of one member is held: it keeps what it has and the others get what they ask for, as if it had faults. If all
// follow it, what there is once stays as it is.
func TestMergeHeld(t *testing.T) {
	ranges := func(s *v1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} }
	current := vultr.LoadBalancer{
		ID: "1", Timeout: 60, Algorithm: "leastconn", ProxyProtocol: true, HealthCheck: vultr.HealthCheck{Protocol: "tcp", Port: 30080},
		Rules: []vultr.ForwardingRule{rule("tcp", 80, "tcp", 30080)},
	}
	for name, tt := range map[string]struct {
		held, timeout int // -1 if it has faults
		algorithm     string
		proxied       bool
		rules         int
	}{
		"the oldest":            {held: 0, timeout: 60, algorithm: "leastconn", proxied: true, rules: 2},
		"the oldest has faults": {held: -1, timeout: 60, algorithm: "leastconn", proxied: true, rules: 2},
		"the youngest":          {held: 1, timeout: 30, algorithm: "roundrobin", rules: 1},
	} {
		t.Run(name, func(t *testing.T) {
			members := []plan.Member{
				sharer("a", 30000, []int32{80}, with(settings.Timeout, "30")),
				sharer("b", 31000, []int32{443}, with(settings.Timeout, "40"), ranges),
			}
			if tt.held < 0 {
				members[0] = sharer("a", 30000, []int32{80}, with(settings.Timeout, "30"), with(settings.NodeCount, "2"))
			} else {
				members[tt.held].Held = true
			}
			got := plan.Merge(members, current)
			d := got.Desired
			if d.Timeout != tt.timeout || d.Algorithm != tt.algorithm || d.ProxyProtocol != tt.proxied || len(d.Rules) != tt.rules {
				t.Errorf("%+v", d)
			}
			if oldest := tt.held < 1; (got.Leader == nil) != oldest || d.VPC != nil && oldest || (len(d.Firewall) > 0) != oldest {
				t.Errorf("leader %v, %+v", got.Leader, d)
			}
		})
	}
}

// Where all have faults, the load balancer stays as it is, without what has left.
func TestMergeWithoutLeader(t *testing.T) {
	faulty := with(settings.NodeCount, "2")
	lb := vultr.LoadBalancer{
		Nodes: 3, Algorithm: "leastconn", Timeout: 40, HTTP2: true, HasSSL: true, SSLRedirect: true, StickyCookie: "route",
		HealthCheck: vultr.HealthCheck{Protocol: "http", Port: 32080, Path: "/ok", CheckInterval: 15, ResponseTimeout: 5, UnhealthyThreshold: 5, HealthyThreshold: 5},
		Rules:       []vultr.ForwardingRule{rule("http", 80, "http", 30080), rule("https", 443, "http", 31443), rule("tcp", 8080, "tcp", 32080)},
		Firewall:    slices.Concat(admits(80, "10.0.0.0/8"), admits(8080, "10.0.0.0/8")),
	}
	got := plan.Merge([]plan.Member{sharer("a", 30000, []int32{80}, faulty), sharer("b", 31000, []int32{443}, faulty)}, lb)
	change := plan.Diff(lb, got.Desired)
	if got.Leader != nil || !slices.Equal(change.Fields, []string{"health_check", "forwarding_rules", "firewall_rules"}) {
		t.Errorf("leader %v; %v differ", got.Leader, change.Fields)
	}
	if hc := got.Desired.HealthCheck; hc.Protocol != "tcp" || hc.Port != 30080 {
		t.Errorf("what is checked has left: %+v", hc)
	}
	if !got.Desired.KeepTLS {
		t.Error("the certificate is not kept")
	}
}

// Whatever members ask for, no port is given twice, none leads elsewhere, nobody is closed by another, and what was applied is
// not changed again.
func FuzzMerge(f *testing.F) {
	f.Add(uint16(0x0137), uint16(0x8241), uint8(0), "10.0.0.0/8")
	f.Add(uint16(0xffff), uint16(0xffff), uint8(3), "")
	f.Add(uint16(0x00ff), uint16(0xff00), uint8(5), "192.0.2.0/24,::/0")
	f.Fuzz(func(t *testing.T, first, second uint16, flags uint8, ranges string) {
		ports := func(bits uint16) (numbers []int32) {
			for i := range int32(16) {
				if bits&(1<<i) != 0 {
					numbers = append(numbers, 80+i)
				}
			}
			return numbers
		}
		restricted := func(on uint8) func(*v1.Service) {
			return func(s *v1.Service) {
				if flags&on != 0 && ranges != "" {
					s.Spec.LoadBalancerSourceRanges = strings.Split(ranges, ",")
				}
				if flags&(on<<2) != 0 {
					s.Annotations[string(settings.NodeCount)] = "2" // a fault
				}
			}
		}
		members := []plan.Member{sharer("a", 30000, ports(first), restricted(1)), sharer("b", 31000, ports(second), restricted(2))}
		var lb vultr.LoadBalancer
		for round := range 3 {
			got := plan.Merge(members, lb)
			checkMerged(t, members, got)
			change := plan.Diff(lb, got.Desired)
			if round > 0 && !change.Empty() {
				t.Fatalf("round %d: %v differ", round, change.Fields)
			}
			lb = applied(lb, change.Settings)
		}
		// The second one goes, and its ports with it.
		left := plan.Merge(members[:1], lb)
		if slices.ContainsFunc(left.Desired.Rules, func(r vultr.ForwardingRule) bool { return r.BackendPort >= 31000 }) {
			t.Fatalf("%+v", left.Desired.Rules)
		}
	})
}

func checkMerged(t *testing.T, members []plan.Member, got plan.Merged) {
	t.Helper()
	if len(got.Desired.Rules) > plan.MaxRules {
		t.Fatalf("%d rules", len(got.Desired.Rules))
	}
	taken := map[int]bool{}
	for _, r := range got.Desired.Rules {
		if taken[r.FrontendPort] || !plan.LeadsTo(r, members[0].Service) && !plan.LeadsTo(r, members[1].Service) {
			t.Fatalf("%+v", got.Desired.Rules)
		}
		taken[r.FrontendPort] = true
	}
	for i, member := range members {
		own := plan.RulesOf(got.Desired.Rules, member.Service)
		if member.Reading.Err == nil && len(own)+len(got.Refused[i]) != len(member.Service.Spec.Ports) {
			t.Fatalf("member %d has %d ports and is refused %q", i, len(own), got.Refused[i])
		}
		open := member.Reading.Err == nil && len(member.Service.Spec.LoadBalancerSourceRanges) == 0
		for _, r := range own {
			everybody := slices.Contains(got.Desired.Firewall, vultr.FirewallRule{Port: r.FrontendPort, Source: "0.0.0.0/0", IPType: "v4"})
			if len(got.Desired.Firewall) > 0 && open && !everybody {
				t.Fatalf("port %d is closed: %+v", r.FrontendPort, got.Desired.Firewall)
			}
		}
	}
}
