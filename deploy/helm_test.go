package deploy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	chartDir      = "chart"
	monitoringDir = "components/monitoring"
)

// helmHome holds what the program writes for itself.
var helmHome string

func TestMain(m *testing.M) {
	var err error
	if helmHome, err = os.MkdirTemp("", "helm-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer func() { _ = os.RemoveAll(helmHome) }()
	m.Run()
}

// buildHelm compiles the program of tools/helm, once for all tests and as `make tool-helm` does: where that or an earlier run has
// left it, this takes a moment.
var buildHelm = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs("../bin/helm")
	if err != nil {
		return "", err
	}
	//nolint:noctx // it serves every test that follows
	build := exec.Command("go", "build", "-C", "../tools/helm", "-buildvcs=false", "-o", path, "helm.sh/helm/v4/cmd/helm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building helm: %w\n%s", err, out)
	}
	return path, nil
})

// helm runs the program and returns what it prints and what it complains about.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	program, err := buildHelm()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(helmHome, "none"), "KUBECACHEDIR="+helmHome)
	for _, name := range []string{"CACHE", "CONFIG", "DATA"} {
		cmd.Env = append(cmd.Env, "HELM_"+name+"_HOME="+helmHome)
	}
	var outBuffer, errBuffer bytes.Buffer
	cmd.Stdout, cmd.Stderr = &outBuffer, &errBuffer
	err = cmd.Run()
	return outBuffer.String(), errBuffer.String(), err
}

// values writes a file of values and returns the arguments that name it, none for "".
func values(t *testing.T, text string) []string {
	t.Helper()
	if text == "" {
		return nil
	}
	if err := yaml.Unmarshal([]byte(text), new(map[string]any)); err != nil {
		t.Fatalf("the values of the test are no YAML: %v\n%s", err, text)
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--values", file}
}

// template is a call of helm template.
func template(t *testing.T, text string, more ...string) (stdout, stderr string, err error) {
	t.Helper()
	args := slices.Concat([]string{"template", "vultr", chartDir, "--namespace", "kube-system", "--kube-version", "1.37.0"}, values(t, text), more)
	return helm(t, args...)
}

// rendered are the objects that the chart makes of these values. Fields that their kinds do not have are failures.
func rendered(t *testing.T, text string) []object {
	t.Helper()
	stdout, stderr, err := template(t, text, "--skip-tests")
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	return decodeText(t, "the chart", []byte(stdout))
}

// refused is what helm says of values that it does not take.
func refused(t *testing.T, text string, more ...string) string {
	t.Helper()
	_, stderr, err := template(t, text, more...)
	if err == nil {
		t.Errorf("these values are taken:\n%s", text)
	}
	return strings.TrimSpace(stderr)
}
