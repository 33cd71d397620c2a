package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/scenario"
)

// TestNothingIsLeft ends clusters in the three ways there are and demands that
// the machine is as before: Ctrl-C, SIGKILL and the next start, and down. The
// one that was left running is used through its forwarders first.
func TestNothingIsLeft(t *testing.T) {
	needRoot(t)
	fillCache(t)
	before := takeSnapshot(t)

	demo := startDemo(t)
	demo.end(t, syscall.SIGINT)
	if code := demo.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("a demo that was interrupted ends with exit code %d", code)
	}
	before.sameAs(t)

	killed := startDemo(t)
	killed.end(t, syscall.SIGKILL)
	out := command(t, "up")
	if !strings.Contains(out, "whose program was killed") {
		t.Errorf("the next start does not say that it removes the killed one: %s", out)
	}
	useForwarders(t)
	t.Log(command(t, "status"))
	command(t, "down")
	before.sameAs(t)
}

// TestInterrupted interrupts these very tests while their cluster is in use.
func TestInterrupted(t *testing.T) {
	needRoot(t)
	fillCache(t)
	before := takeSnapshot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := startUntil(t, exec.Command(self, "-test.v", "-test.run=^TestMainJob$"), "=== RUN   TestMainJob/nodes_are_initialised")
	tests.end(t, syscall.SIGINT)
	if code := tests.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("tests that were interrupted end with exit code %d", code)
	}
	before.sameAs(t)
}

// fillCache builds what is kept, so that the snapshots do not see it come, and
// removes what killed programs left before, so that they do not see it go.
func fillCache(t *testing.T) {
	t.Helper()
	store, err := cache.Open(t.Context(), os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.RemoveDead(t.Context(), store.Dir, os.Stdout); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// command runs the cluster command to its end.
func command(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// running is a program that was started and is well under way.
type running struct {
	cmd    *exec.Cmd
	output bytes.Buffer
}

// startDemo starts a demo and waits until the product is installed.
func startDemo(t *testing.T) *running {
	t.Helper()
	return startUntil(t, exec.Command(program, "demo"), "the product is installed")
}

// startUntil starts a program and waits until it says that something went well.
func startUntil(t *testing.T, cmd *exec.Cmd, said string) *running {
	t.Helper()
	r := &running{cmd: cmd}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended if the test went well
	reader := bufio.NewReader(io.TeeReader(stdout, &r.output))
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			t.Fatalf("%s ended early: %s", cmd, r.output.String())
		}
		if strings.Contains(line, said) {
			go func() { _, _ = io.Copy(io.Discard, reader) }() // it must not wait for a reader
			return r
		}
	}
}

// end sends a signal and waits for the end.
func (r *running) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err == nil {
		t.Errorf("%s got %s and says that all went well", r.cmd, signal)
	}
}

// useForwarders reaches the apiserver and the status page from this machine.
func useForwarders(t *testing.T) {
	t.Helper()
	dir, err := cache.Dir()
	if err != nil {
		t.Fatal(err)
	}
	running, err := cluster.Running(dir)
	if err != nil || len(running) != 1 {
		t.Fatalf("running clusters: %v, %v", running, err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", running[0].Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 2 {
		t.Errorf("nodes through the forwarder: %v, %v", nodes, err)
	}
	kubectl := exec.CommandContext(t.Context(), running[0].Kubectl, "get", "nodes") //nolint:gosec // G204: what the user is told to run
	kubectl.Env = append(os.Environ(), "KUBECONFIG="+running[0].Kubeconfig)
	if out, err := kubectl.CombinedOutput(); err != nil || !strings.Contains(string(out), "worker-1") {
		t.Errorf("kubectl through the forwarder: %v: %s", err, out)
	}
	if page := fetch(t, running[0].StatusPage); !strings.Contains(page, "worker-1") {
		t.Errorf("the status page does not name worker-1: %s", page)
	}
	// The load balancer is not deleted again: down has to remove a cluster in full use.
	if err := scenario.CreateWeb(t.Context(), client, metav1.NamespaceDefault); err != nil {
		t.Fatal(err)
	}
	if answer := fetch(t, "http://"+forwardedBalancer(t, dir)+"/hostname"); !strings.HasPrefix(answer, "web-") {
		t.Errorf("the load balancer's forwarder answers %q", answer)
	}
}

// forwardedBalancer waits until the one load balancer's port is forwarded and gives where.
func forwardedBalancer(t *testing.T, dir string) string {
	t.Helper()
	// The pause is between two looks; only what is waited for ends the wait.
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		running, err := cluster.Running(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(running) == 1 && len(running[0].Balancers) == 1 {
			return running[0].Balancers[0].Local
		}
	}
	t.Fatal("no load balancer is forwarded")
	return ""
}

// fetch reads a page; a server that has just come up may need a moment.
func fetch(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	// The pause is between two tries; only an answer ends the wait.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		content, err := fetchOnce(t.Context(), client, url)
		if err == nil {
			return content
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func fetchOnce(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, content)
	}
	return string(content), err
}

// TestBadInput: every refusal is one clear line and exit code 1.
func TestBadInput(t *testing.T) {
	needRoot(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for name, test := range map[string]struct {
		args []string
		env  string
		as   *syscall.SysProcAttr
		want string
	}{
		"no root":          {[]string{"up"}, "HOME=/nonexistent", nobody, "root"},
		"missing programs": {[]string{"up"}, "KUBERNETES_BIN_DIR=/nonexistent", nil, "no program etcd in /nonexistent"},
		"unknown command":  {[]string{"sideways"}, "", nil, `unknown command "sideways"`},
		"cache is a file":  {[]string{"up"}, "CACHE=/etc/passwd", nil, "/etc/passwd"},
		"no command":       {nil, "", nil, "usage"},
		"extra argument":   {[]string{"up", "now"}, "", nil, "up takes no argument"},
		"long cache path":  {[]string{"down"}, "CACHE=/nonexistent/" + strings.Repeat("x", 200), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := takeSnapshot(t)
			path := program
			if test.as != nil {
				path = copyReadable(t)
			}
			cmd := exec.Command(path, test.args...)
			cmd.Env, cmd.SysProcAttr = append(os.Environ(), test.env), test.as
			out, err := cmd.CombinedOutput()
			if test.want == "" {
				if err != nil {
					t.Errorf("%v: %s", err, out)
				}
				return
			}
			if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), test.want) {
				t.Errorf("exit code %d, want 1 and %q: %s", cmd.ProcessState.ExitCode(), test.want, out)
			}
			before.sameAs(t)
		})
	}
}

// copyReadable puts the command where every user may execute it.
func copyReadable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cluster-e2e-") //nolint:usetesting // others must be able to enter it, and all above it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	content, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(dir+"/cluster", content, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir + "/cluster"
}
