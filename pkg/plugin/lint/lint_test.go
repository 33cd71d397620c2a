package lint_test

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/lint"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/manifest"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/report"
)

const prefix = settings.Prefix

// found returns what is found in a file, as "severity line key".
func found(t *testing.T, text string, c lint.Context) []report.Finding {
	t.Helper()
	objects, err := manifest.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return lint.Files(objects, c)
}

func short(findings []report.Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %d %s", f.Severity, f.Line, strings.TrimPrefix(f.Key, prefix))))
	}
	return strings.Join(all, "; ")
}

// service is a Service of which each line is a line of the file: annotations begin in line 6, spec's further fields follow.
func service(annotations, spec string) string {
	text := "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n"
	for line := range strings.Lines(annotations) {
		text += "    " + line
	}
	text += "\nspec:\n  type: LoadBalancer\n"
	if spec == "" {
		spec = "ports: [{port: 80}, {port: 443}]"
	}
	for line := range strings.Lines(spec) {
		text += "  " + line
	}
	return text + "\n"
}

// configMap and secret are further documents of a file.
func configMap(data string) string {
	return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: office, namespace: default}\ndata:\n  \"" + strings.Replace(data, ": ", "\": \"", 1) + "\"\n"
}

func secret(data string) string {
	return "---\napiVersion: v1\nkind: Secret\nmetadata: {name: domain}\n" + data + "\n"
}

func TestServices(t *testing.T) {
	tests := map[string]struct {
		text string
		want string
		says string // in the problem or the remedy of the first
	}{
		"nothing wrong":           {service(prefix+`timeout: "300"`, ""), "", ""},
		"a value":                 {service(prefix+`timeout: "never"`, ""), "error 6 timeout", "must be a number from 1 to"},
		"all at once":             {service(prefix+"timeout: \"never\"\n"+prefix+"node-count: \"2\"", ""), "error 6 timeout; error 7 node-count", ""},
		"a slip":                  {service(prefix+`time-out: "300"`, ""), "warning 6 time-out", "did you mean " + prefix + "timeout"},
		"a slip that opens":       {service(prefix+`firewal-rules: "10.0.0.0/8,80"`, ""), "error 6 firewal-rules; warning 6 firewal-rules", "no load balancer was created"},
		"lenient":                 {service(prefix+`http2: "maybe"`, ""), "warning 6 http2", "is read as false"},
		"no certificate":          {service(prefix+`https-ports: "443"`, ""), "error 9", "there is no certificate"},
		"source range":            {service(prefix+`timeout: "300"`, "ports: [{port: 80}]\nloadBalancerSourceRanges: [everybody]"), "error 10", "address and prefix length"},
		"SCTP":                    {service(prefix+`timeout: "300"`, "ports: [{port: 80, protocol: SCTP}]"), "error 9", "only TCP and UDP"},
		"no node ports":           {service(prefix+`timeout: "300"`, "ports: [{port: 80}]\nallocateLoadBalancerNodePorts: false"), "error 9", "allocateLoadBalancerNodePorts"},
		"a number":                {service(prefix+`timeout: 300`, ""), "error 1", "have to be quoted"},
		"on is a boolean":         {service(prefix+`sticky-session-enabled: on`, ""), "error 1", "have to be quoted"},
		"an unknown field":        {service(prefix+`timeout: "300"`, "ports: [{port: 80}]\nloadBalancerSourceRange: [10.0.0.0/8]"), "error 1", "loadBalancerSourceRange"},
		"not a load balancer":     {strings.Replace(service(prefix+`timeout: "300"`, ""), "LoadBalancer", "ClusterIP", 1), "warning 6 timeout", "not of type LoadBalancer"},
		"another class":           {service(prefix+`timeout: "300"`, "ports: [{port: 80}]\nloadBalancerClass: example.com/x"), "warning 6 timeout", "example.com/x"},
		"not managed":             {service(prefix+"create: \"false\"\n"+prefix+"timeout: \"never\"", ""), "", ""},
		"for a Namespace":         {service(prefix+`allow-adoption: "x"`, ""), "warning 6 allow-adoption", "on the Namespace"},
		"health check, policy":    {service(prefix+`healthcheck-path: "/x"`, "ports: [{port: 80}]\nexternalTrafficPolicy: Local"), "warning 6 healthcheck-path", "has no effect with externalTrafficPolicy Local"},
		"a port of the Service's": {service(prefix+`healthcheck-port: "443"`, ""), "", ""},
		"rules of elsewhere":      {service(prefix+`firewall-rules-cm: "office"`, ""), "", ""},
		"rules":                   {service(prefix+`firewall-rules-cm: "office"`, "") + configMap("firewallRules: 10.0.0.0/8,80"), "", ""},
		"rules that open nothing": {service(prefix+`firewall-rules-cm: "office"`, "") + configMap("firewallRules: everybody"), "error 6 firewall-rules-cm", `"everybody" is not`},
		"rules by another key":    {service(prefix+`firewall-rules-cm: "office"`, "") + configMap("rules: 10.0.0.0/8,80"), "error 6 firewall-rules-cm", "it has no key firewallRules"},
		"a domain of elsewhere":   {service(prefix+"https-ports: \"443\"\n"+prefix+"auto-ssl: \"domain\"", ""), "", ""},
		"a domain":                {service(prefix+"https-ports: \"443\"\n"+prefix+"auto-ssl: \"domain\"", "") + secret("stringData: {domainZone: example.com}"), "", ""},
		"no domain":               {service(prefix+"https-ports: \"443\"\n"+prefix+"auto-ssl: \"domain\"", "") + secret("data: {domainZone: RXhhbXBsZS5jb20=}"), "error 7 auto-ssl", `"Example.com" must be a host name`},
		"another kind":            {"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n  annotations: {" + prefix + "timeout: x}\n", "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			findings := found(t, test.text, lint.Context{})
			if got := short(findings); got != test.want {
				t.Fatalf("got %q, want %q\n%+v", got, test.want, findings)
			}
			if test.says != "" && !strings.Contains(findings[0].Problem+findings[0].Remedy, test.says) {
				t.Errorf("%+v does not say %q", findings[0], test.says)
			}
			for _, f := range findings {
				if f.File != "f.yaml" || f.Problem == "" || f.Remedy == "" {
					t.Errorf("incomplete: %+v", f)
				}
			}
		})
	}
}

// TestDefaultsAreTheClusters shows that a cluster's default counts, as it does for the controller.
func TestDefaultsAreTheClusters(t *testing.T) {
	text := service(prefix+`healthcheck-interval: "x"`, "")
	if len(found(t, text, lint.Context{})) == 0 {
		t.Fatal("a misspelled annotation is not found")
	}
	defaults, err := settings.ParseDefaults(map[string]string{"protocol": "https"})
	if err != nil {
		t.Fatal(err)
	}
	text = service(prefix+`timeout: "300"`, "")
	if got := short(found(t, text, lint.Context{Defaults: defaults})); !strings.HasPrefix(got, "error") {
		t.Errorf("https without a certificate by default: got %q", got)
	}
}

func class(parameters string, more string) string {
	text := "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata:\n  name: fast\nprovisioner: block.csi.vultr.com\nparameters:\n"
	for line := range strings.Lines(parameters) {
		text += "  " + line
	}
	if more == "" {
		more = "allowVolumeExpansion: true"
	}
	return text + "\n" + more + "\n"
}

func TestStorageClasses(t *testing.T) {
	tests := map[string]struct{ text, want, says string }{
		"nothing wrong":         {class("disk_type: nvme", ""), "", ""},
		"an unknown parameter":  {class("disc_type: nvme", ""), "error 7 disc_type", `did you mean "disk_type"`},
		"a value":               {class("storage_type: block\ndisk_type: floppy", ""), "error 8 disk_type", "valid are nvme, hdd"},
		"two faults":            {class("disk_type: floppy\nread_ahead_kb: \"-1\"", ""), "error 7 disk_type; error 8 read_ahead_kb", ""},
		"deprecated":            {class("block_type: high_perf", ""), "warning 7 block_type", `"disk_type": "nvme"`},
		"the provisioner's":     {class("csi.storage.k8s.io/fstype: xfs\ncsi.storage.k8s.io/provisioner-secret-name: x", ""), "", ""},
		"not the provisioner's": {class("csi.storage.k8s.io/fs-type: xfs", ""), "error 7 csi.storage.k8s.io/fs-type", "reserved"},
		"no growth":             {class("disk_type: nvme", "reclaimPolicy: Delete"), "warning 1 allowVolumeExpansion", ""},
		"no passphrase":         {class("encryption: luks2", ""), "error 7 encryption; warning 7 encryption", "no Secret"},
		"passphrase":            {class("encryption: luks2\ncsi.storage.k8s.io/node-stage-secret-name: a\ncsi.storage.k8s.io/node-expand-secret-name: a", ""), "", ""},
		"the official region": {
			class("disk_type: nvme", "allowVolumeExpansion: true\nvolumeBindingMode: WaitForFirstConsumer\nallowedTopologies:\n- matchLabelExpressions:\n  - key: region\n    values: [EWR]"),
			"warning 10 allowedTopologies", "--report-official-region",
		},
		"another driver's": {strings.Replace(class("anything: goes", ""), "block.csi.vultr.com", "example.com", 1), "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			findings := found(t, test.text, lint.Context{})
			if got := short(findings); got != test.want {
				t.Fatalf("got %q, want %q\n%+v", got, test.want, findings)
			}
			if test.says != "" && !strings.Contains(findings[0].Problem+findings[0].Remedy, test.says) {
				t.Errorf("%+v does not say %q", findings[0], test.says)
			}
		})
	}
}

func claim(spec string) string {
	text := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: data\nspec:\n"
	for line := range strings.Lines(spec) {
		text += "  " + line
	}
	return text + "\n"
}

const size = "resources: {requests: {storage: 10Gi}}\n"

func TestClaims(t *testing.T) {
	fast, faulty := class("disk_type: nvme", ""), class("disk_type: floppy", "")
	shared := strings.Replace(class("storage_type: vfs", ""), "name: fast", "name: shared", 1)
	standard := strings.Replace(fast, "name: fast", "name: standard\n  annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}", 1)
	tests := map[string]struct{ class, claim, want, says string }{
		"nothing wrong":           {fast, claim(size + "accessModes: [ReadWriteOnce]\nstorageClassName: fast"), "", ""},
		"several nodes":           {fast, claim(size + "accessModes: [ReadWriteMany]\nstorageClassName: fast"), "error 7", "such as vultr-vfs"},
		"several nodes, shared":   {shared, claim(size + "accessModes: [ReadWriteMany]\nstorageClassName: shared"), "", ""},
		"a shared block device":   {shared, claim(size + "accessModes: [ReadWriteMany]\nvolumeMode: Block\nstorageClassName: shared"), "error 7", "volumeMode: Block"},
		"a writer and readers":    {shared, claim(size + "accessModes: [ReadWriteOnce, ReadOnlyMany]\nstorageClassName: shared"), "error 7", "Kubernetes' attacher refuses"},
		"writers and readers":     {shared, claim(size + "accessModes: [ReadWriteOnce, ReadOnlyMany, ReadWriteMany]\nstorageClassName: shared"), "", ""},
		"too large":               {fast, claim("resources: {requests: {storage: 11Ti}}\naccessModes: [ReadWriteOnce]\nstorageClassName: fast"), "error 6", "10000 GiB"},
		"by the default class":    {standard, claim(size + "accessModes: [ReadWriteMany]"), "error 7", "such as vultr-vfs"},
		"the class is not known":  {fast, claim(size + "accessModes: [ReadWriteMany]\nstorageClassName: other"), "", ""},
		"the class is faulty":     {faulty, claim(size + "accessModes: [ReadWriteOnce]\nstorageClassName: fast"), "error 8", "its StorageClass fast is faulty"},
		"of a volume that exists": {fast, claim(size + "accessModes: [ReadWriteMany]\nstorageClassName: fast\nvolumeName: pv"), "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects, err := manifest.Parse("c.yaml", []byte(test.claim))
			if err != nil {
				t.Fatal(err)
			}
			classes, err := manifest.Parse("a.yaml", []byte(test.class))
			if err != nil {
				t.Fatal(err)
			}
			var claims []report.Finding
			for _, f := range lint.Files(append(objects, classes...), lint.Context{}) {
				if f.File == "c.yaml" {
					claims = append(claims, f)
				}
			}
			if got := short(claims); got != test.want {
				t.Fatalf("got %q, want %q\n%+v", got, test.want, claims)
			}
			if test.says != "" && !strings.Contains(claims[0].Problem, test.says) {
				t.Errorf("%+v does not say %q", claims[0], test.says)
			}
		})
	}
}

func TestVolumes(t *testing.T) {
	pv := func(handle, more string) string {
		return "apiVersion: v1\nkind: PersistentVolume\nmetadata:\n  name: pv\nspec:\n  csi:\n    driver: block.csi.vultr.com\n    volumeHandle: " + handle + "\n" + more
	}
	const id = "0a000000-0000-4000-8000-000000000001"
	tests := map[string]struct{ text, want string }{
		"nothing wrong":   {pv(id, ""), ""},
		"a label":         {pv("pvc-1", ""), "error 8 volumeHandle"},
		"a way to format": {pv(id, "    volumeAttributes: {mkfs_block_size: \"3\"}\n"), "error 9 volumeAttributes"},
		"another driver":  {strings.Replace(pv("x", ""), "block.csi.vultr.com", "example.com", 1), ""},
	}
	for name, test := range tests {
		if got := short(found(t, test.text, lint.Context{})); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestNamespaces(t *testing.T) {
	text := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  annotations:\n    " + prefix + "hand-over: \"0a000000-0000-4000-8000-000000000001, web\"\n    " + prefix + "timeout: \"300\"\n"
	findings := found(t, text, lint.Context{})
	if got := short(findings); got != "error 6 hand-over; warning 7 timeout" || !strings.Contains(findings[0].Problem, `"web"`) {
		t.Errorf("got %q: %+v", got, findings)
	}
}

// TestOfCluster judges objects that come from a cluster: they have their real node ports, and no lines.
func TestOfCluster(t *testing.T) {
	service := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{prefix + "timeout": "x"}},
		Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, NodePort: 31080}, {Port: 81}}},
	}
	findings := lint.Service(lint.InCluster("Service", "shop", "web"), service, lint.Context{})
	if got := short(findings); got != "error 0 timeout; error 0" && got != "error 0; error 0 timeout" {
		t.Errorf("got %q", got)
	}
	for _, f := range findings {
		if f.Place() != "Service shop/web" {
			t.Errorf("place %q", f.Place())
		}
	}
	class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Provisioner: "block.csi.vultr.com", Parameters: map[string]string{"a": "b"}}
	if got := lint.StorageClass(lint.InCluster("StorageClass", "", "x"), class); len(got) != 2 || got[0].Place() != "StorageClass x" {
		t.Errorf("got %+v", got)
	}
}
