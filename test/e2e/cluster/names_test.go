package cluster

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestAddressesOfServices(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.96.0.7"), netip.MustParseAddr("fd00::7")
	for _, c := range []struct {
		texts []string
		want  []netip.Addr
	}{
		{[]string{"10.96.0.7"}, []netip.Addr{v4}},
		{[]string{"10.96.0.7", "fd00::7"}, []netip.Addr{v4, v6}},
		{[]string{corev1.ClusterIPNone}, nil},
		{nil, nil}, // of type ExternalName
	} {
		service := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIPs: c.texts}}
		if got := addressesOf(service); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.texts, got, c.want)
		}
	}
}

// TestNamesObjects: each port of the Service leads to the nameserver, and is at the address that pods are told.
func TestNamesObjects(t *testing.T) {
	service, endpoints := namesObjects()
	if service.Spec.ClusterIP != dnsAddress || service.Spec.Selector != nil || endpoints.Labels[discoveryv1.LabelServiceName] != service.Name ||
		service.Namespace != endpoints.Namespace || service.Labels != nil {
		t.Errorf("%+v, %+v", service, endpoints)
	}
	if len(service.Spec.Ports) != 2 || len(endpoints.Ports) != 2 {
		t.Fatalf("%d ports of the Service and %d of its endpoints", len(service.Spec.Ports), len(endpoints.Ports))
	}
	for i, port := range service.Spec.Ports {
		to := endpoints.Ports[i]
		if *to.Name != port.Name || *to.Protocol != port.Protocol || *to.Port != namesPort || port.Port != namesPort {
			t.Errorf("port %+v leads to %+v", port, to)
		}
	}
}
