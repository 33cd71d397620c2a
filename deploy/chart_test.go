package deploy

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// full sets every value of the chart to something else than its default.
const full = "testdata/chart/full.yaml"

func fullValues(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// byName indexes objects.
func byName(t *testing.T, objects []object) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, o := range objects {
		m := meta(t, o)
		name := strings.TrimPrefix(m.GetNamespace()+"/", "/") + m.GetKind() + "/" + m.GetName()
		if _, twice := found[name]; twice {
			t.Errorf("%s: %s is there twice", o.file, name)
		}
		found[name] = o.Object
	}
	return found
}

// equal compares objects one by one.
func equal(t *testing.T, what string, want, got []object) {
	t.Helper()
	left, right := byName(t, want), byName(t, got)
	names := maps.Clone(left)
	maps.Copy(names, right)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if diff := cmp.Diff(left[name], right[name]); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", what, name, diff)
		}
	}
}

func TestChartLints(t *testing.T) {
	for _, text := range []string{"", fullValues(t)} {
		args := slices.Concat([]string{"lint", chartDir, "--strict", "--namespace", "kube-system", "--kube-version", "1.37.0"}, values(t, text))
		if stdout, stderr, err := helm(t, args...); err != nil {
			t.Errorf("%v: %s%s", err, stdout, stderr)
		}
	}
}

// TestChartIsTheReleases: its names of the release are those of the file VERSION. That of the chart has no v: it is a version
// of SemVer.
func TestChartIsTheReleases(t *testing.T) {
	version, err := os.ReadFile("../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		Version    string `json:"version"`
		AppVersion string `json:"appVersion"`
	}
	if err := yaml.Unmarshal(content, &chart); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(version))
	if chart.AppVersion != want || "v"+chart.Version != want {
		t.Errorf("version %s and appVersion %s are not %s", chart.Version, chart.AppVersion, want)
	}
}

// TestChartFilesAreCopies: a chart holds all that it renders. After a change of the originals: go test ./deploy -run Copies -update.
func TestChartFilesAreCopies(t *testing.T) {
	for name, original := range map[string]string{
		"rules.yaml":            monitoringDir + "/rules.yaml",
		"dashboards/vultr.json": monitoringDir + "/dashboard.json",
	} {
		want, err := os.ReadFile(original)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(chartDir, "files", name)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not %s; run: go test ./deploy -run Copies -update", file, original)
		}
	}
}

// TestChartRendersTheManifests: whoever goes from one to the other changes no object.
func TestChartRendersTheManifests(t *testing.T) {
	equal(t, "both products", both(t), rendered(t, ""))
}

func TestChartInstallsOneProductAlone(t *testing.T) {
	equal(t, "the cloud controller manager", load(t, ccmDir), rendered(t, "csi: {enabled: false}"))
	equal(t, "the CSI driver", load(t, csiDir), rendered(t, "ccm: {enabled: false}"))
}

// TestChartOfOlderClusters: the sidecars need Kubernetes 1.34, and to Helm, which validates strictly, a field that the cluster does
// not know is an error. So older clusters are refused before anything is installed.
func TestChartOfOlderClusters(t *testing.T) {
	for version, want := range map[string]bool{
		"1.32.9": false, "1.33.12+k3s1": false, "1.34.0": true, "1.34.0-rc.1": true, "1.34.2+k3s1": true, "1.35.1-vke.3": true, "1.37.0-rc.1": true, "2.0.0": true,
	} {
		stdout, stderr, err := template(t, "", "--kube-version", version)
		if !want {
			if err == nil || !strings.Contains(stderr, "kubeVersion: >=1.34.0-0") {
				t.Errorf("with Kubernetes %s: %v: %s", version, err, stderr)
			}
			continue
		}
		if err != nil {
			t.Errorf("with Kubernetes %s: %v: %s", version, err, stderr)
		}
		if !strings.Contains(stdout, "nodeAllocatableUpdatePeriodSeconds:") {
			t.Errorf("with Kubernetes %s the field is missing", version)
		}
	}
}

// TestChartAndPageNameOneKubernetes: the oldest Kubernetes of the chart is that of the page.
func TestChartAndPageNameOneKubernetes(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		KubeVersion string `json:"kubeVersion"`
	}
	if err := yaml.Unmarshal(content, &chart); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	oldest := regexp.MustCompile(`(?m)^\| \*stated\* \| (1\.\d+) or newer:`).FindSubmatch(page)
	if len(oldest) != 2 || chart.KubeVersion != ">="+string(oldest[1])+".0-0" {
		t.Errorf("the chart says %s, the page %s", chart.KubeVersion, oldest)
	}
}

// TestChartRefuses: what cannot work is not installed, and the message says what is wrong.
func TestChartRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		values string
		more   []string
		want   string
	}{
		"another namespace":          {"", []string{"--namespace", "storage"}, "install into the namespace kube-system"},
		"nothing to install":         {"{ccm: {enabled: false}, csi: {enabled: false}}", nil, "there is nothing to install"},
		"an unknown value":           {"ccm: {replica: 1}", nil, "replica"},
		"a value at the wrong place": {"controller: {replicas: 1}", nil, "controller"},
		"a registry with a scheme":   {"imageRegistry: 'https://registry.example.com'", nil, "imageRegistry"},
		"half a digest":              {"ccm: {image: {digest: 'sha256:abc'}}", nil, "digest"},
		"an unknown parameter":       {"csi: {storageClasses: {fast: {parameters: {disk: nvme}}}}", nil, "disk"},
		"a parameter's wrong value":  {"csi: {storageClasses: {fast: {parameters: {disk_type: ssd}}}}", nil, "disk_type"},
		"encryption without words":   {"csi: {storageClasses: {fast: {parameters: {encryption: luks2}}}}", nil, "csi.storageClasses.fast.parameters: encryption needs the Secret"},
		"half of a Secret's name": {
			"csi: {storageClasses: {fast: {parameters: {csi.storage.k8s.io/node-expand-secret-name: x}}}}", nil,
			"csi.storage.k8s.io/node-expand-secret-name and csi.storage.k8s.io/node-expand-secret-namespace need each other",
		},
		"two kinds that don't fit":   {"csi: {storageClasses: {slow: {parameters: {storage_type: vfs, disk_type: hdd}}}}", nil, "csi.storageClasses.slow.parameters: storage_type vfs is on disk_type nvme only"},
		"a parameter as a number":    {"csi: {storageClasses: {fast: {parameters: {mkfs_block_size: 4096}}}}", nil, "mkfs_block_size"},
		"an unknown annotation":      {"ccm: {cloudConfig: {loadBalancers: {defaults: {time-out: 5}}}}", nil, "time-out"},
		"an even number of machines": {"ccm: {cloudConfig: {loadBalancers: {defaults: {node-count: 2}}}}", nil, "node-count"},
		"a setting of one Service":   {"ccm: {cloudConfig: {loadBalancers: {defaults: {label: web}}}}", nil, "label"},
		"a controller for one class": {"ccm: {cloudConfig: {loadBalancers: {classOnly: true}}}", nil, "deploy/examples/ccm-class-only"},
		"one Secret made twice":      {"{ccm: {apiKey: {secretName: vultr, value: a}}, csi: {apiKey: {secretName: vultr, value: b}}}", nil, "give a value to one of them"},
		"Secrets of two answers":     {"ccm: {secretAccess: {namespaces: [shop]}}", nil, "has no effect while ccm.secretAccess.clusterWide is true"},
		"a repository with a tag":    {"ccm: {image: {repository: 'registry.example.com:5000/ccm:v1'}}", nil, "repository"},
		"a share above all":          {"ccm: {cloudConfig: {nodes: {deletionLimit: 7}}}", nil, "deletionLimit"},
		"an unknown address family":  {"ccm: {cloudConfig: {nodes: {addressFamilies: ipv5}}}", nil, "addressFamilies"},
		"a port that is none":        {"ccm: {cloudConfig: {loadBalancers: {kubeProxyPort: 0.5}}}", nil, "kubeProxyPort"},
		"a period without a unit":    {"ccm: {cloudConfig: {loadBalancers: {driftPeriod: 5}}}", nil, "driftPeriod"},
		"a key by a file":            {"ccm: {cloudConfig: {api: {keyFile: /key}}}", nil, "ccm.cloudConfig.api.keyFile has no effect"},
		"health elsewhere":           {"ccm: {cloudConfig: {health: {address: '127.0.0.1:1'}}}", nil, "ccm.cloudConfig.health.address has no effect"},
		"two URLs of the API":        {"{apiURL: 'http://192.0.2.1:8080', ccm: {cloudConfig: {api: {url: 'http://192.0.2.2:8080'}}}}", nil, "ccm.cloudConfig.api.url has no effect"},
		"a proxy with a password":    {"ccm: {cloudConfig: {api: {proxy: 'http://user:word@proxy.example.com'}}}", nil, "proxy"},
		"a VPC that is none":         {"ccm: {cloudConfig: {nodes: {vpc: nonsense}}}", nil, "vpc"},
		"a way out of the kubelet":   {"csi: {node: {kubeletRoot: /var/lib/kubelet/..}}", nil, "kubeletRoot"},
		"too little time to end":     {"csi: {node: {preStopTimeoutSeconds: 241}}", nil, "at least 60 more than preStopTimeoutSeconds"},
		"a hook's flag elsewhere":    {"csi: {node: {extraArgs: [--pre-stop-timeout=10m]}}", nil, "set preStopTimeoutSeconds"},
		"a listener without probes":  {"csi: {node: {extraArgs: ['--http-endpoint=127.0.0.1:29808']}}", nil, "set healthPort or metricsPort"},
		"one port for two":           {"{csi: {node: {healthPort: 9813}}, monitoring: {expose: true}}", nil, "healthPort and metricsPort are both 9813"},
		"a label that selects pods":  {"commonLabels: {app: shop}", nil, "app"},
		"nodes without a choice":     {"csi: {additionalNodes: {large: {maxVolumes: 16}}}", nil, "needs a nodeSelector or an affinity"},
		"nodes of two DaemonSets":    {"csi: {additionalNodes: {gpu: {nodeSelector: {pool: gpu}}}}", nil, "csi.additionalNodes.gpu: nothing keeps the first DaemonSet off its nodes"},
		"nodes of one selector":      {"csi: {node: {nodeSelector: {pool: a}}, additionalNodes: {b: {nodeSelector: {disk: ssd}}}}", nil, "csi.additionalNodes.b: nothing keeps the first DaemonSet off its nodes"},
		"more volumes than possible": {"csi: {node: {maxVolumes: 17}}", nil, "maxVolumes"},
		"a relative kubelet root":    {"csi: {node: {kubeletRoot: var/lib/kubelet}}", nil, "kubeletRoot"},
		"a kubelet root with an end": {"csi: {node: {kubeletRoot: /var/lib/kubelet/}}", nil, "kubeletRoot"},
		"an upper-case cluster ID":   {"csi: {clusterID: Prod}", nil, "clusterID"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refused(t, c.values, c.more...); !strings.Contains(got, c.want) {
				t.Errorf("the message does not name %q:\n%s", c.want, got)
			}
		})
	}
}

// TestChartOfTheLocalCluster: the values of the end-to-end tests say what their kustomizations do.
func TestChartOfTheLocalCluster(t *testing.T) {
	const overlay = "../test/e2e/overlay/"
	files := map[string]string{}
	for _, name := range []string{"chart.yaml", "csi/kustomization.yaml", "ccm/kustomization.yaml"} {
		content, err := os.ReadFile(overlay + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	args := map[string][]string{}
	for _, w := range workloads(rendered(t, files["chart.yaml"])) {
		args[w.template.Spec.Containers[0].Name] = w.template.Spec.Containers[0].Args
	}
	for _, c := range []struct{ file, container, flag, variable string }{
		{"ccm/kustomization.yaml", "vultr-ccm", "vultr-api-url", "API_URL"},
		{"csi/kustomization.yaml", "csi-controller", "api-url", "API_URL"},
		{"csi/kustomization.yaml", "csi-node", "device-dir", "DEVICE_DIR"},
		{"csi/kustomization.yaml", "csi-node", "sysfs-block-dir", "SYSFS_BLOCK_DIR"},
		{"csi/kustomization.yaml", "csi-node", "vfs-dir", "VFS_DIR"},
	} {
		match := regexp.MustCompile(`name: ` + c.variable + `, value: "?([^"}\s]+)`).FindStringSubmatch(files[c.file])
		if match == nil {
			t.Fatalf("%s does not set %s", c.file, c.variable)
		}
		last := "" // the one that counts
		for _, arg := range args[c.container] {
			if value, ok := strings.CutPrefix(arg, "--"+c.flag+"="); ok {
				last = value
			}
		}
		if last != match[1] {
			t.Errorf("%s: --%s is %q, %s says %q", c.container, c.flag, last, c.file, match[1])
		}
	}
}
