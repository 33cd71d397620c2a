package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
)

// newRun is a run of a definition of which the suite knows nothing but the capability to exec. The function stands in for the
// suite and gets its arguments.
func newRun(t *testing.T, do func(args []string) error) *Run {
	t.Helper()
	r := &Run{Dir: t.TempDir(), Output: t.TempDir(), Parallel: 2, Out: t.Output(), Suite: cache.Suite{Runner: "ginkgo", Source: t.TempDir()}}
	framework := filepath.Join(r.Suite.Source, "test", "e2e", "storage", "framework")
	if err := os.MkdirAll(framework, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		filepath.Join(framework, "testdriver.go"): "const (\n\tCapExec Capability = \"exec\"\n)\n",
		filepath.Join(r.Dir, "block.yaml"):        "DriverInfo:\n  Capabilities: {exec: true}\n",
		filepath.Join(r.Dir, skipsFile):           "- {tests: 'grows$', reason: no kernel}\n",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.Inside = func(_ context.Context, argv ...string) (string, error) { return "", do(argv) }
	return r
}

// TestDefinition: what the suite is asked, and that failures are in the result and not an error of the run.
func TestDefinition(t *testing.T) {
	var asked []string
	var r *Run
	r = newRun(t, func(args []string) error {
		asked = args
		content := strings.Replace(report, "STATE", "", 1)
		return errors.Join(os.WriteFile(filepath.Join(r.Output, "block.json"), []byte(content), 0o600), errors.New("exit code 1"))
	})
	r.Focus = "volumes|subPath"
	result, err := r.Definition(t.Context(), "block")
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Err(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"--focus=External Storage .*(volumes|subPath)", "--skip=grows$", "--procs=2",
		"-storage.testdriver=" + filepath.Join(r.Dir, "block.yaml"),
	} {
		if !slices.Contains(asked, want) {
			t.Errorf("asked %q, without %q", asked, want)
		}
	}
	list, err := os.ReadFile(filepath.Join(r.Output, "block.txt"))
	if err != nil || !strings.Contains(string(list), "[Driver: d] grows\n    no kernel\n") {
		t.Errorf("list: %s, %v", list, err)
	}
}

// TestNoReport: a suite that came to no end is an error, and a report of an earlier run is not taken for its.
func TestNoReport(t *testing.T) {
	r := newRun(t, func([]string) error { return errors.New("exit code 2") })
	old := strings.Replace(report, "STATE", "", 1)
	if err := os.WriteFile(filepath.Join(r.Output, "block.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Definition(t.Context(), "block"); err == nil || !strings.Contains(err.Error(), "exit code 2") {
		t.Errorf("a run without a report: %v", err)
	}
}
