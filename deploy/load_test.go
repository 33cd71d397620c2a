package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// object is one decoded manifest.
type object struct {
	file string
	runtime.Object
}

// codecs knows the kinds that the manifests use, and refuses fields that they don't have.
func codecs(t *testing.T) serializer.CodecFactory {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionv1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
		storagev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}

// load reads what a kustomization directory lists, and fails if a manifest
// there is not listed.
func load(t *testing.T, dir string) []object {
	t.Helper()
	listed := resources(t, dir)
	present, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var objects []object
	for _, file := range present {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		if !slices.Contains(listed, filepath.Base(file)) {
			t.Errorf("%s is not in the kustomization", file)
		}
		objects = append(objects, decode(t, file)...)
	}
	if want := len(present) - 1; len(listed) != want {
		t.Errorf("%s lists %d files, there are %d", dir, len(listed), want)
	}
	return objects
}

// resources is the list of a kustomization.
func resources(t *testing.T, dir string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(content, &k); err != nil {
		t.Fatal(err)
	}
	return k.Resources
}

// decode reads every document of a file strictly.
func decode(t *testing.T, file string) []object {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return decodeText(t, file, content)
}

// decodeText reads every document strictly. Kinds that are not Kubernetes' own, whose fields are not known here, stay as they are.
func decodeText(t *testing.T, name string, content []byte) []object {
	t.Helper()
	decoder := codecs(t).UniversalDeserializer()
	var objects []object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if foreign.Match(document) {
			fields := map[string]any{}
			if err := yaml.UnmarshalStrict(document, &fields); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			objects = append(objects, object{file: name, Object: &unstructured.Unstructured{Object: fields}})
			continue
		}
		decoded, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, document)
			continue
		}
		objects = append(objects, object{file: name, Object: decoded})
	}
}

// foreign finds objects of APIs that are not Kubernetes' own.
var foreign = regexp.MustCompile(`(?m)^apiVersion: (snapshot\.storage\.k8s\.io|monitoring\.coreos\.com)/`)

// named finds the only object of a kind and name.
func named[T runtime.Object](t *testing.T, objects []object, name string) T {
	t.Helper()
	var found []T
	for _, o := range objects {
		if typed, ok := o.Object.(T); ok && meta(t, o).GetName() == name {
			found = append(found, typed)
		}
	}
	if len(found) != 1 {
		var zero T
		t.Fatalf("%d objects of type %T are named %q, want one", len(found), zero, name)
	}
	return found[0]
}

// meta is an object's metadata, whatever its kind.
func meta(t *testing.T, o object) *unstructured.Unstructured {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: fields}
}

// workload is what Deployments and DaemonSets have in common.
type workload struct {
	name     string
	selector map[string]string
	template corev1.PodTemplateSpec
}

// workloads are all objects that make pods.
func workloads(objects []object) []workload {
	var found []workload
	for _, o := range objects {
		switch w := o.Object.(type) {
		case *appsv1.Deployment:
			found = append(found, workload{"Deployment/" + w.Name, w.Spec.Selector.MatchLabels, w.Spec.Template})
		case *appsv1.DaemonSet:
			found = append(found, workload{"DaemonSet/" + w.Name, w.Spec.Selector.MatchLabels, w.Spec.Template})
		}
	}
	return found
}

// container finds one by its name.
func container(t *testing.T, spec *corev1.PodSpec, name string) *corev1.Container {
	t.Helper()
	for i := range spec.Containers {
		if spec.Containers[i].Name == name {
			return &spec.Containers[i]
		}
	}
	t.Fatalf("no container is named %q", name)
	return nil
}

// flagValue is what a container's argument sets a flag to.
func flagValue(t *testing.T, c *corev1.Container, flag string) string {
	t.Helper()
	for _, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, "--"+flag+"="); ok {
			return value
		}
	}
	t.Fatalf("container %s has no argument --%s", c.Name, flag)
	return ""
}
