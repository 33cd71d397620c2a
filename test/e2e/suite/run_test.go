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

// TestSelection: what the suite is asked for tests that need no driver, and what the report says of them.
func TestSelection(t *testing.T) {
	const tests = `[{"SpecReports": [
		{"ContainerHierarchyTexts": ["[sig-network] LoadBalancers"], "LeafNodeType": "It", "LeafNodeText": "answer", "State": "passed"},
		{"ContainerHierarchyTexts": ["[sig-network] LoadBalancers"], "LeafNodeType": "It", "LeafNodeText": "grows", "State": "skipped"},
		{"ContainerHierarchyTexts": ["[sig-network] Ingress"], "LeafNodeType": "It", "LeafNodeText": "answers", "State": "failed"}]}]`
	var asked []string
	var r *Run
	r = newRun(t, func(args []string) error {
		asked = args
		return os.WriteFile(filepath.Join(r.Output, "network.json"), []byte(tests), 0o600)
	})
	r.Focus = "answer$"
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(r.Dir, "network.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		parallel int
		procs    string
	}{{0, "--procs=3"}, {2, "--procs=2"}} {
		write("Tests:\n  - \\] LoadBalancers\nProvider: skeleton\nParallel: 3\n")
		r.Parallel = c.parallel
		result, err := r.Definition(t.Context(), "network")
		if err != nil {
			t.Fatal(err)
		}
		if err := result.Err(); err != nil {
			t.Error(err)
		}
		for _, want := range []string{`--focus=(\] LoadBalancers).*(answer$)`, "-provider=skeleton", c.procs} {
			if !slices.Contains(asked, want) {
				t.Errorf("asked %q, without %q", asked, want)
			}
		}
		if slices.ContainsFunc(asked, func(arg string) bool { return strings.Contains(arg, "testdriver") }) {
			t.Errorf("asked %q, with a driver", asked)
		}
	}
	list, err := os.ReadFile(filepath.Join(r.Output, "network.txt"))
	const want = "passed      0.0 s  [sig-network] LoadBalancers answer\nskipped     0.0 s  [sig-network] LoadBalancers grows\n    no kernel\n"
	if err != nil || string(list) != want {
		t.Errorf("list:\n%s, %v, want\n%s", list, err, want)
	}
	// A test that the suite has under another name now would be left out without a word.
	write("Tests:\n  - \\] LoadBalancers\n  - \\] Services\nProvider: skeleton\n")
	result, err := r.Definition(t.Context(), "network")
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Err(); err == nil || !strings.Contains(err.Error(), `"\\] Services"`) {
		t.Errorf("a name that no test has: %v", err)
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
