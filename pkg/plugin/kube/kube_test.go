package kube_test

import (
	"errors"
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
	client := fake.NewClientset(
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: kube.CCMSecret}, Data: map[string][]byte{"api-key": []byte(" KEY\n"), "region": []byte("ewr")}},
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: kube.CSISecret}, Data: map[string][]byte{"api-key": []byte("\n")}},
	)
	cluster := &kube.Cluster{Client: client}
	if key, err := cluster.Key(t.Context(), kube.CCMSecret); err != nil || key != "KEY" {
		t.Errorf("%q, %v", key, err)
	}
	if _, err := cluster.Key(t.Context(), kube.CSISecret); !errors.Is(err, kube.ErrNoKey) {
		t.Errorf("an empty key: %v", err)
	}
	if _, err := cluster.Key(t.Context(), "none"); !apierrors.IsNotFound(err) {
		t.Errorf("no Secret: %v", err)
	}
	client.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "vultr-ccm", nil)
	})
	if _, err := cluster.Key(t.Context(), kube.CCMSecret); err == nil || !strings.Contains(err.Error(), "your own account in the cluster lacks this right") {
		t.Errorf("a right that is missing: %v", err)
	}
}

func TestSnapshots(t *testing.T) {
	resource := schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}
	content := func(name string, fields map[string]any) *unstructured.Unstructured {
		object := map[string]any{"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent", "metadata": map[string]any{"name": name}}
		for key, value := range fields {
			object[key] = value
		}
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
		all, err := (&kube.Cluster{Client: fake.NewClientset(objects...)}).Workloads(t.Context())
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
