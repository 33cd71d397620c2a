package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const snapshotsDir = "manifests/csi-snapshots"

// fileOf reads a file of the directory.
func fileOf(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(snapshotsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestSnapshotClasses: the names and policies are the official driver's, and nothing else is set.
func TestSnapshotClasses(t *testing.T) {
	type class struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Driver         string `json:"driver"`
		DeletionPolicy string `json:"deletionPolicy"`
	}
	got := map[string]string{}
	for document := range bytes.SplitSeq(fileOf(t, "volumesnapshotclasses.yaml"), []byte("\n---\n")) {
		var c class
		if err := yaml.UnmarshalStrict(document, &c); err != nil {
			t.Fatal(err)
		}
		if c.APIVersion != "snapshot.storage.k8s.io/v1" || c.Kind != "VolumeSnapshotClass" || c.Driver != "block.csi.vultr.com" {
			t.Errorf("got %+v", c)
		}
		got[c.Metadata.Name] = c.DeletionPolicy
	}
	same(t, "classes", map[string]string{"vultr-block-storage": "Delete", "vultr-block-storage-retain": "Retain"}, got)
}

// TestSnapshotRoles holds the exact rights of the sidecar, and those that the driver and the provisioner need more.
func TestSnapshotRoles(t *testing.T) {
	const group = "snapshot.storage.k8s.io"
	rule := func(group string, resources, verbs []string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	lease := rule("coordination.k8s.io", []string{"leases"}, []string{"get", "update"})
	lease.ResourceNames = []string{"external-snapshotter-leader-block-csi-vultr-com"}
	want := map[string][]rbacv1.PolicyRule{
		"csi-vultr-snapshotter": {
			rule(group, []string{"volumesnapshotclasses"}, []string{"get", "list", "watch"}),
			rule(group, []string{"volumesnapshotcontents"}, []string{"get", "list", "watch", "patch"}),
			rule(group, []string{"volumesnapshotcontents/status"}, []string{"update", "patch"}),
			rule("", []string{"events"}, []string{"create", "patch"}),
		},
		"csi-vultr-controller-snapshots": {rule(group, []string{"volumesnapshotcontents"}, []string{"list"})},
		"csi-vultr-provisioner-snapshots": {
			rule(group, []string{"volumesnapshots"}, []string{"get", "list", "watch", "update"}),
			rule(group, []string{"volumesnapshotcontents"}, []string{"get"}),
		},
		"csi-vultr-snapshotter-leader-election": {lease},
	}
	got, bound := map[string][]rbacv1.PolicyRule{}, map[string]int{}
	account := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "csi-vultr-controller-sa", Namespace: "kube-system"}}
	for _, o := range decode(t, filepath.Join(snapshotsDir, "rbac.yaml")) {
		switch o := o.Object.(type) {
		case *rbacv1.ClusterRole:
			got[o.Name] = o.Rules
		case *rbacv1.Role:
			got[o.Name] = o.Rules
		case *rbacv1.ClusterRoleBinding:
			bound[o.RoleRef.Name]++
			same(t, o.Name, account, o.Subjects)
		case *rbacv1.RoleBinding:
			bound[o.RoleRef.Name]++
			same(t, o.Name, account, o.Subjects)
		default:
			t.Errorf("there is a %T", o)
		}
	}
	same(t, "roles", want, got)
	for name := range want {
		if bound[name] != 1 {
			t.Errorf("%s is bound %d times", name, bound[name])
		}
	}
}

// TestSnapshotter: the sidecar is like the others, and patches the Deployment of the driver.
func TestSnapshotter(t *testing.T) {
	var patch appsv1.Deployment
	if err := yaml.UnmarshalStrict(fileOf(t, "snapshotter.yaml"), &patch); err != nil {
		t.Fatal(err)
	}
	base := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller")
	same(t, "the patched object", []string{base.APIVersion, base.Kind, base.Namespace, base.Name}, []string{patch.APIVersion, patch.Kind, patch.Namespace, patch.Name})
	same(t, "containers", []string{"csi-snapshotter"}, names(patch.Spec.Template.Spec.Containers))
	got := patch.Spec.Template.Spec.Containers[0]
	attacher := *container(t, &base.Spec.Template.Spec, "csi-attacher")
	for _, probe := range []*corev1.Probe{attacher.StartupProbe, attacher.LivenessProbe} {
		probe.HTTPGet.Port.StrVal = "snapshotter"
	}
	want := corev1.Container{
		Name: "csi-snapshotter", Image: "registry.k8s.io/sig-storage/csi-snapshotter:v8.4.0",
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Args: []string{
			"--csi-address=/csi/csi.sock", "--timeout=120s", "--worker-threads=20", "--retry-interval-start=1s", "--retry-interval-max=30s",
			"--snapshot-name-prefix=snapshot", "--extra-create-metadata=true", "--kube-api-qps=20", "--kube-api-burst=40", "--leader-election=true",
			"--leader-election-lease-duration=20s", "--leader-election-renew-deadline=12s", "--leader-election-retry-period=3s",
			"--http-endpoint=:9812", "--v=2",
		},
		Ports:        []corev1.ContainerPort{{Name: "snapshotter", ContainerPort: 9812}},
		StartupProbe: attacher.StartupProbe, LivenessProbe: attacher.LivenessProbe, Resources: attacher.Resources,
		SecurityContext: attacher.SecurityContext, VolumeMounts: attacher.VolumeMounts,
	}
	same(t, "csi-snapshotter", want, got)
	for _, c := range base.Spec.Template.Spec.Containers {
		for _, port := range c.Ports {
			if port.ContainerPort == 9812 {
				t.Errorf("%s has its port", c.Name)
			}
		}
	}
}

// TestSnapshotsKustomization: the directory adds to the driver's manifests, and lists all that it has.
func TestSnapshotsKustomization(t *testing.T) {
	var k struct {
		APIVersion string              `json:"apiVersion"`
		Kind       string              `json:"kind"`
		Resources  []string            `json:"resources"`
		Patches    []map[string]string `json:"patches"`
	}
	if err := yaml.UnmarshalStrict(fileOf(t, "kustomization.yaml"), &k); err != nil {
		t.Fatal(err)
	}
	same(t, "resources", []string{"../csi", "rbac.yaml", "volumesnapshotclasses.yaml"}, k.Resources)
	same(t, "patches", []map[string]string{{"path": "snapshotter.yaml"}}, k.Patches)
	files, err := filepath.Glob(filepath.Join(snapshotsDir, "*.yaml"))
	if err != nil || len(files) != 4 {
		t.Errorf("there are %v, %v", files, err)
	}
}
