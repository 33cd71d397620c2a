package addresses_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cloudproviderapi "k8s.io/cloud-provider/api"
	"k8s.io/cloud-provider/node/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
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
		"public only":  {vultr.Instance{MainIP: "192.0.2.1"}, []v1.NodeAddress{in("192.0.2.1"), out("192.0.2.1")}, []string{"192.0.2.1"}},
		"with VPC":     {vultr.Instance{MainIP: "192.0.2.1", InternalIP: "10.1.0.3"}, []v1.NodeAddress{in("10.1.0.3"), out("192.0.2.1")}, []string{"192.0.2.1", "10.1.0.3"}},
		"VPC only":     {vultr.Instance{MainIP: "0.0.0.0", InternalIP: "10.1.0.3"}, []v1.NodeAddress{in("10.1.0.3")}, []string{"10.1.0.3"}},
		"dual stack":   {vultr.Instance{MainIP: "192.0.2.1", MainIPv6: "2001:0db8:0000:0000:5300:07ff:fdd7:691c"}, []v1.NodeAddress{in("192.0.2.1"), out("192.0.2.1"), out("2001:db8::5300:7ff:fdd7:691c")}, []string{"192.0.2.1", "192.0.2.1,2001:db8::5300:7ff:fdd7:691c"}},
		"IPv6 only":    {vultr.Instance{MainIP: "0.0.0.0", MainIPv6: "2001:db8::1"}, []v1.NodeAddress{in("2001:db8::1"), out("2001:db8::1")}, []string{"2001:db8::1"}},
		"nothing yet":  {vultr.Instance{MainIP: "0.0.0.0", MainIPv6: "::"}, nil, nil},
		"not a number": {vultr.Instance{MainIP: "dhcp"}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := addresses.Of(tt.instance)
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

func TestFurtherAddresses(t *testing.T) {
	instance := vultr.Instance{MainIP: "192.0.2.1", InternalIP: "10.1.0.3"}
	want := []string{"10.1.0.3", "10.2.0.3", "192.0.2.1"}
	if got := addresses.Texts(addresses.Of(instance, "10.1.0.3", "10.2.0.3", "")); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := addresses.Of(vultr.Instance{MainIP: "192.0.2.1"}, "10.2.0.3"); got[0] != (v1.NodeAddress{Type: v1.NodeInternalIP, Address: "10.2.0.3"}) {
		t.Errorf("got %v", got)
	}
}

func TestReported(t *testing.T) {
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{cloudproviderapi.AnnotationAlphaProvidedIPAddr: "10.1.0.3, 2001:DB8::1"}},
	}
	node.Status.Addresses = []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: "10.1.0.3"},
		{Type: v1.NodeExternalIP, Address: "192.0.2.1"},
		{Type: v1.NodeHostName, Address: "203.0.113.1"},
		{Type: v1.NodeInternalIP, Address: "0.0.0.0"},
	}
	if got, want := addresses.Provided(node), []string{"10.1.0.3", "2001:db8::1"}; !cmp.Equal(got, want) {
		t.Errorf("provided %v", got)
	}
	if got, want := addresses.Reported(node), []string{"10.1.0.3", "2001:db8::1", "192.0.2.1"}; !cmp.Equal(got, want) {
		t.Errorf("reported %v", got)
	}
	if got := addresses.Reported(&v1.Node{}); len(got) > 0 {
		t.Errorf("a node without any: %q", got)
	}
}

func TestUnique(t *testing.T) {
	for address, want := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "10.1.0.3": false, "192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false,
		"127.0.0.1": false, "169.254.1.1": false, "fd00::1": false, "fe80::1": false, "": false, "x": false,
	} {
		if got := addresses.Unique(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}
