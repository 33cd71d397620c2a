package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// asProgram makes the test binary behave as the program.
const asProgram = "CCM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// run runs the program with nothing in its environment but env, and returns its exit code and what it printed.
func runProgram(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append([]string{asProgram + "=1", "HOME=" + t.TempDir(), "GOCOVERDIR=" + counters(t)}, env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// counters is where the program leaves what it covered; without such a place it would complain.
func counters(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		return dir
	}
	return t.TempDir()
}

// lines returns what was printed without log lines of the start.
func lines(out string) []string {
	var rest []string
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		if !strings.HasPrefix(line, "I1") && !strings.HasPrefix(line, "I0") {
			rest = append(rest, line)
		}
	}
	return rest
}

func TestBadInput(t *testing.T) {
	cloud := simtest.Start(t, simtest.Options{})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }() // the end of the test
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	good := []string{"VULTR_API_KEY=" + cloud.Key, "API_URL=" + cloud.URL}
	config := func(text string) string {
		file := filepath.Join(t.TempDir(), "ccm.yaml")
		if err := os.WriteFile(file, []byte("apiVersion: vultr.com/v1alpha1\nkind: CloudConfig\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--cloud-config=" + file
	}
	tests := map[string]struct {
		env  []string
		args []string
		want string
	}{
		"unknown flag":       {good, []string{"--nonsense"}, "unknown flag: --nonsense"},
		"bad flag value":     {good, []string{"--fast-node-recovery=perhaps"}, "fast-node-recovery"},
		"bad share":          {good, []string{"--node-deletion-limit=0"}, "--node-deletion-limit: 0 is not a share"},
		"bad health address": {good, []string{"--vultr-health-address=localhost"}, `"localhost" is not an IP address with a port`},
		"health port taken":  {good, []string{"--vultr-health-address=127.0.0.1:" + port}, "--vultr-health-address: listen tcp"},
		"argument":           {good, []string{"start"}, "does not take any arguments"},
		"other cloud":        {good, []string{"--cloud-provider=aws"}, "--cloud-provider=aws"},
		"no key":             {nil, nil, "VULTR_API_KEY"},
		"bad URL":            {[]string{"VULTR_API_KEY=x", "API_URL=nowhere"}, nil, `"nowhere" is not an address`},
		"refused key":        {[]string{"VULTR_API_KEY=WRONGKEY0123456789", "API_URL=" + cloud.URL}, nil, "the API key is refused"},
		"no cluster":         {good, []string{"--kubeconfig=/nonexistent/kubeconfig"}, "/nonexistent/kubeconfig"},
		"port taken":         {good, []string{"--kubeconfig=" + kubeconfig, "--bind-address=127.0.0.1", "--secure-port=" + port}, "address already in use"},
		"no config file":     {good, []string{"--cloud-config=/nonexistent/ccm.yaml"}, "--cloud-config: open /nonexistent/ccm.yaml"},
		"unknown setting":    {good, []string{config("nodes:\n  zone: true\n")}, "ccm.yaml, line 4: nodes.zone is unknown"},
		"bad setting":        {good, []string{config("api:\n  url: nowhere\n")}, `ccm.yaml, line 4: api.url: "nowhere" is not an address`},
		"unknown controller": {good, []string{"--kubeconfig=" + kubeconfig, "--controllers=nonsense"}, "nonsense"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			code, out := runProgram(t, tt.env, tt.args...)
			if code != 1 || !strings.Contains(out, tt.want) {
				t.Errorf("code %d, want %q in:\n%s", code, tt.want, out)
			}
			if printed := lines(out); len(printed) != 1 {
				t.Errorf("want one line:\n%s", strings.Join(printed, "\n"))
			}
			if strings.Contains(out, cloud.Key) || strings.Contains(out, "WRONGKEY0123456789") {
				t.Error("the key was printed")
			}
		})
	}
}

func TestVersion(t *testing.T) {
	if code, out := runProgram(t, nil, "--version"); code != 0 || !strings.Contains(out, "linux/") {
		t.Errorf("code %d: %s", code, out)
	}
}

func TestHelpNamesOurFlags(t *testing.T) {
	code, out := runProgram(t, nil, "--help")
	for _, want := range []string{"--vultr-api-key-file", "--vultr-region", "--fast-node-recovery", "fast-node-recovery-controller", "--node-deletion-limit", "--vultr-health-address"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, %s is missing", code, want)
		}
	}
}
