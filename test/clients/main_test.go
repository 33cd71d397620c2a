package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// clientMark makes this test binary the client of that name. A client is a process of its own: what it is told, it is
// told by its environment, which Go's HTTP client reads once.
const clientMark = "TEST_CLIENT"

// patience is generous: the machine that tests run on is shared.
const patience = 2 * time.Minute

// program is the simulator, built once as a release builds it.
var program string

func TestMain(m *testing.M) {
	if name := os.Getenv(clientMark); name != "" {
		os.Exit(runClient(name))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "clients-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "simulator")
	build := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", program, "./cmd/simulator")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the simulator: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// cloud is a simulator in a process of its own.
type cloud struct {
	*testing.T
	out                       *buffer
	api, admin, proxy, caFile string
	// stop ends the simulator in order; the end of the test does too.
	stop func()
}

// buffer is what a process said, readable while it speaks.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start runs the simulator until the test ends.
func start(t *testing.T, args ...string) *cloud {
	t.Helper()
	state := t.TempDir()
	c := &cloud{T: t, out: &buffer{}, caFile: filepath.Join(state, "trust", "ca.pem")}
	// Ended by stop alone: a second signal, at the end of the test's context, would end it at once.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, append([]string{
		"--state=" + state, "--no-disks", "--balancers=off", "--time-scale=0.01",
		"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--proxy-listen=127.0.0.1:0", "--proxy-ca=" + c.caFile,
	}, args...)...)
	cmd.Stdout, cmd.Stderr = c.out, c.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its state tells
		close(ended)
	}()
	c.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails only where it has ended already
		<-ended
	}
	t.Cleanup(func() {
		c.stop()
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the simulator ended with %d:\n%s", code, c.out)
		}
	})
	await(t, "the simulator", func() bool { return strings.Contains(c.out.String(), "\nready\n") })
	said := func(pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(c.out.String())
		if match == nil {
			t.Fatalf("the simulator does not say %s:\n%s", pattern, c.out)
		}
		return match[1]
	}
	c.api, c.admin, c.proxy = said(`API +(\S+)/v2`), said(`status page +(\S+)/`), said(`HTTPS_PROXY=(\S+)`)
	if told := said(`SSL_CERT_FILE=(\S+)`); told != c.caFile {
		t.Errorf("the certificate is said to be in %s", told)
	}
	return c
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	// The pause is between two looks; only what is waited for ends the wait.
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// environment is all that a client is told of the simulator.
func (c *cloud) environment() []string {
	return []string{
		"HTTPS_PROXY=" + c.proxy, "SSL_CERT_FILE=" + c.caFile,
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.TempDir(),
	}
}

// client runs one of the clients and returns what it found.
func (c *cloud) client(name string, found any) {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), os.Args[0])
	cmd.Env = append(c.environment(), clientMark+"="+name, "VULTR_API_KEY=secret")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.Fatalf("%s: %v\n%s", name, err, errs.String())
	}
	if err := json.Unmarshal(out, found); err != nil {
		c.Fatalf("%s says %q: %v", name, out, err)
	}
}

// operator speaks to the simulator's own side.
func (c *cloud) operator(method, path string, body, into any) {
	c.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.Fatal(err)
	}
	c.call(method, c.admin+path, string(text), into)
}

func (c *cloud) call(method, url, body string, into any) {
	c.Helper()
	request, err := http.NewRequestWithContext(c.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer secret")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		c.Fatalf("%s %s: %s %s, %v", method, url, response.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			c.Fatal(err)
		}
	}
}

type request struct {
	Operation string `json:"operation"`
	Status    int    `json:"status"`
	Source    string `json:"source"`
	UserAgent string `json:"user_agent"`
}

// requests is what the cloud was asked, oldest first.
func (c *cloud) requests() (log []request) {
	c.Helper()
	c.operator(http.MethodGet, "/requests", nil, &log)
	return log
}
