package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
)

const (
	configurationPage = "ccm-configuration.md"
	exampleConfig     = "../deploy/components/ccm-config/ccm.yaml"
)

// TestConfigurationReferenceIsGenerated compares the page with the flags and their places in the file. After a change of them:
// go test ./docs -run Configuration -update.
func TestConfigurationReferenceIsGenerated(t *testing.T) {
	want := configurationReference(t)
	if *update {
		if err := os.WriteFile(configurationPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := pages(t)[configurationPage]; got != want {
		t.Errorf("%s differs from the flags in pkg/cloud and the table in pkg/cloud/config; run: go test ./docs -run Configuration -update", configurationPage)
	}
}

// The example is one that the program starts with.
func TestExampleConfiguration(t *testing.T) {
	options, flags := ccmFlags(t)
	if err := options.Load(exampleConfig, flags); err != nil {
		t.Error(err)
	}
	if err := options.Validate(); err != nil {
		t.Error(err)
	}
	if options.Region != "ewr" || len(options.LoadBalancerDefaults) != 2 {
		t.Errorf("%+v", options)
	}
}

func ccmFlags(t *testing.T) (*cloud.Options, *pflag.FlagSet) {
	t.Helper()
	t.Setenv("API_URL", "") // it sets a default
	options, flags := cloud.NewOptions(), pflag.NewFlagSet("ccm", pflag.ContinueOnError)
	options.AddFlags(flags)
	return options, flags
}

const configurationHead = `<!-- Generated from pkg/cloud and pkg/cloud/config by: go test ./docs -run Configuration -update -->
# Configuration of the cloud controller manager

Every setting is a flag, and has a place in the file that ` + "`--cloud-config`" + ` names, a YAML document of a stated version:

` + "```" + `
%s` + "```" + `

Flags win over the file, and the file over environment variables. Of ` + "`loadBalancers.defaults`" + ` each name is looked at for
itself. The file is read at the start, and strictly: an unknown setting, a value of the wrong kind, a setting that is given
twice or a document of another version ends the program, which names all faults at once, each with its line. It holds
no secret; the API key has a file of its own.

[deploy/components/ccm-config](../deploy/components/ccm-config/kustomization.yaml) is a [component](install.md#components) that mounts
such a file from a ConfigMap, and restarts the pods when it changes. The manifests set ` + "`api.keyFile` and `health.address`" + ` by flags, as
the mount of the Secret and the probes have to fit them: in a file these two have no effect.

| in the file | flag | value | default | what it does |
|---|---|---|---|---|
`

const configurationFoot = `
Beside these there are the flags of every cloud controller manager: ` + "`ccm --help`" + ` lists them, and [Kubernetes'
documentation](https://kubernetes.io/docs/reference/command-line-tools-reference/cloud-controller-manager/) explains them.
`

func configurationReference(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile(exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	_, flags := ccmFlags(t)
	words := map[config.Type]string{
		config.Text: "text", config.Switch: "`true`, `false`", config.Number: "number", config.Duration: "duration, such as `5m`", config.Pairs: "names with values",
	}
	var b strings.Builder
	fmt.Fprintf(&b, configurationHead, example)
	for _, s := range config.Settings() {
		flag := flags.Lookup(s.Flag)
		if flag == nil {
			t.Fatalf("%s: unknown flag --%s", s.Path, s.Flag)
		}
		shown := "none"
		if flag.DefValue != "" && flag.DefValue != "[]" {
			shown = "`" + flag.DefValue + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s | %s |\n", s.Path, s.Flag, words[s.Type], shown, flag.Usage)
	}
	b.WriteString(configurationFoot)
	return b.String()
}
