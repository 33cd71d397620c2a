package cloud_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

const configHead = "apiVersion: vultr.com/v1alpha1\nkind: CloudConfig\n"

// loaded returns the options of a command line and a file, and what is wrong with the file.
func loaded(t *testing.T, text string, args ...string) (o *cloud.Options, file string, err error) {
	t.Helper()
	t.Setenv("API_URL", "https://environment.example.com")
	file = filepath.Join(t.TempDir(), "ccm.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o = cloud.NewOptions()
	flags := pflag.NewFlagSet("ccm", pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o, file, o.Load(file, flags)
}

// The file wins over the environment and the defaults, and the command line over the file, of defaults for Services each by
// its name.
func TestFlagsWinOverTheFile(t *testing.T) {
	const text = configHead + `api:
  url: https://file.example.com
  keyFile: /file/key
nodes:
  fastRecovery: false
  deletionLimit: 0.25
loadBalancers:
  region: ewr
  driftPeriod: 10m
  defaults:
    timeout: 300
    algorithm: leastconn
`
	o, _, err := loaded(t, text, "--vultr-region=fra", "--fast-node-recovery", "--vultr-load-balancer-default="+settings.Prefix+"timeout=60")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	if o.APIURL != "https://file.example.com" || o.KeyFile != "/file/key" || o.NodeDeletionLimit != 0.25 || o.DriftPeriod != 10*time.Minute || !o.LabelInStatus {
		t.Errorf("%+v, want what the file says", o)
	}
	if o.Region != "fra" || !o.FastNodeRecovery {
		t.Errorf("%+v, want what the command line says", o)
	}
	defaults, err := o.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	r := settings.NewReader(nil).WithDefaults(defaults)
	if r.Int(settings.Timeout) != 60 || r.Text(settings.Algorithm) != "least_connections" {
		t.Errorf("timeout %d, algorithm %s", r.Int(settings.Timeout), r.Text(settings.Algorithm))
	}
}

// What cannot be read and what makes no sense is told at once: what comes from the file with its line, what comes from the
// command line with its flag.
func TestFaultsSayWhereTheyStand(t *testing.T) {
	const text = configHead + `api:
  url: nowhere
nodes:
  deletionLimit: 1.5
  zone: true
loadBalancers:
  kubeProxyPort: 0
  defaults:
    timeout: 0
    colour: blue
    http2: true
    service.beta.kubernetes.io/vultr-loadbalancer-http2: true
`
	o, file, err := loaded(t, text, "--vultr-metadata-url=ftp://x", "--vultr-load-balancer-default=node-count=2")
	var got []string
	for _, err := range []error{err, o.Validate()} {
		if err == nil {
			t.Fatal("there are faults of both kinds")
		}
		got = append(got, strings.Split(strings.ReplaceAll(err.Error(), file, "FILE"), "\n")...)
	}
	for _, want := range []string{
		"FILE, line 7: nodes.zone is unknown",
		`FILE, line 4: api.url: "nowhere" is not an address`,
		"FILE, line 6: nodes.deletionLimit: 1.5 is not a share",
		"FILE, line 9: loadBalancers.kubeProxyPort: 0 is not a port",
		"FILE, line 11: loadBalancers.defaults: default: annotation " + string(settings.Timeout) + `: "0" must be a number`,
		"FILE, line 12: loadBalancers.defaults: default: annotation " + settings.Prefix + "colour is unknown",
		`FILE, line 14: loadBalancers.defaults: "service.beta.kubernetes.io/vultr-loadbalancer-http2=true" is not name=value, or its name is given twice`,
		`--vultr-metadata-url: "ftp://x" is not an address`,
		`--vultr-load-balancer-default: default: annotation ` + string(settings.NodeCount) + `: "2" must be an odd number`,
	} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("lacks %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if len(got) != 9 {
		t.Errorf("%d faults:\n%s", len(got), strings.Join(got, "\n"))
	}
}

// A fault of a value that the command line overrules is told with the flag alone: the file's value is not used.
func TestOverruledValueIsNotJudged(t *testing.T) {
	o, _, err := loaded(t, configHead+"api:\n  url: nowhere\n", "--vultr-api-url=https://flag.example.com")
	if err != nil || o.Validate() != nil || o.APIURL != "https://flag.example.com" {
		t.Errorf("%v, %v, %s", err, o.Validate(), o.APIURL)
	}
}

func TestMissingConfigFile(t *testing.T) {
	err := cloud.NewOptions().Load("/nonexistent/ccm.yaml", pflag.NewFlagSet("ccm", pflag.ContinueOnError))
	if err == nil || !strings.Contains(err.Error(), "--cloud-config: open /nonexistent/ccm.yaml") {
		t.Errorf("%v", err)
	}
}

// Every flag of this provider has a place in the file, of the same type, and the other way round.
func TestFileHasAllFlags(t *testing.T) {
	flags := pflag.NewFlagSet("ccm", pflag.ContinueOnError)
	cloud.NewOptions().AddFlags(flags)
	types := map[string]config.Type{"string": config.Text, "bool": config.Switch, "float64": config.Number, "int": config.Number, "duration": config.Duration, "stringArray": config.Pairs}
	places := map[string]config.Setting{}
	for _, s := range config.Settings() {
		if _, twice := places[s.Flag]; twice {
			t.Errorf("--%s has two places", s.Flag)
		}
		places[s.Flag] = s
		if flags.Lookup(s.Flag) == nil {
			t.Errorf("%s: unknown flag --%s", s.Path, s.Flag)
		}
	}
	flags.VisitAll(func(flag *pflag.Flag) {
		if s, there := places[flag.Name]; !there || s.Type != types[flag.Value.Type()] {
			t.Errorf("--%s (%s) has the place %+v", flag.Name, flag.Value.Type(), s)
		}
	})
}
