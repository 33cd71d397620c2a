package balancer

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

func TestPick(t *testing.T) {
	up := func(id string, connections int) candidate {
		return candidate{id: id, healthy: true, connections: connections}
	}
	down := candidate{id: "down"}
	tried := candidate{id: "tried", healthy: true, tried: true}
	tests := map[string]struct {
		pool      pool
		algorithm string
		turn      uint64
		sticky    string
		want      string // "" for none
	}{
		"nobody":                             {nil, roundRobin, 0, "", ""},
		"nobody healthy":                     {pool{down, tried}, roundRobin, 0, "", ""},
		"first turn":                         {pool{up("a", 0), up("b", 0)}, roundRobin, 0, "", "a"},
		"second turn":                        {pool{up("a", 0), up("b", 0)}, roundRobin, 1, "", "b"},
		"third turn":                         {pool{up("a", 0), up("b", 0)}, roundRobin, 2, "", "a"},
		"the sick are passed over":           {pool{down, up("a", 0), tried, up("b", 0)}, roundRobin, 1, "", "b"},
		"round robin does not count":         {pool{up("a", 9), up("b", 0)}, roundRobin, 0, "", "a"},
		"least connections":                  {pool{up("a", 2), up("b", 1), up("c", 3)}, leastConn, 0, "", "b"},
		"least connections among the usable": {pool{up("a", 2), down, tried}, leastConn, 0, "", "a"},
		"ties go by turn":                    {pool{up("a", 1), up("b", 1), up("c", 1)}, leastConn, 2, "", "c"},
		"a cookie wins":                      {pool{up("a", 0), up("b", 5)}, leastConn, 0, "b", "b"},
		"a cookie of a sick backend":         {pool{up("a", 0), down}, roundRobin, 0, "down", "a"},
		"a cookie of nobody":                 {pool{up("a", 0), up("b", 0)}, roundRobin, 1, "x", "b"},
		"unknown algorithm is round robin":   {pool{up("a", 3), up("b", 0)}, "", 0, "", "a"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i, ok := test.pool.pick(test.algorithm, test.turn, test.sticky)
			if ok != (test.want != "") || ok && test.pool[i].id != test.want {
				t.Errorf("picked %d, %v; want %q", i, ok, test.want)
			}
		})
	}
}

func TestFirewall(t *testing.T) {
	rule := func(port int, source string) simulator.BalancerFirewallRule {
		return simulator.BalancerFirewallRule{Port: port, Source: source}
	}
	tests := map[string]struct {
		rules  []simulator.BalancerFirewallRule
		port   int
		source string
		want   bool
	}{
		"no rule admits everybody":          {nil, 80, "203.0.113.9", true},
		"inside":                            {[]simulator.BalancerFirewallRule{rule(80, "203.0.113.0/24")}, 80, "203.0.113.9", true},
		"a prefix with host bits":           {[]simulator.BalancerFirewallRule{rule(80, "203.0.113.7/24")}, 80, "203.0.113.9", true},
		"outside":                           {[]simulator.BalancerFirewallRule{rule(80, "203.0.113.0/24")}, 80, "198.51.100.1", false},
		"another port's rule":               {[]simulator.BalancerFirewallRule{rule(443, "0.0.0.0/0")}, 80, "203.0.113.9", false},
		"one of several":                    {[]simulator.BalancerFirewallRule{rule(80, "192.0.2.0/24"), rule(80, "203.0.113.0/24")}, 80, "203.0.113.9", true},
		"a bare address never matches":      {[]simulator.BalancerFirewallRule{rule(80, "203.0.113.9")}, 80, "203.0.113.9", false},
		"cloudflare":                        {[]simulator.BalancerFirewallRule{rule(80, "cloudflare")}, 80, "104.16.1.1", true},
		"not cloudflare":                    {[]simulator.BalancerFirewallRule{rule(80, "cloudflare")}, 80, "203.0.113.9", false},
		"v4 in v6 notation":                 {[]simulator.BalancerFirewallRule{rule(80, "203.0.113.0/24")}, 80, "::ffff:203.0.113.9", true},
		"all of v4 does not mean all of v6": {[]simulator.BalancerFirewallRule{rule(80, "0.0.0.0/0")}, 80, "2001:db8::1", false},
		"what is no source admits nobody":   {[]simulator.BalancerFirewallRule{rule(80, "everybody")}, 80, "203.0.113.9", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := newFirewall(test.rules).admits(test.port, netip.MustParseAddr(test.source)); got != test.want {
				t.Errorf("admits %v, want %v", got, test.want)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	bad := errors.New("bad")
	tests := map[string]struct {
		results string // "+" a good check, "-" a bad one
		want    string // the verdict after each
	}{
		"the first check decides":        {"+", "+"},
		"the first check decides, badly": {"-", "-"},
		"down after three in a row":      {"+--+---", "++++++-"},
		"up after two in a row":          {"-+-++", "----+"},
		"a good one forgives":            {"+-+-+-+", "+++++++"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var v verdict
			var got strings.Builder
			for _, result := range test.results {
				failure := bad
				if result == '+' {
					failure = nil
				}
				v = v.next(failure, 2, 3)
				got.WriteString(map[bool]string{true: "+", false: "-"}[v.healthy])
				if v.healthy != (v.words() == "") {
					t.Errorf("healthy %v, but %q", v.healthy, v.words())
				}
			}
			if got.String() != test.want {
				t.Errorf("%s gave %s, want %s", test.results, got.String(), test.want)
			}
		})
	}
	if words := (verdict{}).words(); words != "not checked yet" {
		t.Errorf("before the first check: %q", words)
	}
}

func TestAddressesAreStableAndReused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addresses.json")
	pool := netip.MustParsePrefix("192.0.2.0/29")
	a, err := openAddresses(pool, file)
	if err != nil {
		t.Fatal(err)
	}
	given := map[netip.Addr]bool{}
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		address, err := a.reserve(id)
		if err != nil || !pool.Contains(address) || given[address] {
			t.Fatalf("%s got %s, %v", id, address, err)
		}
		given[address] = true
	}
	for _, never := range []string{"192.0.2.0", "192.0.2.7"} {
		if given[netip.MustParseAddr(never)] {
			t.Errorf("%s was given away", never)
		}
	}
	if _, err := a.reserve("g"); err == nil {
		t.Error("a seventh address of six")
	}
	want, _ := a.of("c")
	if err := errors.Join(a.release("a"), a.release("nobody")); err != nil {
		t.Fatal(err)
	}
	again, err := openAddresses(pool, file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.reserve("c"); err != nil || got != want {
		t.Errorf("after a restart c has %s (%v), before %s", got, err, want)
	}
	if _, err := again.reserve("g"); err != nil {
		t.Errorf("the released address is not free: %v", err)
	}
	if err := again.claim("h", want); err == nil {
		t.Error("h could claim c's address")
	}
	if err := again.claim("c", netip.MustParseAddr("192.0.2.1")); err == nil && want.String() != "192.0.2.1" {
		t.Error("c could change its address")
	}
	if _, err := openAddresses(netip.MustParsePrefix("198.51.100.0/24"), file); err == nil {
		t.Error("the range changed below the load balancers")
	}
	if err := again.claim("h", netip.MustParseAddr("198.51.100.1")); err == nil {
		t.Error("an address outside of the range was accepted")
	}
}

func TestCompileNamesEveryFault(t *testing.T) {
	_, err := compile(simulator.BalancerSpec{
		ID: "lb", Address: "nowhere",
		Rules: []simulator.BalancerRule{
			{ID: "r1", FrontendProtocol: "sctp", FrontendPort: 80, BackendPort: 80},
			{ID: "r2", FrontendProtocol: "tcp", FrontendPort: 0, BackendPort: 80},
			{ID: "r3", FrontendProtocol: "tcp", FrontendPort: 81, BackendPort: 80},
			{ID: "r4", FrontendProtocol: "http", FrontendPort: 81, BackendPort: 80},
			{ID: "r5", FrontendProtocol: "udp", FrontendPort: 81, BackendPort: 80},
		},
		Certificate: &simulator.BalancerCertificate{CertificatePEM: []byte("x"), PrivateKeyPEM: []byte("hush")},
		Backends:    []simulator.BalancerBackend{{InstanceID: "i1", Address: ""}},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"nowhere", "sctp", "r2", "port 81 is in two rules", "certificate", "i1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "r5") || strings.Contains(err.Error(), "hush") {
		t.Errorf("%q", err)
	}
}
