package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testdocs"
)

var update = flag.Bool("update", false, "write docs/flags-kubectl-vultr.md instead of comparing it")

// TestFlagReferenceIsGenerated compares the page with the flags of all commands.
func TestFlagReferenceIsGenerated(t *testing.T) {
	const command = "go test ./cmd/kubectl-vultr -run FlagReference"
	root := newRoot(environment{getenv: func(string) string { return "" }})
	root.InitDefaultVersionFlag()
	var page strings.Builder
	page.WriteString(testdocs.Generated("cmd/kubectl-vultr", command))
	page.WriteString("# Flags of kubectl vultr\n\n[kubectl vultr](kubectl-vultr.md) shows how to use them.\n\n## All commands\n\n")
	page.WriteString(testdocs.FlagTable(root.PersistentFlags(), testdocs.All))
	for _, c := range root.Commands() {
		page.WriteString("\n## kubectl vultr " + c.Use + "\n\n" + c.Short + ".\n")
		if table := testdocs.FlagTable(c.LocalNonPersistentFlags(), testdocs.All); table != "" {
			page.WriteString("\n" + table)
		}
	}
	testdocs.Compare(t, "../../docs/flags-kubectl-vultr.md", page.String(), command, *update)
}

// TestDocumentedCommands runs no command of the page, but has each one's arguments parsed; and it finds commands and flags that
// the page does not mention.
func TestDocumentedCommands(t *testing.T) {
	content, err := os.ReadFile("../../docs/kubectl-vultr.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	found := 0
	for line := range strings.Lines(page) {
		line, _, _ = strings.Cut(line, "#")
		_, text, is := strings.Cut(line, "kubectl vultr ")
		if !is || strings.Contains(line, "`") {
			continue // prose
		}
		found++
		root := newRoot(environment{getenv: func(string) string { return "" }})
		root.InitDefaultVersionFlag()
		command, args, err := root.Find(strings.Fields(text))
		if err == nil {
			err = command.ParseFlags(args)
		}
		if err == nil && len(command.Flags().Args()) > 0 {
			err = command.ValidateArgs(command.Flags().Args())
		}
		if err != nil {
			t.Errorf("%q: %v", strings.TrimSpace(line), err)
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
	check := func(command *cobra.Command) {
		command.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && f.Name != "version" && !strings.Contains(page, "--"+f.Name) && (f.Shorthand == "" || !strings.Contains(page, "-"+f.Shorthand+" ")) {
				t.Errorf("%s: --%s is not on the page", command.Name(), f.Name)
			}
		})
	}
	root := newRoot(environment{getenv: func(string) string { return "" }})
	check(root)
	for _, command := range root.Commands() {
		if !strings.Contains(page, "kubectl vultr "+command.Name()) {
			t.Errorf("%s is not on the page", command.Name())
		}
		check(command)
	}
}
