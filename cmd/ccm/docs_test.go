package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testdocs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud"
)

var update = flag.Bool("update", false, "write docs/flags-ccm.md instead of comparing it")

// TestFlagReferenceIsGenerated compares the page with the flags, of which the library has most.
func TestFlagReferenceIsGenerated(t *testing.T) {
	const name = "go test ./cmd/ccm -run FlagReference"
	t.Setenv("API_URL", "") // it sets a default
	command, _, err := newCommand(t.Context().Done())
	if err != nil {
		t.Fatal(err)
	}
	own := pflag.NewFlagSet("own", pflag.ContinueOnError)
	cloud.NewOptions().AddFlags(own)
	isOwn := func(want bool) func(*pflag.Flag) (string, bool) {
		return func(f *pflag.Flag) (string, bool) { return f.Usage, want == (own.Lookup(f.Name) != nil) }
	}
	var page strings.Builder
	page.WriteString(testdocs.Generated("cmd/ccm", name))
	page.WriteString(`# Flags of the cloud controller manager

## Of Vultr

Each of them has a place in the file that ` + "`--cloud-config`" + ` names, too: [configuration](ccm-configuration.md).

`)
	page.WriteString(testdocs.FlagTable(command.Flags(), isOwn(true)))
	page.WriteString(`
## Of every cloud controller manager

[Kubernetes' documentation](https://kubernetes.io/docs/reference/command-line-tools-reference/cloud-controller-manager/) explains
them. The defaults are this program's: some are [higher than the library's](node-lifecycle.md#how-a-node-gets-its-data).

`)
	page.WriteString(testdocs.FlagTable(command.Flags(), isOwn(false)))
	testdocs.Compare(t, "../../docs/flags-ccm.md", page.String(), name, *update)
}
