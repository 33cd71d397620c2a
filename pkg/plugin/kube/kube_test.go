package kube_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
)

func TestConnect(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	const config = `apiVersion: v1
kind: Config
current-context: one
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts:
- {name: one, context: {cluster: c, user: u, namespace: shop}}
- {name: two, context: {cluster: c, user: u}}
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for context, want := range map[string]string{"": "shop", "one": "shop", "two": "default"} {
		cluster, err := kube.Connect(kube.Options{Kubeconfig: file, Context: context})
		if err != nil || cluster.Namespace != want || cluster.Client == nil || cluster.Dynamic == nil {
			t.Errorf("context %q: %+v, %v", context, cluster, err)
		}
	}
	if _, err := kube.Connect(kube.Options{Kubeconfig: file, Context: "three"}); err == nil || !strings.Contains(err.Error(), "--context") {
		t.Errorf("no such context: %v", err)
	}
	if _, err := kube.Connect(kube.Options{Kubeconfig: file + "x"}); err == nil {
		t.Error("no such file, and no error")
	}
}

func TestKey(t *testing.T) {
	client := fake.NewSimpleClientset(
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: kube.CCMSecret}, Data: map[string][]byte{"api-key": []byte(" KEY\n"), "region": []byte("ewr")}},
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: kube.CSISecret}, Data: map[string][]byte{"api-key": []byte("\n")}},
	)
	cluster := &kube.Cluster{Client: client}
	if key, err := cluster.Key(t.Context(), kube.KeyRefOf(nil, kube.CCMSecret)); err != nil || key != "KEY" {
		t.Errorf("%q, %v", key, err)
	}
	if _, err := cluster.Key(t.Context(), kube.KeyRefOf(nil, kube.CSISecret)); !errors.Is(err, kube.ErrNoKey) {
		t.Errorf("an empty key: %v", err)
	}
	if _, err := cluster.Key(t.Context(), kube.KeyRef{Secret: "none", Key: "api-key"}); !apierrors.IsNotFound(err) {
		t.Errorf("no Secret: %v", err)
	}
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "vultr-ccm", nil)
	})
	if _, err := cluster.Key(t.Context(), kube.KeyRefOf(nil, kube.CCMSecret)); err == nil || !strings.Contains(err.Error(), "your own account in the cluster lacks this right") {
		t.Errorf("a right that is missing: %v", err)
	}
}

// TestKeyRefOf: the Secrets are those that the controllers have, whatever their names.
func TestKeyRefOf(t *testing.T) {
	workload := func(name, container string, change func(*v1.Container, *v1.Volume)) kube.Workload {
		c := v1.Container{
			Name: container, Args: []string{"--vultr-api-key-file=/etc/vultr/api-key", "--api-key-file=/etc/vultr/api-key"},
			VolumeMounts: []v1.VolumeMount{{Name: "api-key", MountPath: "/etc/vultr"}},
		}
		source := v1.SecretVolumeSource{SecretName: "theirs", Items: []v1.KeyToPath{{Key: "token", Path: "api-key"}}}
		volume := v1.Volume{Name: "api-key", VolumeSource: v1.VolumeSource{Secret: &source}}
		change(&c, &volume)
		return kube.Workload{Kind: "Deployment", Name: name, Containers: []v1.Container{{Name: "other"}, c}, Volumes: []v1.Volume{volume}}
	}
	for what, test := range map[string]struct {
		change func(*v1.Container, *v1.Volume)
		want   kube.KeyRef // "" is the manifests'
	}{
		"as mounted":    {func(*v1.Container, *v1.Volume) {}, kube.KeyRef{Secret: "theirs", Key: "token"}},
		"as it is":      {func(_ *v1.Container, v *v1.Volume) { v.Secret.Items = nil }, kube.KeyRef{Secret: "theirs", Key: "api-key"}},
		"without flags": {func(c *v1.Container, _ *v1.Volume) { c.Args = nil }, kube.KeyRef{Secret: "theirs", Key: "token"}},
		"elsewhere": {func(c *v1.Container, _ *v1.Volume) {
			c.Args, c.VolumeMounts[0].MountPath = []string{"--vultr-api-key-file=/key", "--api-key-file=/key"}, "/key"
			c.VolumeMounts[0].SubPath = "api-key"
		}, kube.KeyRef{Secret: "theirs", Key: "token"}},
		"in the environment": {func(c *v1.Container, _ *v1.Volume) {
			ref := v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "env"}, Key: "key"}
			c.VolumeMounts, c.Env = nil, []v1.EnvVar{{Name: "VULTR_API_KEY", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &ref}}}
		}, kube.KeyRef{Secret: "env", Key: "key"}},
		"by something else": {func(_ *v1.Container, v *v1.Volume) {
			v.VolumeSource = v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}
		}, kube.KeyRef{}},
		"not at all": {func(c *v1.Container, _ *v1.Volume) { c.VolumeMounts = nil }, kube.KeyRef{}},
	} {
		for secret, w := range map[string]kube.Workload{
			kube.CCMSecret: workload(kube.CCM, "vultr-ccm", test.change), kube.CSISecret: workload(kube.CSIController, "csi-controller", test.change),
		} {
			want := test.want
			if want == (kube.KeyRef{}) {
				want = kube.KeyRef{Secret: secret, Key: "api-key"}
			}
			if got := kube.KeyRefOf([]kube.Workload{w}, secret); got != want {
				t.Errorf("%s, of %s: %+v, want %+v", what, w.Name, got, want)
			}
		}
	}
}

func TestSnapshots(t *testing.T) {
	resource := schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
	content := func(name string, fields map[string]any) *unstructured.Unstructured {
		object := map[string]any{"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": map[string]any{"name": name}}
		maps.Copy(object, fields)
		return &unstructured.Unstructured{Object: object}
	}
	anyKind := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{resource: "VolumeSnapshotContentList"})
	for _, o := range []*unstructured.Unstructured{
		content("made", map[string]any{"status": map[string]any{"snapshotHandle": "A"}, "spec": map[string]any{"volumeSnapshotRef": map[string]any{"uid": "u"}}}),
		content("imported", map[string]any{"spec": map[string]any{"source": map[string]any{"snapshotHandle": "b"}}}),
		content("odd", map[string]any{"status": "none"}),
	} {
		if _, err := anyKind.Resource(resource).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cluster := &kube.Cluster{Dynamic: anyKind}
	use, err := cluster.Snapshots(t.Context())
	if err != nil || len(use.Handles) != 2 || !use.Handles["a"] || !use.Handles["b"] || !use.Snapshots["u"] {
		t.Errorf("%+v, %v", use, err)
	}
	failure := apierrors.NewNotFound(schema.GroupResource{Resource: "volumesnapshotcontents"}, "")
	anyKind.PrependReactor("list", "volumesnapshotcontents", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, failure })
	if use, err := cluster.Snapshots(t.Context()); err != nil || len(use.Handles) > 0 {
		t.Errorf("a cluster without that kind: %+v, %v", use, err)
	}
	failure = apierrors.NewForbidden(schema.GroupResource{Resource: "volumesnapshotcontents"}, "", nil)
	if _, err := cluster.Snapshots(t.Context()); err == nil {
		t.Error("what may not be read is taken for none")
	}
}

func TestSettingsOf(t *testing.T) {
	deployment := func(name, container string, args ...string) *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name},
			Spec:       appsv1.DeploymentSpec{Template: v1.PodTemplateSpec{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "other", Args: []string{"--cluster-id=no"}}, {Name: container, Args: args}}}}},
		}
	}
	read := func(objects ...runtime.Object) (kube.Settings, error) {
		all, err := (&kube.Cluster{Client: fake.NewSimpleClientset(objects...)}).Workloads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return kube.SettingsOf(all)
	}
	if s, err := read(); err != nil || s.Cluster != "" {
		t.Errorf("nothing is installed: %+v, %v", s, err)
	}
	s, err := read(deployment(kube.CSIController, "csi-controller", "--mode=controller", "--cluster-id", "prod"),
		deployment(kube.CCM, "vultr-ccm", "--vultr-load-balancer-default=timeout=300", "--vultr-load-balancer-default", "node-count=3"),
		deployment("unrelated", "csi-controller", "--cluster-id=x"))
	if err != nil || s.Cluster != "prod" {
		t.Fatalf("%+v, %v", s, err)
	}
	r := settings.NewReader(nil).WithDefaults(s.Defaults)
	if r.Int(settings.Timeout) != 300 || r.Int(settings.NodeCount) != 3 {
		t.Errorf("timeout %d, nodes %d", r.Int(settings.Timeout), r.Int(settings.NodeCount))
	}
	_, err = read(deployment(kube.CSIController, "csi-controller", "--cluster-id=A"), deployment(kube.CCM, "vultr-ccm", "--vultr-load-balancer-default=timeout=x"))
	if err == nil || !strings.Contains(err.Error(), "--cluster-id") || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("both faults: %v", err)
	}
}

// ccm is the cloud controller manager with arguments and a ConfigMap, config, of which some keys are files below /etc/vultr-config.
func ccm(items []v1.KeyToPath, args ...string) *appsv1.Deployment {
	volume := v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "config"}, Items: items}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: kube.CCM},
		Spec: appsv1.DeploymentSpec{Template: v1.PodTemplateSpec{Spec: v1.PodSpec{
			Containers: []v1.Container{{
				Name: "vultr-ccm", Args: args, VolumeMounts: []v1.VolumeMount{
					{Name: "key", MountPath: "/etc"}, {Name: "config", MountPath: "/etc/vultr-config"}, {Name: "config", MountPath: "/one.yaml", SubPath: "ccm.yaml"},
				},
			}},
			Volumes: []v1.Volume{
				{Name: "key", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "vultr-ccm"}}},
				{Name: "config", VolumeSource: v1.VolumeSource{ConfigMap: &volume}},
			},
		}}},
	}
}

// TestSettingsOfAFile: what the controller reads from its file counts where its flags say nothing. What cannot be read is told.
func TestSettingsOfAFile(t *testing.T) {
	const file = "apiVersion: vultr.com/v1alpha1\nkind: CloudConfig\nloadBalancers:\n  kubeProxyPort: 10300\n  defaults: {timeout: 300, node-count: 3}\n"
	config := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "config"}, Data: map[string]string{"ccm.yaml": file, "broken.yaml": "a: b\n"}}
	at := func(path string) string { return "--cloud-config=" + path }
	tests := map[string]struct {
		ccm                  *appsv1.Deployment
		timeout, nodes, port int
		unread, fault        string
	}{
		"in a directory":      {ccm(nil, at("/etc/vultr-config/ccm.yaml")), 300, 3, 10300, "", ""},
		"a file alone":        {ccm(nil, at("/one.yaml")), 300, 3, 10300, "", ""},
		"by another name":     {ccm([]v1.KeyToPath{{Key: "ccm.yaml", Path: "in/it.yaml"}}, at("/etc/vultr-config/in/it.yaml")), 300, 3, 10300, "", ""},
		"flags count more":    {ccm(nil, at("/etc/vultr-config/ccm.yaml"), "--vultr-load-balancer-default="+settings.Prefix+"timeout=17", "--vultr-kube-proxy-health-port=10301"), 17, 3, 10301, "", ""},
		"no file":             {ccm(nil, "--vultr-load-balancer-default=timeout=17"), 17, 1, 0, "", ""},
		"in a Secret":         {ccm(nil, at("/etc/ccm.yaml")), 600, 1, 0, "in no ConfigMap", ""},
		"in the image":        {ccm(nil, at("/ccm.yaml")), 600, 1, 0, "in no ConfigMap", ""},
		"no such key":         {ccm(nil, at("/etc/vultr-config/none.yaml")), 600, 1, 0, "has no none.yaml", ""},
		"a file that is none": {ccm(nil, at("/etc/vultr-config/broken.yaml")), 0, 0, 0, "", "ConfigMap kube-system/config, broken.yaml: apiVersion is missing"},
		"a port that is none": {ccm(nil, "--vultr-kube-proxy-health-port=x"), 0, 0, 0, "", `"x" is not a port`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := &kube.Cluster{Client: fake.NewSimpleClientset(config, tt.ccm)}
			all, err := cluster.Workloads(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s, err := cluster.Settings(t.Context(), all)
			if (err != nil) != (tt.fault != "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Fatalf("%v, want %q", err, tt.fault)
			}
			if err != nil {
				return
			}
			r := settings.NewReader(nil).WithDefaults(s.Defaults)
			if r.Int(settings.Timeout) != tt.timeout || r.Int(settings.NodeCount) != tt.nodes || s.KubeProxyPort != tt.port {
				t.Errorf("timeout %d, nodes %d, port %d", r.Int(settings.Timeout), r.Int(settings.NodeCount), s.KubeProxyPort)
			}
			if (s.Unread != nil) != (tt.unread != "") || s.Unread != nil && !strings.Contains(s.Unread.Error(), tt.unread) {
				t.Errorf("%v, want %q", s.Unread, tt.unread)
			}
		})
	}
	cluster := &kube.Cluster{Client: fake.NewSimpleClientset(ccm(nil, at("/etc/vultr-config/ccm.yaml")))}
	all, err := cluster.Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s, err := cluster.Settings(t.Context(), all); err != nil || !apierrors.IsNotFound(s.Unread) {
		t.Errorf("a ConfigMap that is not there: %v, %v", s.Unread, err)
	}
}

// TestNamed: a ConfigMap that does not exist is the Service's fault, one that may not be read is not, and any other failure is
// nobody's answer.
func TestNamed(t *testing.T) {
	service := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u", Annotations: map[string]string{string(settings.FirewallRulesCM): "office"}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, NodePort: 31080}}},
	}
	rules := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "office"}, Data: map[string]string{"firewallRules": "10.0.0.0/8,80"}}
	resource := schema.GroupResource{Resource: "configmaps"}
	tests := map[string]struct {
		objects []runtime.Object
		refusal error // of the API server
		rules   int
		hidden  int
		fault   string
		failure string
	}{
		"there":           {[]runtime.Object{rules}, nil, 1, 0, "", ""},
		"missing":         {nil, nil, 0, 0, "there is none of this name in namespace shop", ""},
		"may not be read": {nil, apierrors.NewForbidden(resource, "office", nil), 0, 1, "", ""},
		"no answer":       {nil, apierrors.NewTimeoutError("slow", 1), 0, 0, "", "what Service shop/web names"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewSimpleClientset(tt.objects...)
			if tt.refusal != nil {
				client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tt.refusal })
			}
			named, hidden, err := (&kube.Cluster{Client: client}).Named(t.Context(), []*v1.Service{service, {ObjectMeta: metav1.ObjectMeta{UID: "other"}}})
			if (err != nil) != (tt.failure != "") || err != nil && !strings.Contains(err.Error(), tt.failure) {
				t.Fatalf("%v, want %q", err, tt.failure)
			}
			if len(hidden) != tt.hidden {
				t.Errorf("hidden are %v", hidden)
			}
			if err != nil {
				return
			}
			got := plan.Read(service, append([]plan.Option{plan.WithUnreadReferences()}, named["u"]...)...)
			if len(got.Desired.Firewall) != tt.rules || (got.Err != nil) != (tt.fault != "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.fault) {
				t.Errorf("%+v, %v; want %q", got.Desired.Firewall, got.Err, tt.fault)
			}
		})
	}
}
