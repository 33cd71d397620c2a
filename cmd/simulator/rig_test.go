package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	// childMark turns this test binary into the program itself, which can then be killed as a process.
	childMark = "SIMULATOR_TEST_CHILD"
	// patience is generous: the machine that tests run on is shared.
	patience = 60 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		os.Exit(start(os.Args[1:], os.Stdout, os.Stderr))
	}
	testns.Main(m)
}

// process is one run of the program.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out      *buffer
	ended    chan struct{}
	api, adm string
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

func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), childMark+"=1")
	return cmd
}

// begin starts the program.
func begin(t testing.TB, args ...string) *process {
	t.Helper()
	args = append([]string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--rate-limit=0"}, args...)
	p := &process{t: t, cmd: command(t, args...), out: &buffer{}, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its state tells
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(syscall.SIGKILL) })
	return p
}

// launch starts the program and waits until it says that it is ready.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := begin(t, args...)
	p.await("the simulator to be ready", func() bool { return strings.Contains(p.out.String(), "\nready\n") })
	p.api = regexp.MustCompile(`API +(http://\S+)`).FindStringSubmatch(p.out.String())[1]
	p.adm = regexp.MustCompile(`status page +(http://\S+)`).FindStringSubmatch(p.out.String())[1]
	return p
}

// await gives up early when the program has ended.
func (p *process) await(what string, done func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		select {
		case <-p.ended:
			p.t.Fatalf("the simulator ended while the test waited for %s:\n%s", what, p.out)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("waited in vain for %s:\n%s", what, p.out)
		}
	}
}

// stop sends the signal and returns the exit code, -1 after a kill.
func (p *process) stop(signal syscall.Signal) int {
	_ = p.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("the simulator does not end:\n%s", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// call speaks to the API or the operator's side. It tells false when there is no answer or no success.
func call(method, url string, body, into any) bool {
	text, err := json.Marshal(body)
	if err != nil {
		return false
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer test")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		return false
	}
	return into == nil || json.Unmarshal(answer, into) == nil
}

func (p *process) view() simulator.View {
	p.t.Helper()
	var view simulator.View
	if !call(http.MethodGet, p.adm+"state", nil, &view) {
		p.t.Fatal("no /state")
	}
	return view
}

// showTheTruth ends the lag of reads, until the program starts again: what is compared is what there is.
func (p *process) showTheTruth() {
	p.t.Helper()
	if !call(http.MethodPut, p.adm+"read-lags", simulator.NoReadLag(), nil) {
		p.t.Fatal("the lag of reads can't be changed")
	}
}

// addInstance makes one that runs at once.
func (p *process) addInstance(label string) string {
	p.t.Helper()
	var made struct{ ID string }
	if !call(http.MethodPost, p.adm+"instances", map[string]string{"label": label}, &made) {
		p.t.Fatal("no instance was made")
	}
	return made.ID
}

// loopsOf lists the backing files of loop devices below the directory; one that has two appears twice.
func loopsOf(t *testing.T, dir string) []string {
	t.Helper()
	bound, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, path := range bound {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // cleared meanwhile
		}
		if file := strings.TrimSpace(string(text)); strings.HasPrefix(file, dir+"/") {
			files = append(files, strings.TrimSuffix(filepath.Base(file), ".img"))
		}
	}
	slices.Sort(files)
	return files
}

func needsRoot(t *testing.T) {
	t.Helper()
	testns.NeedDisks(t)
}
