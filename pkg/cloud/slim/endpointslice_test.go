package slim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
)

func TestEndpointSlice(t *testing.T) {
	yes, no := new(true), new(false)
	pod := func(address string, node *string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{address}, NodeName: node, Zone: new("ewr"), TargetRef: &v1.ObjectReference{Kind: "Pod", Name: address},
			Conditions: discoveryv1.EndpointConditions{Ready: ready},
		}
	}
	full := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-x", UID: "u", ResourceVersion: "7", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kcm"}},
			Labels: map[string]string{discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "kcm"}, OwnerReferences: []metav1.OwnerReference{{Name: "web"}},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http")}},
		Endpoints: []discoveryv1.Endpoint{
			pod("10.0.0.1", new("a"), yes), pod("10.0.0.2", new("a"), yes), pod("10.0.0.3", new("a"), no), pod("10.0.0.4", new("a"), nil), pod("10.0.0.5", new("b"), yes), pod("10.0.0.6", nil, yes),
		},
	}
	before := full.DeepCopy()
	kept := func(node string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: ready}}
	}
	want := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-x", UID: "u", ResourceVersion: "7", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Endpoints:  []discoveryv1.Endpoint{kept("a", yes), kept("a", no), kept("a", nil), kept("b", yes)},
	}
	got, err := slim.EndpointSlice(full)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(before, full); diff != "" {
		t.Errorf("somebody else's object was changed:\n%s", diff)
	}
	last := cache.DeletedFinalStateUnknown{Key: "shop/web-x"}
	if got, err := slim.EndpointSlice(last); err != nil || got != any(last) {
		t.Errorf("got %v, %v", got, err)
	}
}
