package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// custom finds an object of an API that is not Kubernetes' own.
func custom(t *testing.T, objects []object, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if u, ok := o.Object.(*unstructured.Unstructured); ok && u.GetKind() == kind && u.GetName() == name {
			return u
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// TestChartMonitors: one for each kind of pods, with the labels and the interval of the values, at ports that the pods have.
func TestChartMonitors(t *testing.T) {
	objects := rendered(t, fullValues(t))
	ports := map[string][]string{}
	for _, w := range workloads(objects) {
		app := w.selector["app"]
		for _, c := range w.template.Spec.Containers {
			for _, p := range c.Ports {
				ports[app] = append(ports[app], p.Name)
			}
		}
	}
	for _, c := range []struct{ kind, name, endpoints string }{
		{"ServiceMonitor", "vultr-ccm", "endpoints"},
		{"PodMonitor", "csi-vultr-controller", "podMetricsEndpoints"},
		{"PodMonitor", "csi-vultr-node", "podMetricsEndpoints"},
		{"PodMonitor", "csi-vultr-node-large", "podMetricsEndpoints"},
	} {
		monitor := custom(t, objects, c.kind, c.name)
		if monitor.GetLabels()["release"] != "prometheus" {
			t.Errorf("%s has the labels %v", c.name, monitor.GetLabels())
		}
		selector, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
		same(t, c.name+"'s selector", map[string]string{"app": c.name}, selector)
		endpoints, _, _ := unstructured.NestedSlice(monitor.Object, "spec", c.endpoints)
		var asked []string
		for _, e := range endpoints {
			fields := e.(map[string]any)
			asked = append(asked, fields["port"].(string))
			if fields["interval"] != "30s" {
				t.Errorf("%s: the interval is %v", c.name, fields["interval"])
			}
			// Or the namespace of a Service and of a claim would be that of the pods.
			if keeps, _ := fields["honorLabels"].(bool); keeps != (c.name == "vultr-ccm" || fields["port"] == "driver") {
				t.Errorf("%s, %s: it keeps the labels: %t", c.name, fields["port"], keeps)
			}
		}
		for _, port := range asked {
			if !slices.Contains(ports[c.name], port) {
				t.Errorf("%s asks at port %s, which the pods do not have", c.name, port)
			}
		}
		if c.name == "csi-vultr-controller" {
			same(t, "the controller's ports", ports[c.name], asked)
		}
	}
	node := custom(t, objects, "PodMonitor", "csi-vultr-node")
	endpoints, _, _ := unstructured.NestedSlice(node.Object, "spec", "podMetricsEndpoints")
	secret, _, _ := unstructured.NestedString(endpoints[0].(map[string]any), "authorization", "credentials", "name")
	spec := named[*appsv1.DaemonSet](t, objects, "csi-vultr-node").Spec.Template.Spec
	if mounted := volume(t, &spec, "metrics").Secret.SecretName; secret != "metrics-token" || mounted != secret {
		t.Errorf("the token is asked from the Secret %s and given by %s", secret, mounted)
	}
	binding := named[*rbacv1.ClusterRoleBinding](t, objects, "vultr-metrics-reader")
	same(t, "who may ask", []rbacv1.Subject{{Kind: "ServiceAccount", Name: "prometheus", Namespace: "observability"}}, binding.Subjects)
}

// TestMonitoringIsNoConditionForVolumes: a node plugin starts without the Secret for its metrics.
func TestMonitoringIsNoConditionForVolumes(t *testing.T) {
	spec := named[*appsv1.DaemonSet](t, rendered(t, "monitoring: {expose: true}"), "csi-vultr-node").Spec.Template.Spec
	if source := volume(t, &spec, "metrics").Secret; source.Optional == nil || !*source.Optional {
		t.Errorf("the pod waits for the Secret %s", source.SecretName)
	}
}

// TestChartMonitoringByParts: what nobody opens is not asked for, and what is not installed neither.
func TestChartMonitoringByParts(t *testing.T) {
	for text, want := range map[string][]string{
		"monitoring: {monitors: {enabled: true}}":                                                                                                  {"PodMonitor/csi-vultr-controller"},
		"monitoring: {expose: true}":                                                                                                               nil,
		"{ccm: {enabled: false}, monitoring: {expose: true, monitors: {enabled: true}}}":                                                           {"PodMonitor/csi-vultr-controller", "PodMonitor/csi-vultr-node"},
		"{csi: {enabled: false}, monitoring: {expose: true, monitors: {enabled: true}}}":                                                           {"ServiceMonitor/vultr-ccm"},
		"monitoring: {rules: {enabled: true}, dashboards: {enabled: true}, expose: false}":                                                         {"PrometheusRule/vultr"},
		"{csi: {snapshots: {enabled: true, classes: {a: {}, vultr-block-storage: {create: false}, vultr-block-storage-retain: {create: false}}}}}": {"VolumeSnapshotClass/a"},
	} {
		var got []string
		for _, o := range rendered(t, text) {
			if u, ok := o.Object.(*unstructured.Unstructured); ok {
				got = append(got, u.GetKind()+"/"+u.GetName())
			}
		}
		slices.Sort(got)
		same(t, text, want, got)
	}
}

// TestChartAlertsAndDashboards: they are those of the example, and whoever selects by labels finds them.
func TestChartAlertsAndDashboards(t *testing.T) {
	objects := rendered(t, fullValues(t))
	rule := custom(t, objects, "PrometheusRule", "vultr")
	if rule.GetLabels()["release"] != "prometheus" {
		t.Errorf("the alerts have the labels %v", rule.GetLabels())
	}
	example := custom(t, decode(t, monitoringDir+"/rules.yaml"), "PrometheusRule", "vultr")
	same(t, "alerts", example.Object["spec"], rule.Object["spec"])

	boards := named[*corev1.ConfigMap](t, objects, "vultr-dashboard")
	if boards.Labels["grafana_dashboard"] != "yes" || boards.Annotations["grafana_folder"] != "Vultr" {
		t.Errorf("the dashboards have %v and %v", boards.Labels, boards.Annotations)
	}
	files, err := os.ReadDir(chartDir + "/files/dashboards")
	if err != nil {
		t.Fatal(err)
	}
	if len(boards.Data) != len(files) {
		t.Errorf("there are %d dashboards of %d files", len(boards.Data), len(files))
	}
	for name, content := range boards.Data {
		if !json.Valid([]byte(content)) || !strings.HasSuffix(name, ".json") {
			t.Errorf("%s is no dashboard", name)
		}
	}
}

// TestChartAlertsOfWhatIsThere: nobody is told that no cloud controller manager works where none is asked for its metrics.
func TestChartAlertsOfWhatIsThere(t *testing.T) {
	for values, want := range map[string][]string{
		"monitoring: {rules: {enabled: true, labels: {role: alert-rules, app: prometheus}}, expose: true}": {"vultr-api", "vultr-ccm", "vultr-csi"},
		"monitoring: {rules: {enabled: true}, monitors: {enabled: true}}":                                  {"vultr-api", "vultr-csi"},
		"{ccm: {enabled: false}, monitoring: {rules: {enabled: true}, expose: true}}":                      {"vultr-api", "vultr-csi"},
		"{csi: {enabled: false}, monitoring: {rules: {enabled: true}, expose: true}}":                      {"vultr-api", "vultr-ccm"},
	} {
		rule := custom(t, rendered(t, values), "PrometheusRule", "vultr")
		groups, _, err := unstructured.NestedSlice(rule.Object, "spec", "groups")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, group := range groups {
			fields, ok := group.(map[string]any)
			if !ok {
				t.Fatalf("%v is no group of alerts", group)
			}
			name, _, err := unstructured.NestedString(fields, "name")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, name)
		}
		same(t, values, want, got)
		if labels := rule.GetLabels(); strings.Contains(values, "role") && (labels["role"] != "alert-rules" || labels["app"] != "prometheus") {
			t.Errorf("%s: the labels are %v", values, labels)
		}
	}
}

// TestDocumentedHelmCommands: the pages use commands and flags that helm has.
func TestDocumentedHelmCommands(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^helm ((?:install|upgrade|test|uninstall|get) [^#|\n]*)`)
	found := 0
	for _, page := range append(pages, "../README.md", chartDir+"/README.md") {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range command.FindAllStringSubmatch(string(content), -1) {
			found++
			// Flags are read before help is given.
			if _, stderr, err := helm(t, append(strings.Fields(match[1]), "--help")...); err != nil {
				t.Errorf("%s: helm %s: %v: %s", page, match[1], err, stderr)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d commands were found", found)
	}
}

// TestChartReadmeNamesWhereItIs: in a registry the file is all that people see, so it says how to install from there.
func TestChartReadmeNamesWhereItIs(t *testing.T) {
	read := func(file string) string {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	registry := regexp.MustCompile(`REGISTRY=(\S+)/\$\{GITHUB_REPOSITORY,,\}"`).FindStringSubmatch(read("../.github/workflows/release.yml"))
	repository := regexp.MustCompile(`(?m)^home: https://github\.com/(\S+)$`).FindStringSubmatch(read(chartDir + "/Chart.yaml"))
	if registry == nil || repository == nil {
		t.Fatal("nothing says where releases are pushed to")
	}
	if want := "helm install vultr oci://" + registry[1] + "/" + repository[1] + "/charts/vultr "; !strings.Contains(read(chartDir+"/README.md"), want) {
		t.Errorf("it does not say %q", want)
	}
}

// TestChartTest: the pod of helm test can be placed only where both products have done their work, and has a volume of its own.
func TestChartTest(t *testing.T) {
	pod := func(text string) *corev1.Pod {
		t.Helper()
		stdout, stderr, err := template(t, text, "--show-only", "templates/tests/installed.yaml")
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		return named[*corev1.Pod](t, decodeText(t, "the test", []byte(stdout)), "vultr-test")
	}
	needs := func(p *corev1.Pod) (labels []string) {
		for _, rule := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions {
			if rule.Operator == corev1.NodeSelectorOpExists {
				labels = append(labels, rule.Key)
			}
		}
		return labels
	}
	const byCCM, byCSI = "topology.kubernetes.io/region", "topology.block.csi.vultr.com/region"
	whole := pod("test: {size: 20Gi}")
	same(t, "what the node has", []string{byCCM, byCSI}, needs(whole))
	if whole.Annotations["helm.sh/hook"] != "test" || len(whole.Spec.Tolerations) > 0 || whole.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("it is no test: %v, %v", whole.Annotations, whole.Spec)
	}
	claim := volume(t, &whole.Spec, "data").Ephemeral.VolumeClaimTemplate.Spec
	if *claim.StorageClassName != "vultr-nvme" || claim.Resources.Requests.Storage().String() != "20Gi" {
		t.Errorf("its volume is %+v", claim)
	}
	if image := named[*appsv1.DaemonSet](t, load(t, csiDir), "csi-vultr-node").Spec.Template.Spec.Containers[0].Image; whole.Spec.Containers[0].Image != image {
		t.Errorf("its image is %s", whole.Spec.Containers[0].Image)
	}
	same(t, "what the node of the CSI driver alone has", []string{byCSI}, needs(pod("ccm: {enabled: false}")))
	ccm := pod("csi: {enabled: false}")
	same(t, "what the node of the CCM alone has", []string{byCCM}, needs(ccm))
	same(t, "what runs", []string{"--version"}, ccm.Spec.Containers[0].Args)
	if len(ccm.Spec.Volumes) > 0 {
		t.Error("without a CSI driver it wants a volume")
	}
	for _, p := range []*corev1.Pod{whole, ccm} {
		same(t, "its rights", restricted(), p.Spec.Containers[0].SecurityContext)
		if !*p.Spec.SecurityContext.RunAsNonRoot || *p.Spec.AutomountServiceAccountToken {
			t.Error("it has more rights than it needs")
		}
	}
}

// TestChartSaysWhatIsMissing: after the installation helm shows which Secrets have to be there, unless the chart has created them.
func TestChartSaysWhatIsMissing(t *testing.T) {
	notes := func(text string) string {
		t.Helper()
		args := slices.Concat([]string{"install", "vultr", chartDir, "--namespace", "kube-system", "--dry-run=client"}, values(t, text))
		stdout, stderr, err := helm(t, args...)
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		_, shown, _ := strings.Cut(stdout, "\nNOTES:\n")
		return shown
	}
	plain := notes("")
	for _, want := range []string{"create secret generic vultr-ccm --from-file=api-key=", "create secret generic vultr-csi --from-file=api-key=", "helm test vultr --namespace kube-system"} {
		if !strings.Contains(plain, want) {
			t.Errorf("nothing says %q in\n%s", want, plain)
		}
	}
	if told := notes("{ccm: {apiKey: {value: a}}, csi: {apiKey: {value: b}}, monitoring: {expose: true}}"); strings.Contains(told, "=./api-key") || !strings.Contains(told, "create secret generic csi-vultr-metrics") {
		t.Errorf("it says\n%s", told)
	}
}
