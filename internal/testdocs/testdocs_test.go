package testdocs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlagTable(t *testing.T) {
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.Duration("age", time.Hour, "how `old`,\n  at most")
	flags.Bool("loud", false, "a <b>|c")
	flags.StringP("name", "n", "", "other")
	flags.IntP("v", "v", 2, "verbosity")
	flags.StringSlice("gates", nil, "Gates.\nOptions are:\na=true|false\nb=true|false")
	flags.Bool("secret", false, "nobody sees it")
	flags.Bool("help", false, "help")
	if err := flags.MarkHidden("secret"); err != nil {
		t.Fatal(err)
	}
	const head = "| flag | value | default | what it does |\n|---|---|---|---|\n"
	if got, want := FlagTable(flags, All), head+
		"| `--age` | old | `1h0m0s` | how old, at most |\n"+
		"| `--gates` | strings | `[]` | Gates. `--help` lists them. |\n"+
		"| `--loud` | true, false | `false` | a &lt;b>\\|c |\n"+
		"| `-n`, `--name` | string | `\"\"` | other |\n"+
		"| `--v` | int | `2` | verbosity |\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	one := func(f *pflag.Flag) (string, bool) { return "else", f.Name == "name" }
	if got, want := FlagTable(flags, one), head+"| `-n`, `--name` | string | `\"\"` | else |\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	none := func(*pflag.Flag) (string, bool) { return "", false }
	if got := FlagTable(flags, none); got != "" {
		t.Errorf("got\n%s", got)
	}
}

// failures collects what a test says.
type failures struct {
	testing.TB
	said []string
}

func (f *failures) Helper() {}

func (f *failures) Errorf(_ string, args ...any) {
	for _, arg := range args {
		if text, ok := arg.(string); ok {
			f.said = append(f.said, text)
		}
	}
}

func TestCompare(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	stale := &failures{TB: t}
	Compare(stale, page, "new", "go test ./x", false)
	if said := strings.Join(stale.said, " "); !strings.Contains(said, page) || !strings.Contains(said, "go test ./x") {
		t.Errorf("of a stale page it says %q", said)
	}
	Compare(t, page, "new", "go test ./x", true)
	Compare(t, page, "new", "go test ./x", false)
}

func TestCompareSection(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("a\n<!-- x -->\nold\n<!-- end x -->\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stale := &failures{TB: t}
	CompareSection(stale, page, "x", "new\n", "go test ./x", false)
	if len(stale.said) == 0 {
		t.Error("nothing is said of a stale part")
	}
	CompareSection(t, page, "x", "new\n", "go test ./x", true)
	Compare(t, page, "a\n<!-- x -->\nnew\n<!-- end x -->\nb\n", "", false)
}
