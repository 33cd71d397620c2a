package deploy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
)

const (
	ccmDir = "manifests/ccm"
	csiDir = "manifests/csi"
)

// both are all manifests.
func both(t *testing.T) []object {
	t.Helper()
	return append(load(t, ccmDir), load(t, csiDir)...)
}

func TestEveryObjectIsPlacedAndLabelled(t *testing.T) {
	clusterWide := []string{"ClusterRole", "ClusterRoleBinding", "CSIDriver", "StorageClass"}
	for _, o := range both(t) {
		m := meta(t, o)
		want := "kube-system"
		if slices.Contains(clusterWide, m.GetKind()) {
			want = ""
		}
		if m.GetNamespace() != want {
			t.Errorf("%s: %s %s is in namespace %q, want %q", o.file, m.GetKind(), m.GetName(), m.GetNamespace(), want)
		}
		if m.GetLabels()["app"] == "" {
			t.Errorf("%s: %s %s has no label app", o.file, m.GetKind(), m.GetName())
		}
	}
}

func TestSelectorsSelectTheirPods(t *testing.T) {
	seen := map[string]string{}
	for _, w := range workloads(both(t)) {
		for key, value := range w.selector {
			if w.template.Labels[key] != value {
				t.Errorf("%s: the pods lack the label %s=%s", w.name, key, value)
			}
			if other, ok := seen[key+value]; ok {
				t.Errorf("%s and %s select the same pods", w.name, other)
			}
			seen[key+value] = w.name
		}
	}
}

// TestNamesThatUsersRelyOn holds the names under which clusters already know
// the objects.
func TestNamesThatUsersRelyOn(t *testing.T) {
	ccm, csi := load(t, ccmDir), load(t, csiDir)

	named[*corev1.ServiceAccount](t, ccm, "vultr-ccm")
	named[*rbacv1.ClusterRole](t, ccm, "system:vultr-ccm")
	binding := named[*rbacv1.ClusterRoleBinding](t, ccm, "system:vultr-ccm")
	if binding.RoleRef.Name != "system:vultr-ccm" {
		t.Errorf("the binding's role can't be changed in a running cluster; it is %q", binding.RoleRef.Name)
	}
	named[*appsv1.Deployment](t, ccm, "vultr-ccm")

	driver := named[*storagev1.CSIDriver](t, csi, "block.csi.vultr.com")
	if !*driver.Spec.AttachRequired {
		t.Error("CSIDriver: attachRequired is immutable and true")
	}
	if diff := cmp.Diff([]storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}, driver.Spec.VolumeLifecycleModes); diff != "" {
		t.Errorf("CSIDriver: volumeLifecycleModes is immutable (-want +got):\n%s", diff)
	}
	named[*appsv1.Deployment](t, csi, "csi-vultr-controller")
	node := named[*appsv1.DaemonSet](t, csi, "csi-vultr-node")
	if diff := cmp.Diff(map[string]string{"app": "csi-vultr-node"}, node.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("the DaemonSet's selector is immutable (-want +got):\n%s", diff)
	}
	if got := volume(t, &node.Spec.Template.Spec, "plugin").HostPath.Path; got != "/var/lib/kubelet/plugins/block.csi.vultr.com" {
		t.Errorf("the plugin's directory is %s", got)
	}
}

// TestStorageClasses holds the fields that can't be changed once a class
// exists: under the official names they must be the official ones.
func TestStorageClasses(t *testing.T) {
	type fields struct {
		Storage, Disk, Binding, Reclaim string
	}
	want := map[string]fields{
		"vultr-block-storage":            {"block", "nvme", "Immediate", "Delete"},
		"vultr-block-storage-retain":     {"block", "nvme", "Immediate", "Retain"},
		"vultr-block-storage-hdd":        {"block", "hdd", "Immediate", "Delete"},
		"vultr-block-storage-hdd-retain": {"block", "hdd", "Immediate", "Retain"},
		"vultr-vfs-storage":              {"vfs", "nvme", "Immediate", "Delete"},
		"vultr-vfs-storage-retain":       {"vfs", "nvme", "Immediate", "Retain"},
		"vultr-nvme":                     {"block", "nvme", "WaitForFirstConsumer", "Delete"},
		"vultr-nvme-retain":              {"block", "nvme", "WaitForFirstConsumer", "Retain"},
		"vultr-hdd":                      {"block", "hdd", "WaitForFirstConsumer", "Delete"},
		"vultr-hdd-retain":               {"block", "hdd", "WaitForFirstConsumer", "Retain"},
		"vultr-vfs":                      {"vfs", "nvme", "WaitForFirstConsumer", "Delete"},
		"vultr-vfs-retain":               {"vfs", "nvme", "WaitForFirstConsumer", "Retain"},
	}
	got := map[string]fields{}
	for _, o := range load(t, csiDir) {
		class, ok := o.Object.(*storagev1.StorageClass)
		if !ok {
			continue
		}
		got[class.Name] = fields{class.Parameters["storage_type"], class.Parameters["disk_type"], string(*class.VolumeBindingMode), string(*class.ReclaimPolicy)}
		if class.Provisioner != "block.csi.vultr.com" || !*class.AllowVolumeExpansion {
			t.Errorf("class %s: provisioner %s, expansion %v", class.Name, class.Provisioner, *class.AllowVolumeExpansion)
		}
		if len(class.Parameters) != 2 {
			t.Errorf("class %s: parameters %v", class.Name, class.Parameters)
		}
		if len(class.Annotations) > 0 {
			t.Errorf("class %s: annotations %v: officially none is the default class", class.Name, class.Annotations)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
}

func TestImagesHaveTheReleasesTag(t *testing.T) {
	content, err := os.ReadFile("../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimSpace(string(content))
	for _, w := range workloads(both(t)) {
		for _, c := range w.template.Spec.Containers {
			name, tag, found := strings.Cut(c.Image, ":")
			if !found {
				t.Errorf("%s: image %s has no tag", w.name, c.Image)
			}
			if strings.HasPrefix(name, "cloud-provider-vultr/") && tag != version {
				t.Errorf("%s: image %s, but VERSION says %s", w.name, c.Image, version)
			}
		}
	}
}

// Certificates have to be watched to be renewed in seconds, wherever a Service names one. Nothing else reads Secrets but by name.
func TestRBACHasNoWildcardAndReadsSecretsWhereNeeded(t *testing.T) {
	check := func(name string, rules []rbacv1.PolicyRule) {
		for _, rule := range rules {
			if slices.Contains(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs), "*") {
				t.Errorf("%s: wildcard in %+v", name, rule)
			}
			allowed := []string{"get"}
			if name == "system:vultr-ccm" {
				allowed = []string{"get", "list", "watch"}
			}
			if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, allowed) {
				t.Errorf("%s: Secrets may be read by %v, not %v", name, allowed, rule.Verbs)
			}
		}
	}
	for _, o := range both(t) {
		switch role := o.Object.(type) {
		case *rbacv1.ClusterRole:
			check(role.Name, role.Rules)
		case *rbacv1.Role:
			check(role.Name, role.Rules)
		}
	}
}

// TestBindingsBindWhatIsThere catches a renamed role or account.
func TestBindingsBindWhatIsThere(t *testing.T) {
	// Kubernetes' own.
	present := map[string]bool{"ClusterRole/system:auth-delegator": true, "Role/extension-apiserver-authentication-reader": true}
	objects := both(t)
	for _, o := range objects {
		m := meta(t, o)
		present[m.GetKind()+"/"+m.GetName()] = true
	}
	check := func(name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		if !present[ref.Kind+"/"+ref.Name] {
			t.Errorf("%s: there is no %s %s", name, ref.Kind, ref.Name)
		}
		for _, s := range subjects {
			if !present[s.Kind+"/"+s.Name] || s.Namespace != "kube-system" {
				t.Errorf("%s: there is no %s %s in %s", name, s.Kind, s.Name, s.Namespace)
			}
		}
	}
	for _, o := range objects {
		switch b := o.Object.(type) {
		case *rbacv1.ClusterRoleBinding:
			check(b.Name, b.RoleRef, b.Subjects)
		case *rbacv1.RoleBinding:
			check(b.Name, b.RoleRef, b.Subjects)
		}
	}
	for _, w := range workloads(objects) {
		if !present["ServiceAccount/"+w.template.Spec.ServiceAccountName] {
			t.Errorf("%s: there is no account %q", w.name, w.template.Spec.ServiceAccountName)
		}
	}
}

// TestAFailoverOutlastsTheSettleTime: see the head of controller.yaml.
func TestAFailoverOutlastsTheSettleTime(t *testing.T) {
	const settle = 5 * time.Second
	controller := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller")
	for _, name := range []string{"csi-provisioner", "csi-attacher", "csi-resizer"} {
		c := container(t, &controller.Spec.Template.Spec, name)
		lease := duration(t, flagValue(t, c, "leader-election-lease-duration"))
		renew := duration(t, flagValue(t, c, "leader-election-renew-deadline"))
		retry := duration(t, flagValue(t, c, "leader-election-retry-period"))
		if lease-renew <= settle {
			t.Errorf("%s: a lease of %s is up %s after its holder gave up", name, lease, lease-renew)
		}
		if renew <= 2*retry {
			t.Errorf("%s: within %s there is no second try every %s", name, renew, retry)
		}
		for _, arg := range c.Args {
			if strings.Contains(arg, "ReleaseLeaderElectionOnExit=true") {
				t.Errorf("%s gives its lease back at once: %s", name, arg)
			}
		}
	}
}

// TestTheFailoverIsExplained: whoever changes the figures finds the reason beside them.
func TestTheFailoverIsExplained(t *testing.T) {
	controller := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller")
	c := container(t, &controller.Spec.Template.Spec, "csi-provisioner")
	lease := duration(t, flagValue(t, c, "leader-election-lease-duration"))
	renew := duration(t, flagValue(t, c, "leader-election-renew-deadline"))
	content, err := os.ReadFile(csiDir + "/controller.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(strings.ReplaceAll(string(content), "#", " ")), " ")
	want := fmt.Sprintf("not up for %d s after its holder has given up (%d s less %d s)",
		int((lease - renew).Seconds()), int(lease.Seconds()), int(renew.Seconds()))
	if !strings.Contains(text, want) {
		t.Errorf("the head of controller.yaml does not say %q", want)
	}
}

// TestSidecarsWaitLongEnough: the longest single wait that the driver makes is
// a create whose answer takes a minute after the settle time.
func TestSidecarsWaitLongEnough(t *testing.T) {
	const longest = 65 * time.Second
	controller := named[*appsv1.Deployment](t, load(t, csiDir), "csi-vultr-controller")
	for name, flag := range map[string]string{
		"csi-provisioner": "timeout", "csi-attacher": "timeout", "csi-resizer": "resize-timeout",
	} {
		c := container(t, &controller.Spec.Template.Spec, name)
		if got := duration(t, flagValue(t, c, flag)); got < longest {
			t.Errorf("%s gives up after %s, the driver may need %s", name, got, longest)
		}
		if got := duration(t, flagValue(t, c, "retry-interval-max")); got > time.Minute {
			t.Errorf("%s: after an outage it may take %s until the next try", name, got)
		}
	}
}

func duration(t *testing.T, value string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func volume(t *testing.T, spec *corev1.PodSpec, name string) *corev1.Volume {
	t.Helper()
	for i := range spec.Volumes {
		if spec.Volumes[i].Name == name {
			return &spec.Volumes[i]
		}
	}
	t.Fatalf("no volume is named %q", name)
	return nil
}

// standard are the labels of what is part of app.
func standard(app string) map[string]string {
	return map[string]string{"app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "cloud-provider-vultr"}
}

// TestStandardLabels: everything can be found by Kubernetes' recommended labels, and pods are selected by "app" alone: a selector
// cannot be changed in a cluster, and the official driver's is that.
func TestStandardLabels(t *testing.T) {
	objects := both(t)
	for _, o := range objects {
		m := meta(t, o)
		for key, want := range standard(m.GetLabels()["app"]) {
			if got := m.GetLabels()[key]; got == "" || got != want {
				t.Errorf("%s %s has the label %s=%q, want %q", m.GetKind(), m.GetName(), key, got, want)
			}
		}
	}
	for _, w := range workloads(objects) {
		app := w.selector["app"]
		same(t, w.name+"'s selector", map[string]string{"app": app}, w.selector)
		for key, want := range standard(app) {
			if got := w.template.Labels[key]; got != want {
				t.Errorf("%s: its pods have the label %s=%q, want %q", w.name, key, got, want)
			}
		}
	}
}

// TestLastWordsAreShown: why a program ended is in its pod's status, without its log.
func TestLastWordsAreShown(t *testing.T) {
	for _, w := range workloads(both(t)) {
		for _, c := range w.template.Spec.Containers {
			if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
				t.Errorf("%s: container %s shows %q", w.name, c.Name, c.TerminationMessagePolicy)
			}
		}
	}
}
