package vultr

import (
	"context"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	liveVPC = `{"id":"` + idA + `","region":"EWR","description":"net","v4_subnet":"10.1.96.0","v4_subnet_mask":20,"date_created":"2026-01-02T03:04:05+00:00"}`
	liveIP  = `{"id":"` + idA + `","region":"ewr","ip_type":"v4","subnet":"192.0.2.7","subnet_size":32,"label":"web","instance_id":"` + idB + `"}`
	// Live answers have no instance_count.
	liveGroup = `{"id":"` + idA + `","description":"nodes","date_created":"2026-01-02T03:04:05+00:00","date_modified":"2026-01-02T03:04:05+00:00",
		"rule_count":2,"max_rule_count":50}`
	liveRule = `{"id":7,"action":"accept","type":"v4","ip_type":"v4","direction":"in","protocol":"TCP","port":"30000:32767",
		"subnet":"203.0.113.0","subnet_size":24,"source":"203.0.113.0/24","notes":"n","loadbalancer_id":""}`
)

var (
	created  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	wantVPC  = VPC{ID: idA, Region: "ewr", Description: "net", Subnet: netip.MustParsePrefix("10.1.96.0/20"), Created: created}
	wantIP   = ReservedIP{ID: idA, Region: "ewr", Prefix: netip.MustParsePrefix("192.0.2.7/32"), Label: "web", InstanceID: idB}
	wantRule = GroupRule{ID: 7, Protocol: "tcp", Port: "30000:32767", Subnet: netip.MustParsePrefix("203.0.113.0/24"), Notes: "n"}
)

// networkCloud answers every route of networks, addresses, firewall groups and plans.
func networkCloud(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodDelete || r.Method == http.MethodPut || r.Method == http.MethodPatch ||
		strings.HasSuffix(r.URL.Path, "tach") {
		return reply(204, nil), nil
	}
	kinds := []struct{ path, one, many, object string }{
		{vpcsPath, "vpc", "vpcs", liveVPC},
		{reservedIPsPath, "reserved_ip", "reserved_ips", liveIP},
		{firewallsPath + "/" + idA + "/rules", "firewall_rule", "firewall_rules", liveRule},
		{firewallsPath, "firewall_group", "firewall_groups", liveGroup},
		{"/v2/plans-metal", "", "plans_metal", `{"id":"vbm-4c","cpu_count":1,"cpu_threads":8,"ram":32768,"disk":240,"disk_count":2,"type":"SSD","locations":["ewr"]}`},
		{"/v2/plans", "", "plans", `{"id":"vc2-2c-4gb","vcpu_count":2,"ram":4096,"disk":80,"disk_count":1,"type":"vc2","monthly_cost":20,"locations":["EWR"],"gpu_type":"A16"}`},
		{instancesPath + "/" + idA + "/vpcs", "", "vpcs", `{"id":"` + idB + `","mac_address":"5a:00:03:1b:4e:ca","ip_address":"10.1.96.3"}`},
	}
	for _, kind := range kinds {
		switch {
		case r.URL.Path == kind.path && r.Method == http.MethodGet:
			return reply(200, `{"`+kind.many+`":[`+kind.object+`],"meta":{"total":1,"links":{"next":"","prev":""}}}`), nil
		case r.URL.Path == kind.path, r.URL.Path == kind.path+"/"+idA:
			return reply(201, `{"`+kind.one+`":`+kind.object+`}`), nil
		}
	}
	return refusal(404, "Invalid VPC ID."), nil
}

func TestNetworksAreDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := (&cloud{answer: networkCloud}).client(t), t.Context()
		check := func(what string, got, want any, err error) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v; want %+v", what, got, err, want)
			}
		}
		vpc, err := c.VPC(ctx, idA)
		check("vpc", vpc, wantVPC, err)
		vpc, err = c.CreateVPC(ctx, VPCRequest{Region: "ewr", Description: "net"})
		check("new vpc", vpc, wantVPC, err)
		vpcs, err := c.VPCs(ctx, 0)
		check("vpcs", vpcs.Items, []VPC{wantVPC}, err)

		ip, err := c.ReservedIP(ctx, idA)
		check("reserved IP", ip, wantIP, err)
		ip, err = c.CreateReservedIP(ctx, "ewr", "v4", "web")
		check("new reserved IP", ip, wantIP, err)
		ips, err := c.ReservedIPs(ctx, 0)
		check("reserved IPs", ips.Items, []ReservedIP{wantIP}, err)

		wantGroup := FirewallGroup{ID: idA, Description: "nodes", Rules: 2, MaxRules: 50, Created: created}
		group, err := c.FirewallGroup(ctx, idA)
		check("group", group, wantGroup, err)
		group, err = c.CreateFirewallGroup(ctx, "nodes")
		check("new group", group, wantGroup, err)
		groups, err := c.FirewallGroups(ctx, 0)
		check("groups", groups.Items, []FirewallGroup{wantGroup}, err)
		rules, err := c.FirewallGroupRules(ctx, idA)
		check("rules", rules, []GroupRule{wantRule}, err)
		rule, err := c.CreateFirewallGroupRule(ctx, idA, wantRule)
		check("new rule", rule, wantRule, err)

		plans, err := c.Plans(ctx)
		check("plans", plans, []Plan{
			{ID: "vc2-2c-4gb", Kind: KindVM, Type: "vc2", CPUs: 2, MemoryMB: 4096, DiskGB: 80, Disks: 1, GPU: "A16", Regions: []string{"ewr"}},
			{ID: "vbm-4c", Kind: KindBareMetal, Type: "SSD", CPUs: 8, MemoryMB: 32768, DiskGB: 240, Disks: 2, Regions: []string{"ewr"}},
		}, err)
		networks, err := c.Networks(ctx, Instance{ID: idA, Kind: KindVM})
		check("networks", networks, []Network{{VPC: idB, IP: "10.1.96.3", MAC: "5a:00:03:1b:4e:ca"}}, err)
		if _, err := c.Networks(ctx, Instance{ID: idB, Kind: KindBareMetal}); !IsNotFound(err) {
			t.Errorf("networks of a server that is not there: %v", err)
		}
	})
}

func TestNetworkRequestsAsTheyAreSent(t *testing.T) {
	net := &cloud{answer: networkCloud}
	c := net.client(t)
	v6 := netip.MustParsePrefix("2001:db8::/64")
	tests := []struct {
		do                 func(ctx context.Context) error
		method, path, body string
	}{
		{func(ctx context.Context) error {
			_, err := c.CreateVPC(ctx, VPCRequest{Region: "ewr", Description: "net", Subnet: netip.MustParsePrefix("10.1.97.5/20")})
			return err
		}, "POST", vpcsPath, `{"region":"ewr","description":"net","v4_subnet":"10.1.96.0","v4_subnet_mask":20}`},
		{func(ctx context.Context) error { return c.DescribeVPC(ctx, idA, "") }, "PUT", vpcsPath + "/" + idA, `{"description":""}`},
		{func(ctx context.Context) error { return c.DeleteVPC(ctx, idA) }, "DELETE", vpcsPath + "/" + idA, ``},

		{
			func(ctx context.Context) error { _, err := c.CreateReservedIP(ctx, "ewr", "v6", "x"); return err },
			"POST", reservedIPsPath, `{"region":"ewr","ip_type":"v6","label":"x"}`,
		},
		{func(ctx context.Context) error { return c.RelabelReservedIP(ctx, idA, "") }, "PATCH", reservedIPsPath + "/" + idA, `{"label":""}`},
		{
			func(ctx context.Context) error { return c.AttachReservedIP(ctx, idA, idB) },
			"POST", reservedIPsPath + "/" + idA + "/attach", `{"instance_id":"` + idB + `"}`,
		},
		{func(ctx context.Context) error { return c.DetachReservedIP(ctx, idA) }, "POST", reservedIPsPath + "/" + idA + "/detach", ``},
		{func(ctx context.Context) error { return c.DeleteReservedIP(ctx, idA) }, "DELETE", reservedIPsPath + "/" + idA, ``},

		{func(ctx context.Context) error { _, err := c.CreateFirewallGroup(ctx, "x"); return err }, "POST", firewallsPath, `{"description":"x"}`},
		{func(ctx context.Context) error { return c.DescribeFirewallGroup(ctx, idA, "") }, "PUT", firewallsPath + "/" + idA, `{"description":""}`},
		{func(ctx context.Context) error { return c.DeleteFirewallGroup(ctx, idA) }, "DELETE", firewallsPath + "/" + idA, ``},
		{func(ctx context.Context) error {
			_, err := c.CreateFirewallGroupRule(ctx, idA, GroupRule{Protocol: "TCP", Port: "22", Subnet: v6, Notes: "ssh"})
			return err
		}, "POST", firewallsPath + "/" + idA + "/rules", `{"ip_type":"v6","protocol":"tcp","port":"22","subnet":"2001:db8::","subnet_size":64,"notes":"ssh"}`},
		{func(ctx context.Context) error { return c.DeleteFirewallGroupRule(ctx, idA, 7) }, "DELETE", firewallsPath + "/" + idA + "/rules/7", ``},
	}
	for i, test := range tests {
		if err := test.do(t.Context()); err != nil {
			t.Fatalf("%s %s: %v", test.method, test.path, err)
		}
		got := net.requests()[i]
		if got.method != test.method || got.path != test.path || !sameJSON(t, got.body, test.body) {
			t.Errorf("got %s %s %s, want %s %s %s", got.method, got.path, got.body, test.method, test.path, test.body)
		}
	}
	if _, err := c.CreateFirewallGroupRule(t.Context(), idA, GroupRule{Protocol: "tcp", Port: "22"}); !IsInvalid(err) || len(net.requests()) != len(tests) {
		t.Errorf("a rule without a subnet: %v", err)
	}
}

func TestWhatIsInTheWay(t *testing.T) {
	texts := map[string]func(error) bool{
		"Can not delete this subscription until it is detatched from all machines": IsInUse, //nolint:misspell // the platform's spelling
		"The following servers are attached to this VPC network: 192.0.2.7":        IsInUse,
		"VPC is attached to 192.0.2.7, 192.0.2.8":                                  IsInUse,
		"This rule is already defined ":                                            IsDuplicateRule,
		"Attachment Not Found":                                                     IsNotAttached,
		"Block storage volume is not currently attached to a server":               IsNotAttached,
	}
	for text, is := range texts {
		err := error(&Error{Status: 400, Message: text})
		for other, also := range texts {
			same := reflect.ValueOf(also).Pointer() == reflect.ValueOf(is).Pointer()
			if also(err) != same {
				t.Errorf("%q taken for what %q means: %t", text, other, !same)
			}
		}
		if is(&Error{Status: 502, Message: text}) {
			t.Errorf("%q believed from a proxy", text)
		}
	}
	if err := (&Error{Status: 400, Message: "VPC is attached to 192.0.2.7"}); !IsConflict(err) {
		t.Error("what is in use now may be free later")
	}
}

func TestPrefixes(t *testing.T) {
	for _, bad := range []struct {
		address string
		size    int
	}{{"", 24}, {"x", 24}, {"10.0.0.0", 33}, {"10.0.0.0", -1}} {
		if p := prefixOf(bad.address, bad.size); p.IsValid() {
			t.Errorf("%+v: %v", bad, p)
		}
	}
}
