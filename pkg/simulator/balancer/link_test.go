package balancer

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// ownNetwork moves the test's thread into a network namespace of its own that has one bridge. The thread is never
// used again: the namespace ends with it.
func ownNetwork(t *testing.T, bridgeName string) netlink.Link {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace with a bridge")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	if err := netlink.LinkAdd(br); err != nil {
		t.Skipf("needs bridges: %v", err)
	}
	for _, name := range []string{bridgeName, "lo"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
	own, err := netlink.ParseAddr("192.0.2.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(br, own); err != nil {
		t.Fatal(err)
	}
	return br
}

func TestBridgeAddresses(t *testing.T) {
	br := ownNetwork(t, "lbtest0")
	config := Config{
		Range: netip.MustParsePrefix("198.51.100.0/24"), Bridge: "lbtest0",
		StateFile: filepath.Join(t.TempDir(), "addresses.json"),
	}
	plane := mustNew(t, config)
	spec := simulator.BalancerSpec{ID: "lb-1", Rules: []simulator.BalancerRule{rule("tcp", 80, 30080)}}
	var err error
	if spec.Address, _, err = plane.Addresses(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := plane.Apply(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	wantAddresses(t, br, spec.Address)

	// Killed: the plane is left behind as it is, with its address and one that no book knows. The next process takes
	// away what nobody owns and keeps the rest, the bridge's own address included.
	plane.stop(spec.ID)
	if err := (bridge{br}).add(netip.MustParseAddr("198.51.100.250")); err != nil {
		t.Fatal(err)
	}
	next := mustNew(t, config)
	wantAddresses(t, br, spec.Address)
	if ids, err := next.List(t.Context()); err != nil || !slices.Equal(ids, []string{"lb-1"}) {
		t.Errorf("after a kill: %v, %v", ids, err)
	}
	if again, _, err := next.Addresses(t.Context(), spec.ID); err != nil || again != spec.Address {
		t.Errorf("the address changed from %s to %s, %v", spec.Address, again, err)
	}
	if err := next.Apply(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	wantAddresses(t, br)
	last := mustNew(t, config)
	if err := last.Remove(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	if ids, err := last.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("after the removal: %v, %v", ids, err)
	}
}

func mustNew(t *testing.T, config Config) *Plane {
	t.Helper()
	plane, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return plane
}

// wantAddresses compares the bridge's addresses, besides its own.
func wantAddresses(t *testing.T, br netlink.Link, want ...string) {
	t.Helper()
	present, err := netlink.AddrList(br, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	own := false
	for _, one := range present {
		if one.IP.String() == "192.0.2.1" {
			own = true
			continue
		}
		got = append(got, one.IP.String())
	}
	if !slices.Equal(got, want) || !own {
		t.Errorf("the bridge has %v (own address: %v), want %v", got, own, want)
	}
}

func TestImpossibleConfigs(t *testing.T) {
	unreadable := filepath.Join(t.TempDir(), "addresses.json")
	if err := os.WriteFile(unreadable, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{
		"loopback on a bridge": {Bridge: "br0"},
		"no such bridge":       {Bridge: "no-such-bridge", Range: netip.MustParsePrefix("198.51.100.0/24")},
		"IPv6":                 {Range: netip.MustParsePrefix("2001:db8::/64")},
		"no room":              {Range: netip.MustParsePrefix("198.51.100.0/31")},
		"unreadable state":     {StateFile: unreadable},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
