package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testdocs"
)

var update = flag.Bool("update", false, "write docs/flags-csi.md instead of comparing it")

// TestFlagReferenceIsGenerated compares the page with the flags.
func TestFlagReferenceIsGenerated(t *testing.T) {
	const command = "go test ./cmd/csi -run FlagReference"
	var page strings.Builder
	page.WriteString(testdocs.Generated("cmd/csi", command))
	page.WriteString(`# Flags of the CSI driver

One program is the controller and the node plugin, by ` + "`--mode`" + `. A flag that another mode uses is accepted and has no effect.
Wrong values are all named at once, and the program exits with 1. The API key is in a file or the environment, never in a flag.
[deploy/manifests](../deploy/manifests/csi/controller.yaml) has the flags that a cluster needs.
`)
	flags := flagsOf(new(Config), noEnv)
	shown := 0
	for _, section := range []struct{ title, mode string }{
		{"All modes", ""}, {"Controller", modeController}, {"Node plugin", modeNode}, {"Pre-stop hook", modePreStop},
	} {
		page.WriteString("\n## " + section.title + "\n\n" + testdocs.FlagTable(flags, func(f *pflag.Flag) (string, bool) {
			mode, words := modeOf(f)
			if mode == section.mode {
				shown++
			}
			return words, mode == section.mode
		}))
	}
	all := 0
	flags.VisitAll(func(*pflag.Flag) { all++ })
	if shown != all {
		t.Errorf("%d of %d flags are in a section", shown, all)
	}
	testdocs.Compare(t, "../../docs/flags-csi.md", page.String(), command, *update)
}

// modeOf returns the mode that a flag is for, "" for all, and its help without that.
func modeOf(f *pflag.Flag) (mode, words string) {
	if rest, ok := strings.CutPrefix(f.Usage, "("); ok {
		if mode, words, ok = strings.Cut(rest, ") "); ok {
			return mode, words
		}
	}
	return "", f.Usage
}
