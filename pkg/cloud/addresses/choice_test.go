package addresses_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/cloud-provider/node/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	one = "11111111-66fd-4dfb-b839-443f2e6c0b60"
	two = "22222222-66fd-4dfb-b839-443f2e6c0b60"
)

// short writes addresses in one line each.
func short(list []v1.NodeAddress) []string {
	texts := make([]string, 0, len(list))
	for _, a := range list {
		texts = append(texts, strings.TrimSuffix(string(a.Type), "IP")+" "+a.Address)
	}
	return texts
}

// Which address is the internal one, of an instance in two VPCs, in one, and in none.
func TestAddressChoice(t *testing.T) {
	both := []vultr.Network{{VPC: one, IP: "10.1.0.3"}, {VPC: two, IP: "10.2.0.3"}}
	inBoth := vultr.Instance{MainIP: "192.0.2.1", InternalIP: "10.1.0.3", VPCs: []string{one, two}}
	inOne := vultr.Instance{MainIP: "192.0.2.1", InternalIP: "10.1.0.3", VPCs: []string{one}}
	inNone := vultr.Instance{MainIP: "192.0.2.1"}
	dual := vultr.Instance{MainIP: "192.0.2.1", MainIPv6: "2001:db8::1", InternalIP: "10.1.0.3", VPCs: []string{one}}
	only := vultr.Instance{InternalIP: "10.1.0.3", VPCs: []string{one}}
	within := func(text string) addresses.Choice { return addresses.Choice{Range: netip.MustParsePrefix(text)} }
	for name, tt := range map[string]struct {
		choice   addresses.Choice
		in       vultr.Instance
		networks []vultr.Network
		nodeIP   []string
		want     []string
		vpc      string
		missed   bool
	}{
		"no choice":                       {addresses.Choice{}, inBoth, nil, nil, []string{"Internal 10.1.0.3", "External 192.0.2.1"}, one, false},
		"no choice, all are read":         {addresses.Choice{}, inBoth, both, nil, []string{"Internal 10.1.0.3", "Internal 10.2.0.3", "External 192.0.2.1"}, one, false},
		"the first by ID":                 {addresses.Choice{VPC: one}, inBoth, nil, nil, []string{"Internal 10.1.0.3", "External 192.0.2.1"}, one, false},
		"the second by ID":                {addresses.Choice{VPC: two}, inBoth, both, nil, []string{"Internal 10.2.0.3", "External 192.0.2.1"}, two, false},
		"the second by range":             {within("10.2.0.0/20"), inBoth, both, nil, []string{"Internal 10.2.0.3", "External 192.0.2.1"}, two, false},
		"the kubelet's is the other":      {addresses.Choice{VPC: two}, inBoth, both, []string{"10.1.0.3"}, []string{"Internal 10.2.0.3", "Internal 10.1.0.3", "External 192.0.2.1"}, one, false},
		"the kubelet's is in the second":  {addresses.Choice{}, inBoth, both, []string{"10.2.0.3"}, []string{"Internal 10.1.0.3", "Internal 10.2.0.3", "External 192.0.2.1"}, two, false},
		"the kubelet's is the public one": {addresses.Choice{}, inBoth, nil, []string{"192.0.2.1"}, []string{"Internal 10.1.0.3", "External 192.0.2.1"}, one, false},
		"a family that no VPC has":        {addresses.Choice{Families: []v1.IPFamily{v1.IPv6Protocol}}, dual, nil, nil, []string{"Internal 2001:db8::1", "External 2001:db8::1"}, "", false},
		"the VPC's family is the second":  {addresses.Choice{Families: []v1.IPFamily{v1.IPv6Protocol, v1.IPv4Protocol}}, dual, nil, nil, []string{"Internal 2001:db8::1", "Internal 10.1.0.3", "External 2001:db8::1", "External 192.0.2.1"}, one, false},
		"one that it is not in":           {addresses.Choice{VPC: two}, inOne, nil, nil, []string{"Internal 10.1.0.3", "External 192.0.2.1"}, one, true},
		"a range that it is not in":       {within("10.9.0.0/20"), inOne, nil, nil, []string{"Internal 10.1.0.3", "External 192.0.2.1"}, one, true},
		"it is in none":                   {addresses.Choice{VPC: one}, inNone, nil, nil, []string{"Internal 192.0.2.1", "External 192.0.2.1"}, "", true},
		"in a VPC only":                   {addresses.Choice{VPC: one}, only, nil, nil, []string{"Internal 10.1.0.3"}, one, false},
		"the list lacks what was read":    {addresses.Choice{}, vultr.Instance{MainIP: "192.0.2.1", VPCs: []string{two}}, both[1:], nil, []string{"Internal 10.2.0.3", "External 192.0.2.1"}, two, false},
		"what was read lacks the listed":  {addresses.Choice{}, inBoth, both[1:], nil, []string{"Internal 10.1.0.3", "Internal 10.2.0.3", "External 192.0.2.1"}, one, false},
		"an address that is not assigned": {addresses.Choice{VPC: two}, inBoth, []vultr.Network{both[0], {VPC: two, IP: "0.0.0.0"}}, nil, []string{"Internal 10.1.0.3", "External 192.0.2.1"}, one, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.choice.Of(tt.in, tt.networks, tt.nodeIP)
			if diff := cmp.Diff(tt.want, short(got.List)); diff != "" || got.VPC != tt.vpc || got.Missed != tt.missed {
				t.Errorf("VPC %q, missed %v\n%s", got.VPC, got.Missed, diff)
			}
			for _, ip := range tt.nodeIP {
				if _, err := helpers.GetNodeAddressesFromNodeIP(ip, got.List); err != nil {
					t.Errorf("--node-ip=%s: %v", ip, err)
				}
			}
		})
	}
}

// When the entry in a list is not enough, which costs a call.
func TestUnread(t *testing.T) {
	byID, byRange := addresses.Choice{VPC: two}, addresses.Choice{Range: netip.MustParsePrefix("10.2.0.0/20")}
	for name, tt := range map[string]struct {
		choice addresses.Choice
		in     vultr.Instance
		want   bool
	}{
		"no choice":                  {addresses.Choice{}, vultr.Instance{VPCs: []string{one, two}, InternalIP: "10.1.0.3"}, false},
		"in no VPC":                  {byID, vultr.Instance{}, false},
		"not in it":                  {byID, vultr.Instance{VPCs: []string{one}, InternalIP: "10.1.0.3"}, false},
		"in it alone":                {byID, vultr.Instance{VPCs: []string{two}, InternalIP: "10.2.0.3"}, false},
		"in it first":                {byID, vultr.Instance{VPCs: []string{two, one}, InternalIP: "10.2.0.3"}, false},
		"in it too":                  {byID, vultr.Instance{VPCs: []string{one, two}, InternalIP: "10.1.0.3"}, true},
		"bare metal":                 {byID, vultr.Instance{VPCs: []string{two}}, true},
		"in the range":               {byRange, vultr.Instance{VPCs: []string{one, two}, InternalIP: "10.2.0.3"}, false},
		"not in the range, in one":   {byRange, vultr.Instance{VPCs: []string{one}, InternalIP: "10.1.0.3"}, false},
		"not in the range, in two":   {byRange, vultr.Instance{VPCs: []string{one, two}, InternalIP: "10.1.0.3"}, true},
		"bare metal, may be in it":   {byRange, vultr.Instance{VPCs: []string{two}}, true},
		"in no VPC, and no internal": {byRange, vultr.Instance{MainIP: "192.0.2.1"}, false},
	} {
		if got := tt.choice.Unread(tt.in); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Each family that is asked for has an internal address, in the order in which they are, and no other is listed.
func TestFamilyOrder(t *testing.T) {
	dual := vultr.Instance{MainIP: "192.0.2.1", MainIPv6: "2001:0db8:0000:0000:5300:07ff:fdd7:691c", InternalIP: "10.1.0.3", VPCs: []string{one}}
	six := vultr.Instance{MainIPv6: "2001:db8::1", MainIP: "0.0.0.0"}
	four := vultr.Instance{MainIP: "192.0.2.1", MainIPv6: "::"}
	for name, tt := range map[string]struct {
		families string
		in       vultr.Instance
		want     []string
	}{
		"nothing is asked":    {"", dual, []string{"Internal 10.1.0.3", "External 192.0.2.1", "External 2001:db8::5300:7ff:fdd7:691c"}},
		"IPv4":                {"ipv4", dual, []string{"Internal 10.1.0.3", "External 192.0.2.1"}},
		"IPv6":                {"IPv6", dual, []string{"Internal 2001:db8::5300:7ff:fdd7:691c", "External 2001:db8::5300:7ff:fdd7:691c"}},
		"IPv4 first":          {"ipv4, ipv6", dual, []string{"Internal 10.1.0.3", "Internal 2001:db8::5300:7ff:fdd7:691c", "External 192.0.2.1", "External 2001:db8::5300:7ff:fdd7:691c"}},
		"IPv6 first":          {"ipv6,ipv4", dual, []string{"Internal 2001:db8::5300:7ff:fdd7:691c", "Internal 10.1.0.3", "External 2001:db8::5300:7ff:fdd7:691c", "External 192.0.2.1"}},
		"only one is there":   {"ipv6,ipv4", four, []string{"Internal 192.0.2.1", "External 192.0.2.1"}},
		"the other is there":  {"ipv6", four, nil},
		"IPv6 only":           {"", six, []string{"Internal 2001:db8::1", "External 2001:db8::1"}},
		"IPv6 only, as asked": {"ipv6", six, []string{"Internal 2001:db8::1", "External 2001:db8::1"}},
	} {
		t.Run(name, func(t *testing.T) {
			families, err := addresses.ParseFamilies(tt.families)
			if err != nil {
				t.Fatal(err)
			}
			got := short(addresses.Choice{Families: families}.Of(tt.in, nil, nil).List)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestParseFamilies(t *testing.T) {
	for _, bad := range []string{"ipv5", "ipv4,ipv4", "ipv4;ipv6", "ipv4,", "v4", ","} {
		if got, err := addresses.ParseFamilies(bad); err == nil || got != nil {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func TestParseNetwork(t *testing.T) {
	for text, want := range map[string]addresses.Choice{
		"":                         {},
		" " + strings.ToUpper(one): {VPC: one},
		"10.1.2.3/20":              {Range: netip.MustParsePrefix("10.1.0.0/20")},
		"fd00::/8":                 {Range: netip.MustParsePrefix("fd00::/8")},
	} {
		got, err := addresses.ParseNetwork(text)
		if err != nil || got.VPC != want.VPC || got.Range != want.Range || got.Names() != (text != "") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"10.1.0.3", "production", "10.1.0.0/33", one + "x"} {
		if got, err := addresses.ParseNetwork(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}
