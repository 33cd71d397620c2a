// Package testdocs compares pages of the documentation with the code that they are generated from.
package testdocs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Compare fails the test unless the page reads as wanted, and names the command that brings it up to date. With update it writes
// the page first.
func Compare(t testing.TB, page, want, command string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale, run: %s -update", page, command)
	}
}

// Generated is the first line of a page that a command writes.
func Generated(from, command string) string {
	return fmt.Sprintf("<!-- Generated from %s by: %s -update -->\n", from, command)
}

// FlagTable returns flags as a table in Markdown, in the order of the set. words returns the help of a flag, and reports
// whether the flag belongs to the table.
func FlagTable(flags *pflag.FlagSet, words func(*pflag.Flag) (string, bool)) string {
	var table strings.Builder
	table.WriteString("| flag | value | default | what it does |\n|---|---|---|---|\n")
	rows := 0
	flags.VisitAll(func(f *pflag.Flag) {
		text, ok := words(f)
		if !ok || f.Hidden || f.Name == "help" {
			return
		}
		rows++
		described := *f
		described.Usage = text
		value, usage := pflag.UnquoteUsage(&described)
		if value == "" {
			value = "true, false"
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" && f.Shorthand != f.Name {
			name = "`-" + f.Shorthand + "`, " + name
		}
		fmt.Fprintf(&table, "| %s | %s | `%s` | %s |\n", name, cell(value), shown(f), cell(usage))
	})
	if rows == 0 {
		return ""
	}
	return table.String()
}

// All returns the help of every flag.
func All(f *pflag.Flag) (string, bool) { return f.Usage, true }

func shown(f *pflag.Flag) string {
	if f.DefValue == "" {
		return `""`
	}
	return strings.ReplaceAll(f.DefValue, "|", `\|`)
}

// cell makes one cell of a text. What follows "Options are:" is a list of the library, one line each, that depends on what a
// program is linked with: it is left to --help.
func cell(text string) string {
	text, list, cut := strings.Cut(text, "Options are:")
	if text = strings.Join(strings.Fields(text), " "); cut && strings.Contains(list, "\n") {
		text += " `--help` lists them."
	} else if cut {
		text += " Options are:" + list
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
}

// CompareSection is Compare for a part of a page: what stands between the two lines <!-- name --> and <!-- end name -->.
func CompareSection(t testing.TB, page, name, want, command string, update bool) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(content), "<!-- "+name+" -->\n")
	_, after, ends := strings.Cut(rest, "<!-- end "+name+" -->\n")
	if !begins || !ends {
		t.Fatalf("%s has no part %q", page, name)
	}
	Compare(t, page, before+"<!-- "+name+" -->\n"+want+"<!-- end "+name+" -->\n"+after, command, update)
}
