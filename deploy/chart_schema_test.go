package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/attachlimit"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
)

// schema is the part of JSON Schema that values.schema.json uses.
type schema struct {
	Ref               string             `json:"$ref"`
	Type              any                `json:"type"`
	Enum              []any              `json:"enum"`
	Pattern           string             `json:"pattern"`
	Minimum           *float64           `json:"minimum"`
	Maximum           *float64           `json:"maximum"`
	MultipleOf        float64            `json:"multipleOf"`
	Not               *schema            `json:"not"`
	Items             *schema            `json:"items"`
	Properties        map[string]*schema `json:"properties"`
	PatternProperties map[string]*schema `json:"patternProperties"`
	// Others is false, or what properties of other names are.
	Others json.RawMessage `json:"additionalProperties"`

	Definitions map[string]*schema `json:"definitions"`
}

// others is what properties have to be whose names are not listed; nil if there may be none.
func (s *schema) others(t *testing.T) *schema {
	t.Helper()
	if len(s.Others) == 0 || string(s.Others) == "false" {
		return nil
	}
	var other schema
	if err := json.Unmarshal(s.Others, &other); err != nil {
		t.Fatal(err)
	}
	return &other
}

func chartSchema(t *testing.T) *schema {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(content, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// definition follows a reference; it returns the name of what is referred to, too.
func (s *schema) definition(t *testing.T, of *schema) (resolved *schema, name string) {
	t.Helper()
	if of.Ref == "" {
		return of, ""
	}
	name = path.Base(of.Ref)
	if s.Definitions[name] == nil {
		t.Fatalf("the schema has no %s", of.Ref)
	}
	return s.Definitions[name], name
}

// enumerated are the values of an enumeration of texts.
func enumerated(values []any) []string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// TestSchemaKnowsTheParameters: a StorageClass of the chart can have the parameters of the driver's table, with the values that
// are there, and no others.
func TestSchemaKnowsTheParameters(t *testing.T) {
	parameters := chartSchema(t).Definitions["parameters"]
	if string(parameters.Others) != "false" {
		t.Error("unknown parameters are taken")
	}
	seen := map[string]bool{}
	for _, p := range params.Table {
		got := parameters.Properties[p.Key]
		if p.AnyCase {
			for pattern, other := range parameters.PatternProperties {
				if re := regexp.MustCompile(pattern); re.MatchString(p.Key) && re.MatchString(strings.ToUpper(p.Key)) && !re.MatchString(p.Key+"x") {
					got = other
				}
			}
		}
		if got == nil {
			t.Errorf("the schema lacks %s", p.Key)
			continue
		}
		seen[p.Key] = true
		if p.Range != (params.Range{}) {
			if got.Type != "string" || got.Pattern != "^[0-9]+$" {
				t.Errorf("%s: %v %q is not a number in quotes", p.Key, got.Type, got.Pattern)
			}
			continue
		}
		var want []string
		for _, v := range p.Values {
			if v.NotYet == "" {
				want = append(want, v.Text)
			}
		}
		same(t, p.Key, want, enumerated(got.Enum))
	}
	for key := range parameters.Properties {
		if !seen[key] {
			t.Errorf("the schema has %s, which is no parameter", key)
		}
	}
	if secrets := len(parameters.PatternProperties) - 1; secrets != 1 {
		t.Errorf("there are %d further patterns, want the one of Secrets", secrets)
	}
}

// TestSchemaKnowsTheCloudConfig: every setting of the file has its place and its type.
func TestSchemaKnowsTheCloudConfig(t *testing.T) {
	words := map[config.Type]string{config.Text: "string", config.Switch: "boolean", config.Number: "number", config.Duration: "[string integer]", config.Pairs: "object"}
	want := map[string]string{}
	for _, s := range config.Settings() {
		want[s.Path] = words[s.Type]
	}
	got := map[string]string{}
	var walk func(at *schema, below string)
	walk = func(at *schema, below string) {
		for name, s := range at.Properties {
			place := strings.TrimPrefix(below+"."+name, ".")
			if s.Type == "object" && want[place] == "" {
				walk(s, place)
				continue
			}
			got[place] = fmt.Sprint(s.Type)
		}
	}
	walk(chartSchema(t).Definitions["cloudConfig"], "")
	same(t, "settings", want, got)
}

// TestSchemaTakesWhatTheProgramStartsWith: a setting that would end the program at its start is refused, and no other.
func TestSchemaTakesWhatTheProgramStartsWith(t *testing.T) {
	t.Setenv("API_URL", "")
	const id = "11111111-66fd-4dfb-b839-443f2e6c0b60"
	urls := []string{"", "https://api.example.com", "http://192.0.2.1:8080", "https://api.example.com/vultr", "api.example.com", "ftp://api.example.com", "https://"}
	for path, values := range map[string][]string{
		"nodes.vpc":       {"", id, strings.ToUpper(id), "10.1.0.0/20", "fd00:1::/64", "10.1.0.0", "nonsense", id + "0"},
		"nodes.scopeVPC":  {"", id, "10.1.0.0/20", "nonsense"},
		"api.url":         urls,
		"api.metadataURL": urls,
		"api.proxy": {
			"", "http://proxy.example.com:3128", "https://proxy.example.com/", "socks5://192.0.2.1:1080", "ftp://proxy.example.com", "proxy.example.com:3128",
			"http://user:word@proxy.example.com:3128",
		},
	} {
		section, name, _ := strings.Cut(path, ".")
		pattern := regexp.MustCompile(chartSchema(t).Definitions["cloudConfig"].Properties[section].Properties[name].Pattern)
		for _, value := range values {
			file := filepath.Join(t.TempDir(), "ccm.yaml")
			text := fmt.Sprintf("apiVersion: %s\nkind: %s\n%s: {%s: %q}\n", config.APIVersion, config.Kind, section, name, value)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			options, flags := cloud.NewOptions(), pflag.NewFlagSet("ccm", pflag.ContinueOnError)
			options.AddFlags(flags)
			err := options.Load(file, flags)
			if err == nil {
				err = options.Validate()
			}
			if taken := pattern.MatchString(value); taken != (err == nil) {
				t.Errorf("%s %q: the schema takes it: %v, the program says %v", path, value, taken, err)
			}
		}
	}
}

// TestSchemaKnowsTheAnnotations: the cluster's defaults can be those of the table of annotations that can have one, with the
// values that are there.
func TestSchemaKnowsTheAnnotations(t *testing.T) {
	defaults := chartSchema(t).Definitions["cloudConfig"].Properties["loadBalancers"].Properties["defaults"]
	if string(defaults.Others) != "false" {
		t.Error("unknown annotations are taken")
	}
	var names []string
	for _, s := range settings.All() {
		if s.Support != settings.Supported || s.NoClusterDefault {
			continue
		}
		names = append(names, s.Name())
		got := defaults.Properties[s.Name()]
		if got == nil {
			continue // told below
		}
		switch {
		case s.Key == settings.HealthCheckPort:
			same(t, s.Name(), []any{float64(settings.KubeProxyPort)}, got.Enum)
		case s.Kind == settings.Switch:
			same(t, s.Name(), any("boolean"), got.Type)
		case s.Kind == settings.VPCReference:
			same(t, s.Name(), any([]any{"string", "boolean"}), got.Type)
		case s.Kind == settings.Choice:
			same(t, s.Name(), s.Values, enumerated(got.Enum))
		case s.Kind == settings.Number:
			same(t, s.Name(), any("integer"), got.Type)
			if got.Minimum == nil || got.Maximum == nil || *got.Minimum != float64(s.Lowest) || *got.Maximum != float64(s.Highest) {
				t.Errorf("%s is not from %d to %d", s.Name(), s.Lowest, s.Highest)
			}
			if odd := got.Not != nil && got.Not.MultipleOf == 2; odd != s.Odd {
				t.Errorf("%s: must be odd: %v, want %v", s.Name(), odd, s.Odd)
			}
		default:
			same(t, s.Name(), any("string"), got.Type)
		}
	}
	same(t, "names", slices.Sorted(slices.Values(names)), slices.Sorted(maps.Keys(defaults.Properties)))
}

// TestSchemaKnowsTheDriversLimits: what the driver would refuse at its start is refused before it is installed.
func TestSchemaKnowsTheDriversLimits(t *testing.T) {
	s := chartSchema(t)
	if most := s.Definitions["node"].Properties["maxVolumes"].Maximum; most == nil || *most != float64(attachlimit.Most) {
		t.Errorf("maxVolumes is not %d at most", attachlimit.Most)
	}
	pattern := regexp.MustCompile(s.Properties["csi"].Properties["clusterID"].Pattern)
	for _, id := range []string{"", "a", "prod-1", "-a", "a-", "A", "a.b", strings.Repeat("a", 63), strings.Repeat("a", 64)} {
		if taken, valid := pattern.MatchString(id), ownership.Cluster(id).Validate() == nil; taken != valid {
			t.Errorf("cluster ID %q: the schema takes it: %v, the driver: %v", id, taken, valid)
		}
	}
}

// open are the definitions whose properties are set by users alone.
var open = []string{"cloudConfig", "resources", "storageClass", "snapshotClass", "labels", "texts"}

// ofHelm are values that Helm itself acts on where the chart is a part of another one.
var ofHelm = []string{"global", "enabled", "tags"}

// TestSchemaIsThatOfTheValues: each value has its place in the schema and each place a default, a name that is misspelled is
// refused, and the tests set every value.
func TestSchemaIsThatOfTheValues(t *testing.T) {
	root := chartSchema(t)
	for _, file := range []string{filepath.Join(chartDir, "values.yaml"), full} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := yaml.Unmarshal(content, &all); err != nil {
			t.Fatal(err)
		}
		root.compare(t, file, "", all, root)
	}
}

// compare walks through values and schema side by side.
func (s *schema) compare(t *testing.T, file, at string, values map[string]any, of *schema) {
	t.Helper()
	of, name := s.definition(t, of)
	if slices.Contains(open, name) || len(of.Properties) == 0 && len(of.Others) == 0 {
		return
	}
	if len(of.Properties) > 0 && string(of.Others) != "false" {
		t.Errorf("%s: unknown values are taken at %q", file, at)
	}
	others := of.others(t)
	for key, value := range values {
		place := strings.TrimPrefix(at+"."+key, ".")
		below := of.Properties[key]
		if below == nil {
			below = others
		}
		if below == nil {
			t.Errorf("%s: the schema has no %s", file, place)
			continue
		}
		if fields, ok := value.(map[string]any); ok {
			s.compare(t, file, place, fields, below)
		}
	}
	if strings.HasPrefix(at, "csi.additionalNodes.") {
		return // what it does not say is said by csi.node
	}
	for key := range of.Properties {
		if _, set := values[key]; !set && (at != "" || !slices.Contains(ofHelm, key)) {
			t.Errorf("%s: %q has no %s", file, at, key)
		}
	}
}
