package config_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
)

const head = "apiVersion: vultr.com/v1alpha1\nkind: CloudConfig\n"

// whole uses every setting.
const whole = head + `api:
  keyFile: /etc/vultr/key
  url: https://api.example.com
  proxy: http://proxy.example.com:3128
  caFile: /etc/vultr-ca/ca.crt
  metadataURL: http://192.0.2.1
nodes:
  fastRecovery: false
  deletionLimit: 0.25
  zoneFromRegion: true
  vpc: 10.1.0.0/20
  addressFamilies: ipv6,ipv4
  labels: false
  instanceTag: cluster-one
  scopeTag: production
  scopeVPC: 11111111-66fd-4dfb-b839-443f2e6c0b60
  scopeRegion: fra
loadBalancers:
  region: ewr
  driftPeriod: 1h30m
  driftRepair: false
  classOnly: true
  labelInStatus: false
  kubeProxyPort: 10356
  defaults: # what Services do not state
    timeout: 300
    algorithm: "least_connections"
    proxy-protocol: true
health:
  address: 127.0.0.1:10261
`

func TestEverySetting(t *testing.T) {
	values, faults := config.Parse([]byte(whole))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	got := make([]string, 0, len(values))
	seen := map[string]bool{}
	lines := strings.Split(whole, "\n")
	for _, v := range values {
		got = append(got, v.Flag+"="+v.Text)
		seen[v.Path] = true
		_, text, _ := strings.Cut(v.Text, "=")
		if v.Type != config.Pairs {
			text = v.Text
		}
		if v.Line < 1 || v.Line > len(lines) || !strings.Contains(lines[v.Line-1], text) {
			t.Errorf("%s: %q is not in line %d", v.Path, text, v.Line)
		}
	}
	want := []string{
		"vultr-api-key-file=/etc/vultr/key", "vultr-api-url=https://api.example.com", "vultr-api-proxy=http://proxy.example.com:3128", "vultr-api-ca-file=/etc/vultr-ca/ca.crt", "vultr-metadata-url=http://192.0.2.1",
		"fast-node-recovery=false", "node-deletion-limit=0.25", "vultr-zone-from-region=true", "vultr-vpc=10.1.0.0/20", "vultr-address-families=ipv6,ipv4", "vultr-node-labels=false", "vultr-instance-tag=cluster-one",
		"vultr-node-scope-tag=production", "vultr-node-scope-vpc=11111111-66fd-4dfb-b839-443f2e6c0b60", "vultr-node-scope-region=fra",
		"vultr-region=ewr", "vultr-drift-period=1h30m", "vultr-drift-repair=false", "vultr-load-balancer-class-only=true", "vultr-label-in-status=false", "vultr-kube-proxy-health-port=10356",
		"vultr-load-balancer-default=timeout=300", "vultr-load-balancer-default=algorithm=least_connections", "vultr-load-balancer-default=proxy-protocol=true",
		"vultr-health-address=127.0.0.1:10261",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range config.Settings() {
		if !seen[s.Path] {
			t.Errorf("%s is not tested", s.Path)
		}
	}
}

// Every fault is told at once, each with its line, and what is right is read beside them.
func TestParseNamesEveryFault(t *testing.T) {
	const text = head + `api:
  key: SECRET
  URL: https://api.example.com
  keyFile: 1
nodes: true
region: ewr
loadBalancers:
  region:
  driftPeriod: soon
  labelInStatus: "true"
  defaults:
    timeout: [1]
    algorithm: roundrobin
    algorithm: leastconn
  region: fra
vultr-drift-period: 5m
balancers: {}
`
	values, faults := config.Parse([]byte(text))
	got := make([]string, 0, len(faults))
	for _, fault := range faults {
		got = append(got, fault.In("ccm.yaml"))
	}
	want := []string{
		`ccm.yaml, line 4: api.key is unknown`,
		`ccm.yaml, line 5: api.URL is unknown: did you mean api.url?`,
		`ccm.yaml, line 6: api.keyFile must be a text: put 1 into quotes`,
		`ccm.yaml, line 7: nodes must be a mapping of settings`,
		`ccm.yaml, line 8: region is unknown: did you mean loadBalancers.region?`,
		`ccm.yaml, line 10: loadBalancers.region has no value: give it one, or remove it`,
		`ccm.yaml, line 11: loadBalancers.driftPeriod must be a duration such as 5m or 1h30m, or 0`,
		`ccm.yaml, line 12: loadBalancers.labelInStatus must be true or false, without quotes`,
		`ccm.yaml, line 14: loadBalancers.defaults.timeout must be one value`,
		`ccm.yaml, line 16: loadBalancers.defaults.algorithm is given twice, the first time in line 15`,
		`ccm.yaml, line 17: loadBalancers.region is given twice, the first time in line 10`,
		`ccm.yaml, line 18: vultr-drift-period is unknown: did you mean loadBalancers.driftPeriod?`,
		`ccm.yaml, line 19: balancers is unknown`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(values) != 1 || values[0].Text != "algorithm=roundrobin" {
		t.Errorf("values %+v", values)
	}
	if strings.Contains(strings.Join(got, ""), "SECRET") {
		t.Error("a value that may be a key is shown")
	}
}

// Whatever is not a document of this version is refused as a whole, and says what it must begin with.
func TestOtherDocuments(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"empty":             {"", "the file is empty; it must begin with apiVersion: vultr.com/v1alpha1 and kind: CloudConfig"},
		"comments alone":    {"# nothing\n", "the file is empty"},
		"no YAML":           {head + "api: [\n", "the file is not YAML: line "},
		"a list":            {"- 1\n", "the file must be a mapping"},
		"a text":            {"hello\n", "the file must be a mapping"},
		"no version":        {"kind: CloudConfig\n", "apiVersion is missing: it must be vultr.com/v1alpha1"},
		"no kind":           {"apiVersion: vultr.com/v1alpha1\n", "kind is missing: it must be CloudConfig"},
		"another version":   {"apiVersion: vultr.com/v2\nkind: CloudConfig\nnew: 1\n", `line 1: apiVersion must be vultr.com/v1alpha1, not "vultr.com/v2"`},
		"another kind":      {"apiVersion: vultr.com/v1alpha1\nkind: ConfigMap\n", `line 2: kind must be CloudConfig, not "ConfigMap"`},
		"several documents": {whole + "---\n" + whole, "the file has more than one document"},
		"an INI file":       {"[Global]\nregion = ewr\n", "the file "},
	} {
		t.Run(name, func(t *testing.T) {
			values, faults := config.Parse([]byte(tt.text))
			if len(faults) != 1 || !strings.Contains(faults[0].In("f"), tt.want) || len(values) > 0 {
				t.Errorf("%v, %+v; want %q", values, faults, tt.want)
			}
		})
	}
}

// A section without settings says nothing, and neither does the header alone.
func TestNothingIsSaid(t *testing.T) {
	for _, text := range []string{head, head + "nodes:\n", head + "nodes: {}\nloadBalancers:\n  defaults:\n"} {
		if values, faults := config.Parse([]byte(text)); len(values)+len(faults) > 0 {
			t.Errorf("%q: %v, %v", text, values, faults)
		}
	}
}

func TestAliases(t *testing.T) {
	_, faults := config.Parse([]byte(head + "api:\n  url: &a https://api.example.com\n  metadataURL: *a\n"))
	if len(faults) != 1 || !strings.Contains(faults[0].In("f"), "line 5: api.metadataURL must be written out") {
		t.Errorf("%v", faults)
	}
}

// Whatever a file holds, each value belongs to a setting and stands in the file, and each fault says something.
func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(head)
	f.Add(head + "nodes: [1, {a: b}]\napi: *x\n? [k]\n: v\n")
	f.Add("apiVersion: &a vultr.com/v1alpha1\nkind: !!str CloudConfig\n<<: {api: {url: x}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		values, faults := config.Parse([]byte(text))
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + strings.Count(text, "\u0085") + strings.Count(text, "\u2028") + strings.Count(text, "\u2029") + 1
		known := config.Settings()
		for _, v := range values {
			if !slices.Contains(known, v.Setting) || v.Line < 1 || v.Line > lines {
				t.Errorf("%+v", v)
			}
		}
		for _, fault := range faults {
			if fault.Problem == "" || fault.Line < 0 || fault.Line > lines {
				t.Errorf("%+v", fault)
			}
		}
	})
}
