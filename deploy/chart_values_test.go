package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
)

// TestChartLabelsEverything: labels of all objects are on all of them and on their pods, and what selects pods stays as it is.
func TestChartLabelsEverything(t *testing.T) {
	objects := rendered(t, fullValues(t))
	owners := map[string]string{}
	for _, o := range objects {
		m := meta(t, o)
		owners[m.GetKind()+"/"+m.GetName()] = m.GetAnnotations()["example.com/owner"]
		if m.GetLabels()["team"] != "storage" || m.GetLabels()["app"] == "" {
			t.Errorf("%s %s has the labels %v", m.GetKind(), m.GetName(), m.GetLabels())
		}
	}
	parts := map[string]string{
		"Deployment/vultr-ccm": "ccm", "Deployment/csi-vultr-controller": "controller", "DaemonSet/csi-vultr-node": "node",
		"DaemonSet/csi-vultr-node-large": "node",
	}
	for _, w := range workloads(objects) {
		_, name, _ := strings.Cut(w.name, "/")
		same(t, w.name+"'s selector", map[string]string{"app": name}, w.selector)
		labels := standard(name)
		labels["team"], labels["part"] = "storage", parts[w.name]
		if role := w.template.Labels["role"]; role != "" {
			labels["role"] = role
		}
		same(t, w.name+"'s labels", labels, w.template.Labels)
		if got := w.template.Annotations["example.com/note"]; got != parts[w.name] {
			t.Errorf("%s: the annotation is %q", w.name, got)
		}
		if got := owners[w.name]; got != parts[w.name] {
			t.Errorf("%s has the owner %q", w.name, got)
		}
		delete(parts, w.name)
	}
	if len(parts) > 0 {
		t.Errorf("there are no %v", parts)
	}
}

// TestChartImages: by digest where there is one, else by tag, with the Secrets that pulling takes.
func TestChartImages(t *testing.T) {
	want := map[string]string{
		"vultr-ccm":      "mirror.example.com:5000/all/vultr/ccm@sha256:" + strings.Repeat("1", 64) + " Always",
		"csi-controller": "mirror.example.com:5000/all/vultr/csi-controller@sha256:" + strings.Repeat("2", 64) + " Always",
		"csi-node":       "mirror.example.com:5000/all/vultr/csi-node@sha256:" + strings.Repeat("3", 64) + " Always",
	}
	for _, name := range []string{"csi-provisioner", "csi-attacher", "csi-resizer", "csi-snapshotter"} {
		want[name] = "mirror.example.com:5000/all/sig-storage/sidecar:v9 IfNotPresent"
	}
	got := map[string]string{}
	for _, w := range workloads(rendered(t, fullValues(t))) {
		same(t, w.name, []corev1.LocalObjectReference{{Name: "registry"}}, w.template.Spec.ImagePullSecrets)
		for _, c := range w.template.Spec.Containers {
			got[c.Name] = c.Image + " " + string(c.ImagePullPolicy)
		}
	}
	same(t, "images", want, got)
}

// TestChartImageRegistry: a mirror takes the place of the registry that a repository names, and comes before one that names none.
func TestChartImageRegistry(t *testing.T) {
	got := map[string]string{}
	text := "{imageRegistry: 'localhost:5000', ccm: {image: {repository: localhost/ccm}}, csi: {node: {image: {repository: csi-node}}}}"
	for _, w := range workloads(rendered(t, text)) {
		for _, c := range w.template.Spec.Containers {
			got[c.Name], _, _ = strings.Cut(c.Image, ":v")
		}
	}
	same(t, "repositories", map[string]string{
		"vultr-ccm": "localhost:5000/ccm", "csi-node": "localhost:5000/csi-node", "csi-controller": "localhost:5000/cloud-provider-vultr/csi-controller",
		"csi-provisioner": "localhost:5000/sig-storage/csi-provisioner", "csi-attacher": "localhost:5000/sig-storage/csi-attacher",
		"csi-resizer": "localhost:5000/sig-storage/csi-resizer",
	}, got)
}

// TestChartSchedules: each part runs where its values say, with the priority and the resources that they say.
func TestChartSchedules(t *testing.T) {
	type place struct {
		Priority    string
		Selector    map[string]string
		Tolerations int
		Affinity    string
		Spread      int
		CPU         string
	}
	want := map[string]place{
		"Deployment/vultr-ccm":            {"ccm-priority", map[string]string{"kubernetes.io/os": "linux", "node-role.kubernetes.io/control-plane": ""}, 1, "pods", 1, "50m"},
		"Deployment/csi-vultr-controller": {"controller-priority", map[string]string{"kubernetes.io/os": "linux", "pool": "system"}, 0, "nodes", 0, "50m"},
		"DaemonSet/csi-vultr-node":        {"node-priority", map[string]string{"kubernetes.io/os": "linux", "storage": "true"}, 1, "size NotIn", 0, "50m"},
		"DaemonSet/csi-vultr-node-large":  {"node-priority", map[string]string{"kubernetes.io/os": "linux", "storage": "true"}, 1, "size In", 0, "50m"},
	}
	got := map[string]place{}
	for _, w := range workloads(rendered(t, fullValues(t))) {
		spec := w.template.Spec
		p := place{
			Priority: spec.PriorityClassName, Selector: spec.NodeSelector, Tolerations: len(spec.Tolerations),
			Spread: len(spec.TopologySpreadConstraints), CPU: spec.Containers[0].Resources.Requests.Cpu().String(),
		}
		switch {
		case spec.Affinity.PodAntiAffinity != nil:
			p.Affinity = "pods"
		case spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil:
			rule := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchExpressions[0]
			p.Affinity = rule.Key + " " + string(rule.Operator)
		default:
			p.Affinity = "nodes"
		}
		got[w.name] = p
	}
	same(t, "places", want, got)
}

// TestChartArguments: each value that is an argument is one, of the right container, and what the chart says nothing of comes last.
func TestChartArguments(t *testing.T) {
	added := map[string][]string{
		"vultr-ccm": {
			"--bind-address=0.0.0.0", "--v=4", "--vultr-api-url=http://192.0.2.1:8080", "--cloud-config=/etc/vultr-config/ccm.yaml", "--profiling=true",
		},
		"csi-controller": {"--v=5", "--api-url=http://192.0.2.1:8080", "--cluster-id=prod-1", "--region=ams", "--tracing", "--api-max-rate=10"},
		"csi-node": {
			"--http-endpoint=127.0.0.1:29808", "--v=5", "--metrics-endpoint=:29813", "--metrics-token-file=/etc/vultr-metrics/token", "--max-volumes-per-node=8",
			"--tracing", "--report-official-region",
		},
		"csi-provisioner": {"--v=5", "--kube-api-qps=5"},
		"csi-attacher":    {"--v=5", "--kube-api-qps=5"},
		"csi-resizer":     {"--v=5", "--kube-api-qps=5"},
	}
	before := map[string][]string{}
	for _, w := range workloads(both(t)) {
		for _, c := range w.template.Spec.Containers {
			before[c.Name] = c.Args
		}
	}
	for _, w := range workloads(rendered(t, fullValues(t))) {
		if w.name == "DaemonSet/csi-vultr-node-large" {
			continue
		}
		for _, c := range w.template.Spec.Containers {
			if c.Name == "csi-snapshotter" {
				continue // compared with the manifests' in the tools' tests
			}
			more := slices.DeleteFunc(slices.Clone(c.Args), func(arg string) bool { return slices.Contains(before[c.Name], arg) })
			same(t, c.Name, added[c.Name], more)
		}
	}
}

// TestChartEnvironment: variables and volumes of one's own, and where traces go.
func TestChartEnvironment(t *testing.T) {
	objects := rendered(t, fullValues(t))
	ccm := named[*appsv1.Deployment](t, objects, "vultr-ccm").Spec.Template.Spec
	controller := named[*appsv1.Deployment](t, objects, "csi-vultr-controller").Spec.Template.Spec
	node := named[*appsv1.DaemonSet](t, objects, "csi-vultr-node").Spec.Template.Spec
	traces := corev1.EnvVar{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Value: "http://collector.monitoring:4317"}
	fips := corev1.EnvVar{Name: "GODEBUG", Value: "fips140=on"}
	same(t, "of the CCM", []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy.example.com:3128"}}, container(t, &ccm, "vultr-ccm").Env)
	same(t, "of the controller", []corev1.EnvVar{fieldOf("NODE_NAME", "spec.nodeName"), traces, fips}, container(t, &controller, "csi-controller").Env)
	same(t, "of the node", []corev1.EnvVar{
		fieldOf("NODE_NAME", "spec.nodeName"), traces, fips,
		{Name: "KUBELET_ROOT", Value: "/var/lib/k0s/kubelet"},
		{Name: "DEVICE_DIR", Value: "/dev"},
		{Name: "SYSFS_BLOCK_DIR", Value: "/sys/class/block"},
	}, container(t, &node, "csi-node").Env)
	for _, c := range []struct {
		spec            *corev1.PodSpec
		container, name string
	}{{&ccm, "vultr-ccm", "authorities"}, {&controller, "csi-controller", "authorities"}, {&node, "csi-node", "more"}} {
		volume(t, c.spec, c.name)
		if !slices.ContainsFunc(container(t, c.spec, c.container).VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == c.name }) {
			t.Errorf("%s does not mount %s", c.container, c.name)
		}
	}
}

// TestChartKeys: the Secrets that the pods mount, and those that the chart creates of a value.
func TestChartKeys(t *testing.T) {
	objects := rendered(t, fullValues(t))
	for app, want := range map[string]*corev1.Secret{
		"vultr-ccm":            {ObjectMeta: metav1.ObjectMeta{Name: "ccm-key"}, StringData: map[string]string{"token": "not-a-key"}},
		"csi-vultr-controller": {ObjectMeta: metav1.ObjectMeta{Name: "csi-key"}, StringData: map[string]string{"token": "not-a-key-either"}},
	} {
		spec := named[*appsv1.Deployment](t, objects, app).Spec.Template.Spec
		source := volume(t, &spec, "api-key").Secret
		same(t, app, []corev1.KeyToPath{{Key: "token", Path: "api-key"}}, source.Items)
		if source.SecretName != want.Name {
			t.Errorf("%s mounts the Secret %s", app, source.SecretName)
		}
		got := named[*corev1.Secret](t, objects, want.Name)
		same(t, want.Name, want.StringData, got.StringData)
		if got.Namespace != "kube-system" {
			t.Errorf("the Secret %s is in namespace %s", got.Name, got.Namespace)
		}
		// Whoever manages it by hand from now on leaves the value out: Helm would delete the Secret that the pods mount.
		if policy := got.Annotations["helm.sh/resource-policy"]; policy != "keep" {
			t.Errorf("the Secret %s has the policy %q", got.Name, policy)
		}
	}
	// A Secret that exists is only named.
	for _, o := range rendered(t, "{ccm: {apiKey: {secretName: theirs}}, csi: {apiKey: {secretName: theirs}}}") {
		if secret, ok := o.Object.(*corev1.Secret); ok {
			t.Errorf("the chart creates the Secret %s without being told its content", secret.Name)
		}
	}
}

// TestChartSecretAccess: rights to Secrets and ConfigMaps are in the namespaces that are named, and nowhere else.
func TestChartSecretAccess(t *testing.T) {
	where := map[string]bool{}
	for _, o := range rendered(t, fullValues(t)) {
		switch role := o.Object.(type) {
		case *rbacv1.ClusterRole:
			for _, rule := range role.Rules {
				if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "configmaps") {
					t.Errorf("%s may read %v everywhere", role.Name, rule.Resources)
				}
			}
		case *rbacv1.Role:
			if role.Name == "vultr-ccm-references" {
				where[role.Namespace] = true
				same(t, role.Namespace, []rbacv1.PolicyRule{{
					APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get", "list", "watch"},
				}}, role.Rules)
			}
		}
	}
	same(t, "namespaces", map[string]bool{"shop": true, "blog": true}, where)
}

// TestChartCloudConfig: the file is one that the program starts with, and another content is another pod.
func TestChartCloudConfig(t *testing.T) {
	objects := rendered(t, fullValues(t))
	file := t.TempDir() + "/ccm.yaml"
	if err := os.WriteFile(file, []byte(named[*corev1.ConfigMap](t, objects, "vultr-ccm-config").Data["ccm.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	options, flags := cloud.NewOptions(), pflag.NewFlagSet("ccm", pflag.ContinueOnError)
	options.AddFlags(flags)
	if err := options.Load(file, flags); err != nil {
		t.Fatal(err)
	}
	if err := options.Validate(); err != nil {
		t.Error(err)
	}
	if options.Region != "ewr" || options.NodeDeletionLimit != 0.3 || !options.ZoneFromRegion || len(options.LoadBalancerDefaults) != 4 {
		t.Errorf("the file says %+v", options)
	}
	sum := func(objects []object) string {
		return named[*appsv1.Deployment](t, objects, "vultr-ccm").Spec.Template.Annotations["checksum/cloud-config"]
	}
	other := rendered(t, "ccm: {cloudConfig: {loadBalancers: {region: ams}}}")
	if a, b := sum(objects), sum(other); a == "" || b == "" || a == b {
		t.Errorf("the pods have the annotations %q and %q", a, b)
	}
	spec := named[*appsv1.Deployment](t, other, "vultr-ccm").Spec.Template.Spec
	if volume(t, &spec, "config").ConfigMap.Name != "vultr-ccm-config" || flagValue(t, container(t, &spec, "vultr-ccm"), "cloud-config") != "/etc/vultr-config/ccm.yaml" {
		t.Error("the file is not where the argument says")
	}
}

// TestChartDriftPeriod: 0, which switches the comparison off, is taken with quotes and without, as in the file.
func TestChartDriftPeriod(t *testing.T) {
	t.Setenv("API_URL", "")
	for text, want := range map[string]time.Duration{"0": 0, `"0"`: 0, "1h30m": 90 * time.Minute} {
		file := filepath.Join(t.TempDir(), "ccm.yaml")
		content := named[*corev1.ConfigMap](t, rendered(t, "ccm: {cloudConfig: {loadBalancers: {driftPeriod: "+text+"}}}"), "vultr-ccm-config").Data["ccm.yaml"]
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		options, flags := cloud.NewOptions(), pflag.NewFlagSet("ccm", pflag.ContinueOnError)
		options.AddFlags(flags)
		if err := options.Load(file, flags); err != nil || options.DriftPeriod != want {
			t.Errorf("driftPeriod: %s: %s, %v", text, options.DriftPeriod, err)
		}
	}
}

// TestChartNull: null removes an entry of a map, also one that is not the chart's but that of another file of values.
func TestChartNull(t *testing.T) {
	objects := rendered(t, `csi: {
		storageClasses: {vultr-nvme: null, theirs: null, plain: {}}, additionalNodes: {gpu: null},
		snapshots: {enabled: true, classes: {vultr-block-storage: null, theirs: null, plain: {}}}}`)
	found := map[string]bool{}
	for _, o := range objects {
		m := meta(t, o)
		found[m.GetKind()+"/"+m.GetName()] = true
	}
	for name, want := range map[string]bool{
		"StorageClass/vultr-nvme": false, "StorageClass/theirs": false, "StorageClass/plain": true, "StorageClass/vultr-hdd": true,
		"VolumeSnapshotClass/vultr-block-storage": false, "VolumeSnapshotClass/theirs": false, "VolumeSnapshotClass/plain": true,
		"DaemonSet/csi-vultr-node": true, "DaemonSet/csi-vultr-node-gpu": false,
	} {
		if found[name] != want {
			t.Errorf("%s is there: %v", name, found[name])
		}
	}
}

// TestChartClasses: a class of one's own, one that is the default, and two that are left out.
func TestChartClasses(t *testing.T) {
	objects := rendered(t, fullValues(t))
	classes := map[string]*storagev1.StorageClass{}
	for _, o := range objects {
		if class, ok := o.Object.(*storagev1.StorageClass); ok {
			classes[class.Name] = class
		}
	}
	if classes["vultr-hdd"] != nil || classes["vultr-hdd-retain"] != nil || len(classes) != 11 {
		t.Errorf("there are %v", slices.Sorted(maps.Keys(classes)))
	}
	if class := classes["vultr-nvme"]; class == nil || class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" || class.Parameters["disk_type"] != "nvme" {
		t.Errorf("vultr-nvme is %+v", class)
	}
	retain, immediate := corev1.PersistentVolumeReclaimRetain, storagev1.VolumeBindingImmediate
	labels := standard("csi-vultr")
	labels["team"], labels["tier"] = "storage", "database"
	same(t, "database", &storagev1.StorageClass{
		TypeMeta: metav1.TypeMeta{APIVersion: "storage.k8s.io/v1", Kind: "StorageClass"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "database", Labels: labels,
			Annotations: map[string]string{"example.com/note": "database"},
		},
		Provisioner: "block.csi.vultr.com",
		Parameters: map[string]string{
			"disk_type": "nvme", "csi.storage.k8s.io/fstype": "xfs", "encryption": "luks2", "mkfs_block_size": "4096",
			"csi.storage.k8s.io/node-stage-secret-name": "vultr-encryption", "csi.storage.k8s.io/node-stage-secret-namespace": "kube-system",
		},
		ReclaimPolicy: &retain, VolumeBindingMode: &immediate, AllowVolumeExpansion: new(false), MountOptions: []string{"noatime"},
		AllowedTopologies: []corev1.TopologySelectorTerm{{MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{
			Key: "topology.block.csi.vultr.com/region", Values: []string{"ams"},
		}}}},
	}, classes["database"])
	// What a new class says nothing of.
	plainClass := named[*storagev1.StorageClass](t, rendered(t, "csi: {storageClasses: {plain: {}}}"), "plain")
	if *plainClass.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer || !*plainClass.AllowVolumeExpansion || *plainClass.ReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		t.Errorf("plain is %+v", plainClass)
	}
	policies := map[string]any{}
	for _, o := range objects {
		if m := meta(t, o); m.GetKind() == "VolumeSnapshotClass" {
			policies[m.GetName()] = m.Object["deletionPolicy"]
			if def := m.GetAnnotations()["snapshot.storage.kubernetes.io/is-default-class"]; (def == "true") != (m.GetName() == "vultr-block-storage") {
				t.Errorf("%s: the default class is it: %q", m.GetName(), def)
			}
		}
	}
	same(t, "snapshot classes", map[string]any{"vultr-block-storage": "Delete", "nightly": "Retain"}, policies)
}

// TestChartNetworkPolicy is that of the documentation, and follows its values.
func TestChartNetworkPolicy(t *testing.T) {
	documented := documentedNetworkPolicy(t)
	got := named[*networkingv1.NetworkPolicy](t, rendered(t, "csi: {controller: {networkPolicy: {enabled: true}}}"), "csi-vultr-controller")
	same(t, "the policy", documented.Spec, got.Spec)

	got = named[*networkingv1.NetworkPolicy](t, rendered(t, fullValues(t)), "csi-vultr-controller")
	same(t, "who may ask", []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: selecting(map[string]string{"kubernetes.io/metadata.name": "monitoring"}),
	}}, got.Spec.Ingress[0].From)
	same(t, "where it may connect to", []int32{53, 53, 443, 8080, 4317}, egress(got))
}

// egress are the ports that a policy lets pods connect to.
func egress(policy *networkingv1.NetworkPolicy) (all []int32) {
	for _, p := range policy.Spec.Egress[0].Ports {
		all = append(all, p.Port.IntVal)
	}
	return all
}

// TestChartNetworkPolicyOfTheAPI: wherever values say that the API is, or a proxy before it, the driver gets there.
func TestChartNetworkPolicyOfTheAPI(t *testing.T) {
	usual := []int32{53, 53, 80, 443, 6443}
	for text, more := range map[string][]int32{
		`apiURL: https://api.example.com`:                                             nil,
		`apiURL: "http://api.example.com/"`:                                           nil,
		`apiURL: https://api.example.com:8443/vultr`:                                  {8443},
		`apiURL: "http://[fd00::1]:8080"`:                                             {8080},
		`apiURL: "http://[fd00::1]"`:                                                  nil,
		`csi.extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]`: {3128},
		`csi.extraEnv: [{name: https_proxy, value: "proxy.example.com:3128/"}]`:       {3128},
		`csi.extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com"}]`:      nil,
		`csi.extraEnv: [{name: API_URL, value: "http://192.0.2.1:8080"}, {name: OTHER, value: "http://192.0.2.1:1"}, {name: HTTPS_PROXY, value: "http://192.0.2.1:8080"}]`: {8080},
	} {
		values := "csi: {controller: {networkPolicy: {enabled: true}"
		if env, is := strings.CutPrefix(text, "csi.extraEnv: "); is {
			values += ", extraEnv: " + env + "}}"
		} else {
			values += "}}\n" + text
		}
		policy := named[*networkingv1.NetworkPolicy](t, rendered(t, values), "csi-vultr-controller")
		same(t, text, slices.Concat(usual, more), egress(policy))
	}
	// Ports of one's own do not shut the API's out.
	policy := named[*networkingv1.NetworkPolicy](t, rendered(t, "{apiURL: 'https://api.example.com', csi: {controller: {networkPolicy: {enabled: true, egressPorts: [6443]}}}}"), "csi-vultr-controller")
	same(t, "ports of one's own", []int32{53, 53, 6443, 443}, egress(policy))
}

// TestDocumentedValues: the file of values in the documentation is taken, and does what stands before it.
func TestDocumentedValues(t *testing.T) {
	page, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)```\n(ccm:\n[^`]*)```").FindSubmatch(page)
	if text == nil {
		t.Fatal("docs/install.md has no values")
	}
	objects := rendered(t, string(text[1]))
	for _, w := range workloads(objects) {
		if image := w.template.Spec.Containers[0].Image; !strings.HasPrefix(image, "registry.example.com/vultr/") {
			t.Errorf("%s runs %s", w.name, image)
		}
	}
	if class := named[*storagev1.StorageClass](t, objects, "vultr-nvme"); class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
		t.Error("the class is not the default one")
	}
	if file := named[*corev1.ConfigMap](t, objects, "vultr-ccm-config").Data["ccm.yaml"]; !strings.Contains(file, "region: ewr\n") {
		t.Errorf("the file says\n%s", file)
	}
}

// TestChartNames: names that look like numbers or switches are names. Those of kinds that are not Kubernetes' own are not read here, so
// every value of an object is looked at.
func TestChartNames(t *testing.T) {
	const text = `{ccm: {apiKey: {secretName: "1234", secretKey: "1", value: x}, secretAccess: {clusterWide: false, namespaces: ["12"]}, priorityClassName: "5"},
		csi: {
			apiKey: {secretName: "1e3", secretKey: "0x1", value: x}, clusterID: "7", region: "8", storageClasses: {"9": {}}, snapshots: {enabled: true, classes: {"10": {}}},
			controller: {priorityClassName: "5"}, node: {priorityClassName: "on"}},
		monitoring: {
			expose: true, nodeTokenSecretName: "77", prometheus: {namespace: "123", serviceAccountName: "456"}, monitors: {enabled: true, labels: {"a": "1"}},
			rules: {enabled: true, labels: {"a": "on"}}, dashboards: {enabled: true}},
		test: {storageClassName: "11"}}`
	stdout, stderr, err := template(t, text)
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	objects := decodeText(t, "the chart", []byte(stdout))
	for name, key := range map[string]string{"1234": "1", "1e3": "0x1"} {
		same(t, "the Secret", map[string]string{key: "x"}, named[*corev1.Secret](t, objects, name).StringData)
	}
	for _, o := range objects {
		u, ok := o.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		if _, _, err := unstructured.NestedString(u.Object, "metadata", "name"); err != nil {
			t.Errorf("%s: %v", u.GetKind(), err)
		}
		endpoints, _, _ := unstructured.NestedSlice(u.Object, "spec", "podMetricsEndpoints")
		for _, endpoint := range endpoints {
			if _, _, err := unstructured.NestedString(endpoint.(map[string]any), "authorization", "credentials", "name"); err != nil {
				t.Errorf("%s: %v", u.GetName(), err)
			}
		}
	}
}

// TestChartTracing: a part that names a collector of its own does not get another one beside it, and the policy lets the traces out.
func TestChartTracing(t *testing.T) {
	objects := rendered(t, `csi: {tracing: {enabled: true, endpoint: "http://collector.monitoring:4317"}, controller: {networkPolicy: {enabled: true}},
		node: {extraEnv: [{name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://192.0.2.1:4317"}]}}`)
	for workload, want := range map[string]string{"Deployment/csi-vultr-controller": "http://collector.monitoring:4317", "DaemonSet/csi-vultr-node": "http://192.0.2.1:4317"} {
		var got []string
		for _, w := range workloads(objects) {
			for _, e := range w.template.Spec.Containers[0].Env {
				if w.name == workload && e.Name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
					got = append(got, e.Value)
				}
			}
		}
		same(t, workload, []string{want}, got)
	}
	ports := named[*networkingv1.NetworkPolicy](t, objects, "csi-vultr-controller").Spec.Egress[0].Ports
	if !slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntValue() == 4317 }) {
		t.Errorf("the ports are %v", ports)
	}
}
