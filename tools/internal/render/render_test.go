// Package render checks what kustomize makes of the directories under deploy/.
package render

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const deploy = "../../../deploy/"

func render(t *testing.T, dir string) resmap.ResMap {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), deploy+dir)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

func TestBasesRenderAloneAndTogether(t *testing.T) {
	ccm, csi, all := render(t, "manifests/ccm"), render(t, "manifests/csi"), render(t, "manifests")
	if ccm.Size() == 0 || csi.Size() == 0 || all.Size() != ccm.Size()+csi.Size() {
		t.Errorf("%d objects for the CCM, %d for CSI, %d together", ccm.Size(), csi.Size(), all.Size())
	}
}

// TestSnapshotsAreAdded: the driver with snapshots is the driver with a sidecar, its rights and two classes more.
func TestSnapshotsAreAdded(t *testing.T) {
	base, with := render(t, "manifests/csi"), render(t, "manifests/csi-snapshots")
	const more = 10 // two classes, four roles and their bindings
	if with.Size() != base.Size()+more {
		t.Errorf("%d objects became %d", base.Size(), with.Size())
	}
	controller := func(m resmap.ResMap) string {
		for _, r := range m.Resources() {
			if r.GetKind() == "Deployment" {
				return r.MustYaml()
			}
		}
		t.Fatal("there is no Deployment")
		return ""
	}
	before, after := controller(base), controller(with)
	if a, b := strings.Count(before, "\n        name: csi-"), strings.Count(after, "\n        name: csi-"); a != 4 || b != 5 {
		t.Errorf("%d containers became %d", a, b)
	}
	if !strings.Contains(after, "name: csi-snapshotter") || strings.Contains(before, "csi-snapshotter") {
		t.Error("the sidecar is not what was added")
	}
}

// TestMakeRendersEveryBase: what can be applied from a file is what can be applied from its directory.
func TestMakeRendersEveryBase(t *testing.T) {
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?s)\nmanifests:.*?for part in ([^;]+);`).FindSubmatch(makefile)
	if match == nil {
		t.Fatal("the Makefile renders no manifests")
	}
	bases, err := filepath.Glob(deploy + "manifests/*/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i, base := range bases {
		bases[i] = filepath.Base(filepath.Dir(base))
	}
	if got := strings.Fields(string(match[1])); !slices.Equal(got, bases) {
		t.Errorf("make renders %q, there are %q", got, bases)
	}
}

func TestAnotherKubeletRootReachesEveryPath(t *testing.T) {
	base, moved := render(t, "manifests/csi"), render(t, "examples/kubelet-root")
	if base.Size() != moved.Size() {
		t.Errorf("%d objects became %d", base.Size(), moved.Size())
	}
	count := func(m resmap.ResMap, path string) int {
		text, err := m.AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), path)
	}
	want := count(base, "/var/lib/kubelet")
	if left := count(moved, "/var/lib/kubelet"); left > 0 || want == 0 {
		t.Errorf("/var/lib/kubelet is there %d times, %d of %d left", want, left, want)
	}
	if got := count(moved, "/var/lib/k0s/kubelet"); got != want {
		t.Errorf("/var/lib/k0s/kubelet is there %d times, want %d", got, want)
	}
}

// TestSecretsByNamespace: no right to Secrets and ConfigMaps in the whole cluster is left, and nothing else is missing.
func TestSecretsByNamespace(t *testing.T) {
	rights := func(dir string) (role string, inNamespace int) {
		for _, r := range render(t, dir).Resources() {
			switch {
			case r.GetKind() == "ClusterRole" && r.GetName() == "system:vultr-ccm":
				role = r.MustYaml()
			case r.GetKind() == "Role" && strings.Contains(r.MustYaml(), "- secrets\n"):
				inNamespace++
				if r.GetNamespace() != "shop" {
					t.Errorf("Secrets may be read in namespace %s", r.GetNamespace())
				}
			}
		}
		return role, inNamespace
	}
	before, none := rights("manifests/ccm")
	after, some := rights("examples/ccm-secrets-by-namespace")
	if none != 0 || some != 1 {
		t.Errorf("%d namespaces had rights of their own, %d have", none, some)
	}
	for _, resource := range []string{"- secrets\n", "- configmaps\n"} {
		if !strings.Contains(before, resource) || strings.Contains(after, resource) {
			t.Errorf("%q stays or was never there", resource)
		}
	}
	if a, b := strings.Count(before, "- apiGroups:"), strings.Count(after, "- apiGroups:"); b != a-2 {
		t.Errorf("%d rules became %d", a, b)
	}
	if a, b := render(t, "manifests/ccm").Size(), render(t, "examples/ccm-secrets-by-namespace").Size(); b != a+2 {
		t.Errorf("%d objects became %d", a, b)
	}
}

// TestMonitoring: what listens for its node alone is opened, and by nothing else than what has to be proven: a right in the
// cluster, or a token.
func TestMonitoring(t *testing.T) {
	text := func(dir, kind, name string) string {
		for _, r := range render(t, dir).Resources() {
			if r.GetKind() == kind && r.GetName() == name {
				return r.MustYaml()
			}
		}
		t.Fatalf("%s has no %s %s", dir, kind, name)
		return ""
	}
	const with = "examples/monitoring"
	ccm := text(with, "Deployment", "vultr-ccm")
	if !strings.Contains(ccm, "- --bind-address=0.0.0.0\n") || strings.Contains(ccm, "--bind-address=127.0.0.1") {
		t.Errorf("the metrics of the CCM are not opened in\n%s", ccm)
	}
	for _, kept := range []string{"- --vultr-health-address=127.0.0.1:10261\n", "- --profiling=false\n"} {
		if !strings.Contains(ccm, kept) {
			t.Errorf("%q is lost", kept)
		}
	}
	node := text(with, "DaemonSet", "csi-vultr-node")
	for _, want := range []string{
		"- --metrics-endpoint=:9813\n", "- --metrics-token-file=/etc/vultr-metrics/token\n", "- --http-endpoint=127.0.0.1:9808\n",
		"mountPath: /etc/vultr-metrics\n", "secretName: csi-vultr-metrics\n", "containerPort: 9813\n",
	} {
		if strings.Count(node, want) != 1 {
			t.Errorf("%q is there %d times in\n%s", want, strings.Count(node, want), node)
		}
	}
	if plain := text("manifests", "DaemonSet", "csi-vultr-node"); strings.Contains(plain, "metrics-endpoint") {
		t.Error("the node plugins' metrics are open by default")
	}
	if board := text(with, "ConfigMap", "vultr-dashboard"); !strings.Contains(board, "vultr.json:") || !strings.Contains(board, "grafana_dashboard: \"1\"") {
		t.Error("the dashboard is not there")
	}
	service := text(with, "Service", "vultr-ccm-metrics")
	if !strings.Contains(service, "publishNotReadyAddresses: true") {
		t.Error("a pod whose key is refused is not scraped, and nobody is alarmed")
	}
	if monitor := text(with, "ServiceMonitor", "vultr-ccm"); !strings.Contains(monitor, "honorLabels: true") {
		t.Error("the labels namespace and service would be those of the monitor")
	}
	if monitor := text(with, "PodMonitor", "csi-vultr-controller"); strings.Count(monitor, "honorLabels: true") != 1 {
		t.Error("the label namespace of a claim would be that of the monitor")
	}
}

// TestConfigFileIsMounted: the file is where the argument says, and a change of it is a change of the Deployment.
func TestConfigFileIsMounted(t *testing.T) {
	base, with := render(t, "manifests/ccm"), render(t, "examples/ccm-config")
	if with.Size() != base.Size()+1 {
		t.Errorf("%d objects became %d", base.Size(), with.Size())
	}
	name, deployment := "", ""
	for _, r := range with.Resources() {
		switch {
		case r.GetKind() == "ConfigMap" && strings.HasPrefix(r.GetName(), "vultr-ccm-config-"):
			name = r.GetName()
			if r.GetNamespace() != "kube-system" || !strings.Contains(r.MustYaml(), "ccm.yaml: |") {
				t.Errorf("the ConfigMap is\n%s", r.MustYaml())
			}
		case r.GetKind() == "Deployment":
			deployment = r.MustYaml()
		}
	}
	if name == "" {
		t.Fatal("there is no ConfigMap with a hash in its name")
	}
	for _, want := range []string{"- --cloud-config=/etc/vultr-config/ccm.yaml", "mountPath: /etc/vultr-config\n", "name: " + name + "\n"} {
		if strings.Count(deployment, want) != 1 {
			t.Errorf("%q is there %d times in\n%s", want, strings.Count(deployment, want), deployment)
		}
	}
}

// TestClassOnly: the second controller shares no name, lease, port or record with the first one, and finds its own account.
func TestClassOnly(t *testing.T) {
	base, class := render(t, "manifests/ccm"), render(t, "examples/ccm-class-only")
	if class.Size() != base.Size() {
		t.Errorf("%d objects became %d", base.Size(), class.Size())
	}
	text, err := class.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range class.Resources() {
		if !strings.HasSuffix(r.GetName(), "-class") {
			t.Errorf("%s %s", r.GetKind(), r.GetName())
		}
	}
	for want, times := range map[string]int{
		"- --vultr-load-balancer-class-only=true": 1, "- --controllers=service-lb-controller": 1, "- --secure-port=10268": 1, "containerPort: 10268": 1,
		"- --vultr-health-address=127.0.0.1:10262": 1, "containerPort: 10262": 1, "containerPort: 10261": 0, "containerPort: 10258": 0,
		"- vultr-class-load-balancers-": 64, "- vultr-load-balancers-": 0, "- cloud-controller-manager": 0, "- vultr-ccm-class\n": 1,
		"serviceAccountName: vultr-ccm-class\n": 1, "app: vultr-ccm\n": 0, "secretName: vultr-ccm\n": 1,
	} {
		if got := strings.Count(string(text), want); got != times {
			t.Errorf("%q is there %d times, want %d", want, got, times)
		}
	}
}
