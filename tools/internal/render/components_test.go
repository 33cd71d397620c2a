package render

import (
	"os"
	"path/filepath"
	"reflect"
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
	overlay := t.TempDir()
	here, err := filepath.Abs(deploy)
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
	text := "resources: [" + path + "/" + dir + "]\ncomponents: [" + path + "/components/" + component + "]\n"
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
	if !slices.Equal(seen, found) {
		t.Errorf("there are the components %q, tested are %q", found, seen)
	}
}
