package deploy

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestProgramsKnowTheirArguments builds the programs and gives them the
// manifests' arguments, and those of the chart with every value set; with --version they read them and end.
func TestProgramsKnowTheirArguments(t *testing.T) {
	programs := map[string]string{"vultr-ccm": "ccm", "csi-controller": "csi", "csi-node": "csi"}
	built := map[string]string{}
	for _, w := range workloads(append(both(t), rendered(t, fullValues(t))...)) {
		for _, c := range w.template.Spec.Containers {
			name, ours := programs[c.Name]
			if !ours {
				continue
			}
			if built[name] == "" {
				built[name] = build(t, name)
			}
			args := slices.Clone(c.Args)
			for i := range args {
				for _, env := range c.Env {
					args[i] = strings.ReplaceAll(args[i], "$("+env.Name+")", env.Value)
				}
				if strings.Contains(args[i], "$(") {
					t.Errorf("%s: nothing sets the variable in %s", w.name, args[i])
				}
			}
			if out, err := exec.CommandContext(t.Context(), built[name], append(args, "--version")...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s %s: %v\n%s", w.name, name, strings.Join(args, " "), err, out)
			}
		}
	}
	if len(built) != 2 {
		t.Errorf("%d programs were built, want 2", len(built))
	}
}

// build compiles a program with the race detector, as all tests are: what they
// compiled can be used again. Where an earlier run has left it, it is linked only
// when it has changed.
func build(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../bin/race/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-race", "-buildvcs=false", "-o", path, "../cmd/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return path
}
