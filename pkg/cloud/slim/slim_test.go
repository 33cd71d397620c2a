package slim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
)

func TestNode(t *testing.T) {
	want := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{"k": "v"}, ResourceVersion: "7"},
		Spec:       v1.NodeSpec{ProviderID: "vultr://x", Taints: []v1.Taint{{Key: "t"}}},
		Status: v1.NodeStatus{
			Addresses:  []v1.NodeAddress{{Address: "192.0.2.1"}},
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", LastTransitionTime: metav1.Unix(1, 0)}},
			NodeInfo:   v1.NodeSystemInfo{BootID: "b"},
		},
	}
	full := want.DeepCopy()
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
	full.Status.Images = []v1.ContainerImage{{Names: []string{"image"}}}
	full.Status.Capacity = v1.ResourceList{v1.ResourceCPU: resource.MustParse("4")}
	full.Status.Conditions = append([]v1.NodeCondition{{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse}}, full.Status.Conditions...)
	full.Status.NodeInfo.KubeletVersion = "v1.37.2"
	before := full.DeepCopy()
	got, err := slim.Node(full)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(before, full); diff != "" {
		t.Errorf("somebody else's object was changed:\n%s", diff)
	}
	last := cache.DeletedFinalStateUnknown{Key: "a"}
	if got, err := slim.Node(last); err != nil || got != any(last) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestService(t *testing.T) {
	want := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a", Annotations: map[string]string{"k": "v"}, Finalizers: []string{"f"}, ResourceVersion: "7"},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80}}},
		Status:     v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
	}
	full := want.DeepCopy()
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	before := full.DeepCopy()
	got, err := slim.Service(full)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(before, full); diff != "" {
		t.Errorf("somebody else's object was changed:\n%s", diff)
	}
	last := cache.DeletedFinalStateUnknown{Key: "shop/a"}
	if got, err := slim.Service(last); err != nil || got != any(last) {
		t.Errorf("got %v, %v", got, err)
	}
}
