package render

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/tools/internal/release"
)

// fields are an object's by their names.
type fields = map[string]any

// identity is what an object is found by.
func identity(f fields) string {
	m, _ := f["metadata"].(fields)
	return fmt.Sprint(f["kind"], " ", m["namespace"], "/", m["name"])
}

// read decodes a document and puts what has no order into one.
func read(t *testing.T, document string) fields {
	t.Helper()
	var f fields
	if err := yaml.Unmarshal([]byte(document), &f); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	inOrder(f)
	return f
}

// inOrder sorts lists whose order means nothing: patches of kustomize put what they add at other places than the chart.
func inOrder(value any) {
	switch value := value.(type) {
	case fields:
		for key, below := range value {
			if list, ok := below.([]any); ok && slices.Contains([]string{"containers", "env", "volumes", "volumeMounts"}, key) {
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(title(a), title(b)) })
			}
			inOrder(below)
		}
	case []any:
		for _, below := range value {
			inOrder(below)
		}
	}
}

// title is what an entry of such a list is found by.
func title(entry any) string {
	f, _ := entry.(fields)
	return fmt.Sprint(f["mountPath"], " ", f["name"])
}

// kustomized are the objects that kustomize made.
func kustomized(t *testing.T, m resmap.ResMap) map[string]fields {
	t.Helper()
	objects := map[string]fields{}
	for _, r := range m.Resources() {
		f := read(t, r.MustYaml())
		objects[identity(f)] = f
	}
	return objects
}

// helm compiles the program of tools/helm and returns a function that renders the chart with values.
func helm(t *testing.T) func(t *testing.T, values string) map[string]fields {
	t.Helper()
	home := t.TempDir()
	program, err := filepath.Abs("../../../bin/helm") // as `make tool-helm` leaves it
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../../helm", "-buildvcs=false", "-o", program, "helm.sh/helm/v4/cmd/helm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building helm: %v\n%s", err, out)
	}
	return func(t *testing.T, values string) map[string]fields {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "template", "vultr", deploy+"chart", "--namespace", "kube-system",
			"--kube-version", "1.37.0", "--skip-tests", "--values", "-")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(home, "none"), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
		cmd.Stdin = strings.NewReader(values)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("helm template: %v\n%s\nwith the values %s", err, complaints.String(), values)
		}
		objects := map[string]fields{}
		for document := range strings.SplitSeq("\n"+string(out), "\n---\n") {
			f := read(t, document)
			if len(f) == 0 {
				continue
			}
			if _, twice := objects[identity(f)]; twice {
				t.Errorf("%s is there twice", identity(f))
			}
			objects[identity(f)] = f
		}
		return objects
	}
}

// differences says where two values differ.
func differences(at string, a, b any) (all []string) {
	switch left := a.(type) {
	case fields:
		right, ok := b.(fields)
		if !ok {
			break
		}
		keys := maps.Clone(left)
		maps.Copy(keys, right)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			all = append(all, differences(at+"."+key, left[key], right[key])...)
		}
		return all
	case []any:
		right, ok := b.([]any)
		if !ok || len(left) != len(right) {
			break
		}
		for i := range left {
			all = append(all, differences(fmt.Sprintf("%s[%d]", at, i), left[i], right[i])...)
		}
		return all
	}
	if reflect.DeepEqual(a, b) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %v, the chart has %v", at, a, b)}
}

// TestTheChartIsTheManifests: the chart renders what kustomize does, and its values do what the examples do.
func TestTheChartIsTheManifests(t *testing.T) {
	chart := helm(t)
	for dir, values := range map[string]string{
		"manifests":                         "",
		"manifests/ccm":                     "csi: {enabled: false}",
		"manifests/csi":                     "ccm: {enabled: false}",
		"manifests/csi-snapshots":           "{ccm: {enabled: false}, csi: {snapshots: {enabled: true}}}",
		"examples/kubelet-root":             "{ccm: {enabled: false}, csi: {node: {kubeletRoot: /var/lib/k0s/kubelet}}}",
		"examples/ccm-secrets-by-namespace": "{csi: {enabled: false}, ccm: {secretAccess: {clusterWide: false, namespaces: [shop]}}}",
		"examples/monitoring":               "monitoring: {expose: true, monitors: {enabled: true}, rules: {enabled: true}, dashboards: {enabled: true}}",
	} {
		t.Run(dir, func(t *testing.T) {
			want, got := kustomized(t, render(t, dir)), chart(t, values)
			names := maps.Clone(want)
			maps.Copy(names, got)
			for _, name := range slices.Sorted(maps.Keys(names)) {
				switch {
				case got[name] == nil:
					t.Errorf("the chart lacks %s", name)
				case want[name] == nil:
					t.Errorf("%s has no %s", dir, name)
				default:
					for _, difference := range differences("", want[name], got[name]) {
						t.Errorf("%s %s", name, difference)
					}
				}
			}
		})
	}
}

// TestTheReleaseIsPinned: the manifests of a release and the chart with its file of values run the same images.
func TestTheReleaseIsPinned(t *testing.T) {
	chart := helm(t)
	var images []release.Image
	for i, name := range []string{"ccm", "csi-controller", "csi-node", "simulator"} {
		images = append(images, release.Image{Name: release.Project + name, Digest: fmt.Sprintf("sha256:%064d", i)})
	}
	const registry = "registry.example.com/vultr"
	values, err := release.Values(images, registry)
	if err != nil {
		t.Fatal(err)
	}
	content, err := render(t, "manifests").AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := release.Pin(string(content), images, registry)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fields{}
	for document := range strings.SplitSeq(pinned, "\n---\n") {
		f := read(t, document)
		want[identity(f)] = f
	}
	got := chart(t, values)
	found := 0
	for name, w := range want {
		for _, difference := range differences("", w, got[name]) {
			t.Errorf("%s %s", name, difference)
		}
		for _, image := range images {
			found += strings.Count(fmt.Sprint(w), image.At(registry))
		}
	}
	if found != 3 {
		t.Errorf("%d images are named by digest, want 3", found)
	}
}
