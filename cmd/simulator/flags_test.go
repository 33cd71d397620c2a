package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testdocs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

var update = flag.Bool("update", false, "write docs/flags-simulator.md instead of comparing it")

// TestFlagReferenceIsGenerated compares the page with the flags.
func TestFlagReferenceIsGenerated(t *testing.T) {
	const command = "go test ./cmd/simulator -run FlagReference"
	flags := (&options{delays: simulator.DefaultDelays()}).flags()
	isDelay := func(want bool) func(*pflag.Flag) (string, bool) {
		return func(f *pflag.Flag) (string, bool) { return f.Usage, want == strings.HasPrefix(f.Name, "delay-") }
	}
	page := testdocs.Generated("cmd/simulator", command) + `# Flags of the simulator

[Simulator](simulator.md) and [its storage](simulator-storage.md) explain what they are for. Wrong values are all named at once, and
the program exits with 1.

` + testdocs.FlagTable(flags, isDelay(false)) + `
## Delays

How long the platform takes. ` + "`--time-scale`" + ` multiplies all of them.

` + testdocs.FlagTable(flags, isDelay(true))
	testdocs.Compare(t, "../../docs/flags-simulator.md", page, command, *update)
}
