package vultr_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const nobody = "00000000-0000-4000-8000-000000000000"

// must returns the value of a call that has to succeed.
func must[T any](t *testing.T, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// named looks for what was created, as long as lists may lack it.
func named[T any](ctx context.Context, t *testing.T, c *vultr.Client, list func(context.Context) (vultr.List[T], error), match func(T) bool) []T {
	t.Helper()
	guard := vultr.NewAttemptGuard(c.SettleTime())
	guard.AttemptEnded("x") // so that no absence is believed before the settle time is over
	absent := func(began time.Time) error { return guard.Absent("x", began) }
	found, err := vultr.Search[T]{List: list, Match: match, Absent: absent}.Run(ctx)
	return must(t, found, err)
}

func TestContractSnapshots(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		t.Run(fmt.Sprintf("wrapped %t", wrapped), func(t *testing.T) {
			cloud, c := start(t, simtest.Options{Config: simulator.Config{WrapSnapshots: wrapped}})
			ctx := testContext(t)
			v := create(ctx, t, c, "pvc-1")
			s, err := c.CreateSnapshot(ctx, v.ID, "snap-1")
			s = must(t, s, err)
			if s.VolumeID != v.ID || s.Description != "snap-1" || s.Complete() || s.SizeBytes != int64(v.SizeGB)<<30 {
				t.Errorf("created: %+v", s)
			}
			s, err = c.WaitSnapshot(ctx, s.ID, func(s vultr.Snapshot) (bool, error) { return s.Complete(), nil })
			s = must(t, s, err)
			if s.VolumeID != v.ID || s.Description != "snap-1" || s.Created.IsZero() || time.Since(s.Created) > time.Minute {
				t.Errorf("complete: %+v", s)
			}
			if got, err := c.Snapshot(ctx, s.ID); err != nil || got != s {
				t.Errorf("read: %+v, %v; want %+v", got, err, s)
			}
			if err := c.DescribeSnapshot(ctx, s.ID, "snap-2"); err != nil {
				t.Fatal(err)
			}
			awaited(ctx, t, cloud, c.Snapshot, s.ID, func(s vultr.Snapshot) bool { return s.Description == "snap-2" })
			for description, want := range map[string]int{"snap-1": 0, "snap-2": 1, "SNAP-2": 0, "nothing": 0} {
				if list, err := c.SnapshotsDescribed(ctx, description); err != nil || len(list.Items) != want {
					t.Errorf("described as %q: %+v, %v", description, list.Items, err)
				}
			}
			restored(ctx, t, cloud, c, v, s)
		})
	}
}

// restored makes a volume from the snapshot, and deletes in any order what depends on nothing.
func restored(ctx context.Context, t *testing.T, cloud *simtest.Cloud, c *vultr.Client, v vultr.Volume, s vultr.Snapshot) {
	t.Helper()
	request := vultr.VolumeRequest{Label: "pvc-2", Region: v.Region, SizeGB: 20, Type: vultr.HighPerf, SnapshotID: s.ID}
	small := request
	small.SizeGB = 5
	if _, err := c.CreateVolume(ctx, small); !vultr.IsInvalid(err) || vultr.IsOutcomeUnknown(err) {
		t.Errorf("a volume smaller than the snapshot: %v", err)
	}
	clone, err := c.CreateVolume(ctx, request)
	clone = must(t, clone, err)
	clone, err = c.WaitVolume(ctx, "create", clone.ID, active)
	if clone = must(t, clone, err); clone.SnapshotID != s.ID || clone.SizeGB != 20 {
		t.Errorf("the restored volume: %+v", clone)
	}
	if err := c.DeleteVolume(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	awaitGone(ctx, t, cloud, c.Volume, v.ID)
	if _, err := c.Snapshot(ctx, s.ID); err != nil {
		t.Errorf("the snapshot went with its volume: %v", err)
	}
	if err := c.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	awaitGone(ctx, t, cloud, c.Snapshot, s.ID)
	for name, err := range map[string]error{
		"read":     func() error { _, err := c.Snapshot(ctx, s.ID); return err }(),
		"describe": c.DescribeSnapshot(ctx, s.ID, "x"),
		"delete":   c.DeleteSnapshot(ctx, s.ID),
		"wait": func() error {
			_, err := c.WaitSnapshot(ctx, s.ID, func(vultr.Snapshot) (bool, error) { return true, nil })
			return err
		}(),
	} {
		if !vultr.IsNotFound(err) {
			t.Errorf("%s after the delete: %v", name, err)
		}
	}
	if _, err := c.Volume(ctx, clone.ID); err != nil {
		t.Errorf("the restored volume went with the snapshot: %v", err)
	}
}

func TestContractVPCs(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	auto, err := c.CreateVPC(ctx, vultr.VPCRequest{Region: "ewr", Description: "auto"})
	if auto = must(t, auto, err); !auto.Subnet.IsValid() || !auto.Subnet.Addr().IsPrivate() || auto.Region != "ewr" || auto.Description != "auto" {
		t.Errorf("created: %+v", auto)
	}
	subnet := netip.MustParsePrefix("10.77.16.0/20")
	chosen, err := c.CreateVPC(ctx, vultr.VPCRequest{Region: "ewr", Description: "chosen", Subnet: subnet})
	if chosen = must(t, chosen, err); chosen.Subnet != subnet {
		t.Errorf("created: %+v", chosen)
	}
	if err := c.DescribeVPC(ctx, chosen.ID, "mine"); err != nil {
		t.Fatal(err)
	}
	awaited(ctx, t, cloud, c.VPC, chosen.ID, func(v vultr.VPC) bool { return v.Description == "mine" })
	found := named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.VPC], error) { return c.VPCs(ctx, 0) },
		func(v vultr.VPC) bool { return v.Description == "mine" })
	if got, err := c.VPC(ctx, chosen.ID); err != nil || len(found) != 1 || found[0] != got || got.Subnet != subnet {
		t.Errorf("read %+v, %v; listed %+v", got, err, found)
	}
	inVPC(ctx, t, cloud, c, chosen)
	if err := c.DeleteVPC(ctx, auto.ID); err != nil {
		t.Error(err)
	}
	awaitGone(ctx, t, cloud, c.VPC, auto.ID)
	if err := c.DeleteVPC(ctx, auto.ID); !vultr.IsNotFound(err) {
		t.Errorf("a second delete: %v", err)
	}
}

// inVPC puts a server into the VPC and asks where it is.
func inVPC(ctx context.Context, t *testing.T, cloud *simtest.Cloud, c *vultr.Client, vpc vultr.VPC) {
	t.Helper()
	id := cloud.AddInstance(simulator.NewServer{Label: "w1", Region: "ewr"})
	post(ctx, t, cloud, "/v2/instances/"+id+"/vpcs/attach", `{"vpc_id":"`+vpc.ID+`"}`)
	for ctx.Err() == nil {
		in, err := c.Instance(ctx, id)
		networks, errNetworks := c.Networks(ctx, must(t, in, err))
		if networks = must(t, networks, errNetworks); len(networks) == 0 || networks[0].IP == "" {
			continue // the address comes some seconds later
		}
		address, err := netip.ParseAddr(networks[0].IP)
		if err != nil || len(networks) != 1 || networks[0].VPC != vpc.ID || !vpc.Subnet.Contains(address) || networks[0].MAC == "" {
			t.Errorf("networks %+v, %v", networks, err)
		}
		if in, err = c.Instance(ctx, id); err != nil || !slices.Equal(in.VPCs, []string{vpc.ID}) || in.InternalIP != networks[0].IP {
			t.Errorf("the server has %s in %v, %v", in.InternalIP, in.VPCs, err)
		}
		break
	}
	if err := c.DeleteVPC(ctx, vpc.ID); !vultr.IsInUse(err) || !vultr.IsConflict(err) {
		t.Errorf("delete of a VPC in use: %v", err)
	}
	if networks, err := c.Networks(ctx, vultr.Instance{ID: nobody, Kind: vultr.KindVM}); !vultr.IsNotFound(err) {
		t.Errorf("networks of nobody: %+v, %v", networks, err)
	}
}

func TestContractReservedIPs(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	instance := cloud.AddInstance(simulator.NewServer{Label: "w1", Region: "ewr"})
	for kind, bits := range map[string]int{"v4": 32, "v6": 64} {
		ip, err := c.CreateReservedIP(ctx, "ewr", kind, "web")
		ip = must(t, ip, err)
		if ip.Region != "ewr" || ip.Label != "web" || ip.InstanceID != "" || ip.Prefix.Bits() != bits {
			t.Errorf("%s: created %+v", kind, ip)
		}
		if err := c.RelabelReservedIP(ctx, ip.ID, ""); err != nil {
			t.Error(err)
		}
		if err := c.AttachReservedIP(ctx, ip.ID, instance); err != nil {
			t.Error(err)
		}
		got := awaited(ctx, t, cloud, c.ReservedIP, ip.ID, func(r vultr.ReservedIP) bool { return r.InstanceID == instance })
		if got.Label != "" || got.Prefix != ip.Prefix {
			t.Errorf("%s: attached %+v", kind, got)
		}
		if err := c.DetachReservedIP(ctx, ip.ID); err != nil {
			t.Error(err)
		}
		cloud.AwaitReads()
		found := named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.ReservedIP], error) { return c.ReservedIPs(ctx, 0) },
			func(r vultr.ReservedIP) bool { return r.ID == ip.ID })
		if len(found) != 1 || found[0].InstanceID != "" {
			t.Errorf("%s: listed %+v", kind, found)
		}
		if err := c.DeleteReservedIP(ctx, ip.ID); err != nil {
			t.Error(err)
		}
		awaitGone(ctx, t, cloud, c.ReservedIP, ip.ID)
	}
	if _, err := c.CreateReservedIP(ctx, "ewr", "v5", "web"); !vultr.IsInvalid(err) {
		t.Errorf("got %v", err)
	}
}

func TestContractFirewallGroups(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	group, err := c.CreateFirewallGroup(ctx, "nodes")
	if group = must(t, group, err); group.Description != "nodes" || group.Rules != 0 || group.MaxRules == 0 {
		t.Errorf("created: %+v", group)
	}
	wanted := []vultr.GroupRule{
		{Protocol: "tcp", Port: "22", Subnet: netip.MustParsePrefix("203.0.113.0/24"), Notes: "ssh"},
		{Protocol: "udp", Port: "30000:32767", Subnet: netip.MustParsePrefix("2001:db8::/32")},
		{Protocol: "icmp", Subnet: netip.MustParsePrefix("0.0.0.0/0")},
		{Protocol: "tcp", Port: "443", Subnet: netip.MustParsePrefix("0.0.0.0/0"), Source: "cloudflare"},
	}
	for i, r := range wanted {
		made, err := c.CreateFirewallGroupRule(ctx, group.ID, r)
		made = must(t, made, err)
		wanted[i].ID = made.ID
		if made.ID == 0 || made != wanted[i] {
			t.Errorf("made %+v, want %+v", made, wanted[i])
		}
	}
	if _, err := c.CreateFirewallGroupRule(ctx, group.ID, wanted[0]); !vultr.IsDuplicateRule(err) || vultr.IsOutcomeUnknown(err) {
		t.Errorf("a rule twice: %v", err)
	}
	cloud.AwaitReads()
	rules, err := c.FirewallGroupRules(ctx, group.ID)
	if rules = must(t, rules, err); !slices.Equal(rules, wanted) {
		t.Errorf("got %+v, want %+v", rules, wanted)
	}
	for range 2 { // the second time there is none
		err = c.DeleteFirewallGroupRule(ctx, group.ID, wanted[0].ID)
	}
	if !vultr.IsNotFound(err) {
		t.Errorf("a second delete of a rule: %v", err)
	}
	if err := c.DescribeFirewallGroup(ctx, group.ID, ""); err != nil {
		t.Error(err)
	}
	cloud.AwaitReads()
	found := named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.FirewallGroup], error) { return c.FirewallGroups(ctx, 0) },
		func(g vultr.FirewallGroup) bool { return g.ID == group.ID })
	if got, err := c.FirewallGroup(ctx, group.ID); err != nil || got.Rules != 3 || got.Description != "" || len(found) != 1 || found[0] != got {
		t.Errorf("read %+v, %v; listed %+v", got, err, found)
	}
	if err := c.DeleteFirewallGroup(ctx, group.ID); err != nil {
		t.Error(err)
	}
	awaitGone(ctx, t, cloud, c.FirewallGroup, group.ID)
	if _, err := c.FirewallGroupRules(ctx, group.ID); !vultr.IsNotFound(err) {
		t.Errorf("rules of a group that is gone: %v", err)
	}
}

func TestContractPlans(t *testing.T) {
	_, c := start(t, simtest.Options{})
	plans, err := c.Plans(testContext(t))
	plans = must(t, plans, err)
	small := slices.IndexFunc(plans, func(p vultr.Plan) bool { return p.ID == "vc2-2c-4gb" })
	metal := slices.ContainsFunc(plans, func(p vultr.Plan) bool { return p.Kind == vultr.KindBareMetal && p.CPUs > 0 && p.MemoryMB > 0 })
	if small < 0 || !metal {
		t.Fatalf("got %+v", plans)
	}
	if p := plans[small]; p.Kind != vultr.KindVM || p.CPUs != 2 || p.MemoryMB != 4096 || !slices.Contains(p.Regions, "ewr") {
		t.Errorf("got %+v", p)
	}
}

// A create that loses its answer is never repeated, and is found again by its name: the same for every kind of object.
func TestContractLostCreates(t *testing.T) {
	// At the simulated cloud's time scale an object is missing from reads for 20 ms.
	cloud, c := start(t, simtest.Options{}, func(cfg *vultr.Config) { cfg.SettleTime = 500 * time.Millisecond })
	ctx := testContext(t)
	v := create(ctx, t, c, "source")
	label := "x"
	kinds := []struct {
		operation string
		create    func() error
		found     func() int
	}{
		{"create_block", func() error {
			_, err := c.CreateVolume(ctx, vultr.VolumeRequest{Label: "x", Region: "ewr", SizeGB: 10, Type: vultr.HighPerf})
			return err
		}, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.Volume], error) { return c.Volumes(ctx, 0) },
				func(v vultr.Volume) bool { return v.Label == "x" }))
		}},
		{"create_block_snapshot", func() error { _, err := c.CreateSnapshot(ctx, v.ID, "x"); return err }, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.Snapshot], error) { return c.SnapshotsDescribed(ctx, "x") },
				func(vultr.Snapshot) bool { return true }))
		}},
		{"create_vfs", func() error {
			_, err := c.CreateFileSystem(ctx, vultr.FileSystemRequest{Label: "x", Region: "ewr", SizeGB: 10})
			return err
		}, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.FileSystem], error) { return c.FileSystems(ctx, 0) },
				func(f vultr.FileSystem) bool { return f.Label == "x" }))
		}},
		{"create_load_balancer", func() error {
			_, err := c.CreateLoadBalancer(ctx, "ewr", vultr.LoadBalancerSettings{Label: &label})
			return err
		}, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.LoadBalancer], error) { return c.LoadBalancers(ctx, 0) },
				func(l vultr.LoadBalancer) bool { return l.Label == "x" }))
		}},
		{"create_vpc", func() error {
			_, err := c.CreateVPC(ctx, vultr.VPCRequest{Region: "ewr", Description: "x"})
			return err
		}, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.VPC], error) { return c.VPCs(ctx, 0) },
				func(v vultr.VPC) bool { return v.Description == "x" }))
		}},
		{"create_reserved_ip", func() error { _, err := c.CreateReservedIP(ctx, "ewr", "v4", "x"); return err }, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.ReservedIP], error) { return c.ReservedIPs(ctx, 0) },
				func(r vultr.ReservedIP) bool { return r.Label == "x" }))
		}},
		{"create_firewall_group", func() error { _, err := c.CreateFirewallGroup(ctx, "x"); return err }, func() int {
			return len(named(ctx, t, c, func(ctx context.Context) (vultr.List[vultr.FirewallGroup], error) { return c.FirewallGroups(ctx, 0) },
				func(g vultr.FirewallGroup) bool { return g.Description == "x" }))
		}},
	}
	for _, kind := range kinds {
		for _, lost := range []simulator.FaultAction{simulator.FaultResetBefore, simulator.FaultResetAfter} {
			cloud.Fault(simulator.Fault{Operation: kind.operation, Action: lost, Times: 1})
			if err := kind.create(); !vultr.IsOutcomeUnknown(err) {
				t.Errorf("%s, %s: %v", kind.operation, lost, err)
			}
			want := 0
			if lost == simulator.FaultResetAfter {
				want = 1
			}
			if n := kind.found(); n != want {
				t.Errorf("%s, %s: %d were made, want %d", kind.operation, lost, n, want)
			}
		}
	}
}

// What changes something and is no create is looked at when its answer is lost, and then shows whether it was done.
func TestContractLostChanges(t *testing.T) {
	cloud, c := start(t, simtest.Options{})
	ctx := testContext(t)
	instance := cloud.AddInstance(simulator.NewServer{Label: "w1", Region: "ewr"})
	ip, err := c.CreateReservedIP(ctx, "ewr", "v4", "x")
	ip = must(t, ip, err)
	group, err := c.CreateFirewallGroup(ctx, "x")
	group = must(t, group, err)
	has := func() string {
		got, err := c.ReservedIP(ctx, ip.ID)
		return must(t, got, err).InstanceID
	}
	rules := func() string {
		got, err := c.FirewallGroupRules(ctx, group.ID)
		return fmt.Sprint(len(must(t, got, err)))
	}
	rule := vultr.GroupRule{Protocol: "tcp", Port: "22", Subnet: netip.MustParsePrefix("203.0.113.0/24")}
	for _, change := range []struct {
		operation     string
		do            func() error
		look          func() string
		before, after string
	}{
		{"attach_reserved_ip", func() error { return c.AttachReservedIP(ctx, ip.ID, instance) }, has, "", instance},
		{"detach_reserved_ip", func() error { return c.DetachReservedIP(ctx, ip.ID) }, has, instance, ""},
		{"create_firewall_rule", func() error { _, err := c.CreateFirewallGroupRule(ctx, group.ID, rule); return err }, rules, "0", "1"},
	} {
		for _, lost := range []simulator.FaultAction{simulator.FaultResetBefore, simulator.FaultResetAfter} {
			want := change.before
			if lost == simulator.FaultResetAfter {
				want = change.after
			}
			cloud.Fault(simulator.Fault{Operation: change.operation, Action: lost, Times: 1})
			if err := change.do(); !vultr.IsOutcomeUnknown(err) {
				t.Errorf("%s, %s: %v", change.operation, lost, err)
			}
			cloud.AwaitReads() // the look proves nothing before
			if got := change.look(); got != want {
				t.Errorf("%s, %s: got %q, want %q", change.operation, lost, got, want)
			}
		}
	}
}
