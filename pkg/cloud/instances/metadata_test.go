package instances

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/cloud-provider/node/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

func TestAddresses(t *testing.T) {
	in := func(a string) v1.NodeAddress { return v1.NodeAddress{Type: v1.NodeInternalIP, Address: a} }
	out := func(a string) v1.NodeAddress { return v1.NodeAddress{Type: v1.NodeExternalIP, Address: a} }
	tests := map[string]struct {
		instance vultr.Instance
		want     []v1.NodeAddress
		nodeIPs  []string // what --node-ip may be
	}{
		"public only":  {vultr.Instance{MainIP: "192.0.2.1"}, []v1.NodeAddress{in("192.0.2.1")}, []string{"192.0.2.1"}},
		"with VPC":     {vultr.Instance{MainIP: "192.0.2.1", InternalIP: "10.1.0.3"}, []v1.NodeAddress{in("10.1.0.3"), out("192.0.2.1")}, []string{"192.0.2.1", "10.1.0.3"}},
		"VPC only":     {vultr.Instance{MainIP: "0.0.0.0", InternalIP: "10.1.0.3"}, []v1.NodeAddress{in("10.1.0.3")}, []string{"10.1.0.3"}},
		"dual stack":   {vultr.Instance{MainIP: "192.0.2.1", MainIPv6: "2001:0db8:0000:0000:5300:07ff:fdd7:691c"}, []v1.NodeAddress{in("192.0.2.1"), out("2001:db8::5300:7ff:fdd7:691c")}, []string{"192.0.2.1", "192.0.2.1,2001:db8::5300:7ff:fdd7:691c"}},
		"nothing yet":  {vultr.Instance{MainIP: "0.0.0.0", MainIPv6: "::"}, nil, nil},
		"not a number": {vultr.Instance{MainIP: "dhcp"}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := addresses(tt.instance)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			for _, ip := range tt.nodeIPs {
				if list, err := helpers.GetNodeAddressesFromNodeIP(ip, got); err != nil || len(list) == 0 {
					t.Errorf("--node-ip=%s: %v, %v", ip, list, err)
				}
			}
		})
	}
}

func TestZoneOnlyByOption(t *testing.T) {
	instance := vultr.Instance{ID: "x", Region: "EWR", MainIP: "192.0.2.1"}
	if md := metadata(instance, false); md.Zone != "" || md.Region != "ewr" {
		t.Errorf("%+v", md)
	}
	if md := metadata(instance, true); md.Zone != "ewr" {
		t.Errorf("%+v", md)
	}
}
