package slim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
)

func TestNode(t *testing.T) {
	want := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{"k": "v"}, ResourceVersion: "7"},
		Spec:       v1.NodeSpec{ProviderID: "vultr://x", Taints: []v1.Taint{{Key: "t"}}},
		Status:     v1.NodeStatus{Addresses: []v1.NodeAddress{{Address: "192.0.2.1"}}, NodeInfo: v1.NodeSystemInfo{BootID: "b"}},
	}
	full := want.DeepCopy()
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet"}}
	full.Status.Images = []v1.ContainerImage{{Names: []string{"image"}}}
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
