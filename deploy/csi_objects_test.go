package deploy

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// same compares what is there with what was decided. Each decision's reason stands in the manifest.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestCSIDriver(t *testing.T) {
	fsGroup := storagev1.FileFSGroupPolicy
	same(t, "CSIDriver", storagev1.CSIDriverSpec{
		AttachRequired:       new(true),
		PodInfoOnMount:       new(false),
		VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent},
		StorageCapacity:      new(true),
		FSGroupPolicy:        &fsGroup,
		RequiresRepublish:    new(false),
		SELinuxMount:         new(true),

		NodeAllocatableUpdatePeriodSeconds: new(int64(60)),
	}, named[*storagev1.CSIDriver](t, load(t, csiDir), "block.csi.vultr.com").Spec)
}

// TestCSIClassesAreThoseOfTheOfficialDriver holds what is not in TestStorageClasses: nothing else is set.
func TestCSIClassesAreThoseOfTheOfficialDriver(t *testing.T) {
	for _, o := range load(t, csiDir) {
		class, ok := o.Object.(*storagev1.StorageClass)
		if !ok {
			continue
		}
		same(t, class.Name, &storagev1.StorageClass{
			TypeMeta:             metav1.TypeMeta{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass"},
			ObjectMeta:           metav1.ObjectMeta{Name: class.Name, Labels: standard("csi-vultr")},
			Provisioner:          "block.csi.vultr.com",
			Parameters:           class.Parameters,
			ReclaimPolicy:        class.ReclaimPolicy,
			VolumeBindingMode:    class.VolumeBindingMode,
			AllowVolumeExpansion: new(true),
		}, class)
	}
}

// TestCSIRoles holds the exact rights of each program. Those of the sidecars are what their code uses: Events are only
// created and patched (client-go's recordEvent), a lease is never patched (its LeaseLock), and the resizer looks at pods only
// with --handle-volume-inuse-error. TestRights in test/e2e compares them with what was asked.
func TestCSIRoles(t *testing.T) {
	read := []string{"get", "list", "watch"}
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	const storage, leases = "storage.k8s.io", "coordination.k8s.io"
	held := rule(leases, "leases", "get", "update")
	held.ResourceNames = []string{"block-csi-vultr-com", "external-attacher-leader-block-csi-vultr-com", "external-resizer-block-csi-vultr-com"}
	// What the official driver has, by its names.
	beside := func(group, resource string, names ...string) rbacv1.PolicyRule {
		named := rule(group, resource, "get")
		named.ResourceNames = names
		return named
	}
	want := map[string][]rbacv1.PolicyRule{
		"ClusterRole/csi-vultr-controller": {
			rule("", "events", "create"), rule(storage, "csinodes", "list", "watch"), rule("", "nodes", "get", "list", "patch"),
			rule("", "persistentvolumes", "list"),
		},
		"ClusterRole/csi-vultr-provisioner": {
			rule("", "persistentvolumes", "get", "list", "watch", "create", "patch", "delete"),
			rule("", "persistentvolumeclaims", "get", "list", "watch", "update"),
			rule(storage, "storageclasses", read...),
			rule(storage, "csinodes", read...),
			rule("", "nodes", read...),
			rule(storage, "volumeattachments", read...),
			rule(storage, "volumeattributesclasses", "get"),
			rule("", "events", "create", "patch"),
		},
		"ClusterRole/csi-vultr-attacher": {
			rule("", "persistentvolumes", "get", "list", "watch", "patch"),
			rule(storage, "csinodes", read...),
			rule(storage, "volumeattachments", "get", "list", "watch", "patch"),
			rule(storage, "volumeattachments/status", "patch"),
		},
		"ClusterRole/csi-vultr-resizer": {
			rule("", "persistentvolumes", "get", "list", "watch", "patch"),
			rule("", "persistentvolumeclaims", read...),
			rule("", "persistentvolumeclaims/status", "patch"),
			rule(storage, "volumeattributesclasses", read...),
			rule("", "events", "create", "patch"),
		},
		"Role/csi-vultr-controller": {beside("apps", "statefulsets", "csi-vultr-controller"), beside("", "pods", "csi-vultr-controller-0", "csi-vultr-controller-1")},
		"Role/csi-vultr-capacity": {
			rule(storage, "csistoragecapacities", "get", "list", "watch", "create", "update", "delete"),
			rule("", "pods", "get"), rule("apps", "replicasets", "get"),
		},
		"Role/csi-vultr-leader-election": {rule(leases, "leases", "create"), held},
		"ClusterRole/csi-vultr-node":     {rule("", "nodes", "get"), rule(storage, "volumeattachments", "get", "list")},
	}
	got := map[string][]rbacv1.PolicyRule{}
	for _, o := range load(t, csiDir) {
		switch role := o.Object.(type) {
		case *rbacv1.ClusterRole:
			got["ClusterRole/"+role.Name] = role.Rules
		case *rbacv1.Role:
			got["Role/"+role.Name] = role.Rules
		}
	}
	same(t, "roles", want, got)
}

// TestCSIBindings: every role is bound to the controller's account, but the node's, which changes nothing.
func TestCSIBindings(t *testing.T) {
	objects := load(t, csiDir)
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "csi-vultr-controller-sa", Namespace: "kube-system"}}
	nodes := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "csi-vultr-node-sa", Namespace: "kube-system"}}
	bound := map[string][]rbacv1.Subject{}
	for _, o := range objects {
		switch b := o.Object.(type) {
		case *rbacv1.ClusterRoleBinding:
			bound[b.RoleRef.Kind+"/"+b.RoleRef.Name] = b.Subjects
		case *rbacv1.RoleBinding:
			bound[b.RoleRef.Kind+"/"+b.RoleRef.Name] = b.Subjects
		}
	}
	same(t, "bindings", map[string][]rbacv1.Subject{
		"ClusterRole/csi-vultr-controller": account, "ClusterRole/csi-vultr-provisioner": account,
		"ClusterRole/csi-vultr-attacher": account, "ClusterRole/csi-vultr-resizer": account,
		"Role/csi-vultr-capacity": account, "Role/csi-vultr-leader-election": account, "ClusterRole/csi-vultr-node": nodes,
		"Role/csi-vultr-controller": account,
	}, bound)
	node := named[*corev1.ServiceAccount](t, objects, "csi-vultr-node-sa")
	same(t, "the node's account", new(false), node.AutomountServiceAccountToken)
}

func TestCSIKindsAndNames(t *testing.T) {
	got := map[string]int{}
	for _, o := range load(t, csiDir) {
		got[meta(t, o).GetKind()]++
	}
	want := map[string]int{
		"CSIDriver": 1, "StorageClass": 12, "ServiceAccount": 2, "ClusterRole": 5, "ClusterRoleBinding": 5, "Role": 3,
		"RoleBinding": 3, "Deployment": 1, "DaemonSet": 1, "PodDisruptionBudget": 1,
	}
	if !maps.Equal(want, got) {
		t.Errorf("there are %v, want %v", got, want)
	}
}

// TestCSIWorkloads holds what surrounds the pods.
func TestCSIWorkloads(t *testing.T) {
	objects := load(t, csiDir)
	controller := named[*appsv1.Deployment](t, objects, "csi-vultr-controller").Spec
	one, tenth := intstr.FromInt32(1), intstr.FromString("10%")
	labels := standard("csi-vultr-controller")
	labels["role"] = "csi-vultr"
	selector := selecting(map[string]string{"app": "csi-vultr-controller"})
	same(t, "replicas", new(int32(2)), controller.Replicas)
	same(t, "the controller's selector", selector, controller.Selector)
	same(t, "the controller's strategy", appsv1.DeploymentStrategy{
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &one},
	}, controller.Strategy)
	same(t, "the controller's labels", labels, controller.Template.Labels)
	always := policyv1.AlwaysAllow
	same(t, "disruptions", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: selector, UnhealthyPodEvictionPolicy: &always},
		named[*policyv1.PodDisruptionBudget](t, objects, "csi-vultr-controller").Spec)

	node := named[*appsv1.DaemonSet](t, objects, "csi-vultr-node").Spec
	same(t, "the node's strategy", appsv1.DaemonSetUpdateStrategy{RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &tenth}}, node.UpdateStrategy)
	labels = standard("csi-vultr-node")
	labels["role"] = "csi-vultr"
	same(t, "the node's labels", labels, node.Template.Labels)
}

// names lists what a pod is made of.
func names(containers []corev1.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return slices.Sorted(slices.Values(all))
}

func selecting(labels map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: labels}
}
