package render

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// withComponent renders a directory with a component, as an overlay of a user's does.
func withComponent(t *testing.T, dir, component string) resmap.ResMap {
	t.Helper()
	return overlaid(t, "resources: [ROOT/deploy/"+dir+"]\ncomponents: [ROOT/deploy/components/"+component+"]\n")
}

// overlaid renders a user's own kustomization, in which ROOT stands for the checkout.
func overlaid(t *testing.T, kustomization string) resmap.ResMap {
	t.Helper()
	overlay := t.TempDir()
	here, err := filepath.Abs(deploy + "..")
	if err != nil {
		t.Fatal(err)
	}
	// Links on the way to the temporary directory would lead elsewhere.
	overlay, err = filepath.EvalSymlinks(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Rel(overlay, here)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(kustomization, "ROOT", path)
	if err := os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), overlay)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func asText(t *testing.T, m resmap.ResMap) string {
	t.Helper()
	text, err := m.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestComponentsOfDistributions: each has its kubelet's directory wherever one is named, and its controllers tolerate what its
// servers have. It can be used with every base.
func TestComponentsOfDistributions(t *testing.T) {
	const usual, etcd = "/var/lib/kubelet", "key: node-role.kubernetes.io/etcd\n"
	page, err := os.ReadFile("../../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, c := range []struct {
		name, root string
		etcd       bool
	}{
		{"k0s", "/var/lib/k0s/kubelet", false},
		{"k3s", usual, true},
		{"kubeadm", usual, false},
		{"rke2", usual, true},
	} {
		seen = append(seen, c.name)
		if !strings.Contains(string(page), "deploy/components/"+c.name) {
			t.Errorf("docs/install.md does not name deploy/components/%s", c.name)
		}
		for dir, deployments := range map[string]int{"manifests": 2, "manifests/ccm": 1, "manifests/csi": 1, "manifests/csi-snapshots": 1} {
			base, with := render(t, dir), withComponent(t, dir, c.name)
			if base.Size() != with.Size() {
				t.Errorf("%s: %s: %d objects became %d", c.name, dir, base.Size(), with.Size())
			}
			before, after := asText(t, base), asText(t, with)
			want := 0
			if c.etcd {
				want = deployments
			}
			if got := strings.Count(after, etcd); got != want {
				t.Errorf("%s: %s: %d workloads tolerate etcd's taint, want %d", c.name, dir, got, want)
			}
			if a, b := strings.Count(before, usual), strings.Count(after, c.root); a != b {
				t.Errorf("%s: %s: of %d paths %d are below %s", c.name, dir, a, b, c.root)
			}
			if c.root != usual && strings.Contains(after, usual) {
				t.Errorf("%s: %s: %s is still there", c.name, dir, usual)
			}
			if same := reflect.DeepEqual(kustomized(t, base), kustomized(t, with)); same != (c.name == "kubeadm" || c.name == "k0s" && dir == "manifests/ccm") {
				t.Errorf("%s: %s: it is the base: %v", c.name, dir, same)
			}
		}
	}
	found, err := filepath.Glob(deploy + "components/*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	if seen = slices.Sorted(slices.Values(append(seen, combinable...))); !slices.Equal(seen, found) {
		t.Errorf("there are the components %q, tested are %q", found, seen)
	}
}

// combinable are the components that are not about a distribution.
var combinable = []string{"ccm-config", "ccm-secrets-by-namespace", "monitoring"}

// TestExamplesAreComponents: an example is manifests with a component and no more, so that whoever has other manifests can have the
// same.
func TestExamplesAreComponents(t *testing.T) {
	for example, of := range map[string][2]string{
		"monitoring":               {"manifests", "monitoring"},
		"ccm-config":               {"manifests/ccm", "ccm-config"},
		"ccm-secrets-by-namespace": {"manifests/ccm", "ccm-secrets-by-namespace"},
		"kubelet-root":             {"manifests/csi", "k0s"},
	} {
		want, got := kustomized(t, withComponent(t, of[0], of[1])), kustomized(t, render(t, "examples/"+example))
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s is not %s with %s: %v", example, of[0], of[1], unlike(want, got))
		}
	}
}

// TestComponentsCombine: with snapshots, and in any order, each adds what it adds alone.
func TestComponentsCombine(t *testing.T) {
	const bases = "resources: [ROOT/deploy/manifests/ccm, ROOT/deploy/manifests/csi-snapshots]\ncomponents:\n"
	names := append([]string{"k0s", "k3s"}, combinable...)
	var first map[string]fields
	for range names {
		text := bases
		for _, name := range names {
			text += "  - ROOT/deploy/components/" + name + "\n"
		}
		m := overlaid(t, text)
		if first == nil {
			first = kustomized(t, m)
			whole := asText(t, m)
			for _, want := range []string{
				"name: csi-snapshotter\n", "- --cloud-config=/etc/vultr-config/ccm.yaml\n", "- --bind-address=0.0.0.0\n", "secretName: csi-vultr-metrics\n",
				"value: /var/lib/k0s/kubelet\n", "key: node-role.kubernetes.io/etcd\n", "namespace: shop\n", "kind: PrometheusRule\n", "- port: snapshotter\n",
			} {
				if !strings.Contains(whole, want) {
					t.Errorf("%q is lost with %q", want, names)
				}
			}
			for name, object := range first {
				if strings.HasPrefix(name, "ClusterRole ") && strings.Contains(fmt.Sprint(object["rules"]), "secrets") {
					t.Errorf("%s may read Secrets: %v", name, object["rules"])
				}
			}
		}
		if got := kustomized(t, m); !reflect.DeepEqual(first, got) {
			t.Errorf("with %q: %v", names, unlike(first, got))
		}
		names = append(names[1:], names[0])
	}
}

// unlike says which objects differ, and where.
func unlike(want, got map[string]fields) (all []string) {
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, difference := range differences("", want[name], got[name]) {
			all = append(all, name+" "+difference)
		}
	}
	return all
}

// TestDocumentedKustomizations: those of the pages can be built.
func TestDocumentedKustomizations(t *testing.T) {
	const repository = "github.com/cloud-provider-vultr/cloud-provider-vultr/"
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
			if !strings.Contains(match[1], "kind: Kustomization") {
				continue
			}
			found++
			if m := overlaid(t, strings.ReplaceAll(match[1], repository, "ROOT/")); m.Size() == 0 {
				t.Errorf("%s: nothing is built by\n%s", page, match[1])
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d kustomizations were found", found)
	}
}
