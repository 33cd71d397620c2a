package simulator_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/disks"
)

// childDir makes this test binary a simulator process that keeps its state and its disks there.
const childDir = "SIMULATOR_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(dir string) error {
	plane, err := disks.New(filepath.Join(dir, "disks"))
	if err != nil {
		return err
	}
	sim, err := simulator.New(context.Background(), simulator.Config{
		StateDir: filepath.Join(dir, "state"), TimeScale: 0.01, Disks: plane,
	})
	if err != nil {
		return err
	}
	server := httptest.NewServer(sim)
	fmt.Println(server.URL)
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent is gone, whatever became of it
	return err
}

// victim is a simulator process that gets killed.
type victim struct {
	cmd *exec.Cmd
	url string
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the simulator does not start: %v", errors.Join(err, cmd.Wait()))
	}
	return &victim{cmd: cmd, url: strings.TrimSpace(line)}
}

func (v *victim) kill(t *testing.T) {
	t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = v.cmd.Wait() // tells of the kill
}

// ledger is what a client knows of its volumes from answers: true = exists, false = deleted.
type ledger struct {
	mu    sync.Mutex
	known map[string]bool
	notes int
}

func (l *ledger) note(id string, exists bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[id] = exists
	l.notes++
}

func (l *ledger) any() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, exists := range l.known {
		if exists {
			return id
		}
	}
	return ""
}

func call(ctx context.Context, method, url, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer k")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), errors.Join(err, resp.Body.Close())
}

// work creates, attaches, detaches and deletes volumes until the process dies.
func (l *ledger) work(ctx context.Context, url, instance string) {
	for ctx.Err() == nil {
		status, body, err := call(ctx, "POST", url+"/v2/blocks", `{"region":"ewr","size_gb":10}`)
		if err != nil {
			return
		}
		if status == http.StatusAccepted {
			l.note(strings.Split(body, `"`)[5], true)
		}
		id := l.any()
		path := url + "/v2/blocks/" + id
		_, _, _ = call(ctx, "POST", path+"/attach", `{"live":true,"instance_id":"`+instance+`"}`) // may be refused
		if rand.IntN(2) == 0 {
			_, _, _ = call(ctx, "POST", path+"/detach", `{"live":true}`) // may be refused
		}
		if status, _, err := call(ctx, "DELETE", path, ""); err == nil && status == http.StatusNoContent {
			l.note(id, false)
		} else if err != nil {
			l.forget(id) // nobody knows
		}
	}
}

func (l *ledger) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, id)
}

// Whatever moment the process is killed at, everything that it acknowledged is there, and the disks of the machine are
// what the API says.
func TestKillLosesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root")
	}
	dir := t.TempDir()
	t.Cleanup(func() { unplugAll(t, dir) })
	l := &ledger{known: map[string]bool{}}
	sim, err := simulator.New(t.Context(), simulator.Config{StateDir: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	instance, err := sim.AddInstance(simulator.NewServer{Label: "i"})
	if err := errors.Join(err, sim.Close()); err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		v := startVictim(t, dir)
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() { l.work(t.Context(), v.url, instance) })
		}
		l.grown(t, 4)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond) // the kill comes at any moment
		v.kill(t)
		workers.Wait()
		l.check(t, dir, round)
	}
}

// grown waits until so many more answers came, so that each life of the process has something to lose.
func (l *ledger) grown(t *testing.T, by int) {
	t.Helper()
	began := l.noted()
	deadline := time.Now().Add(time.Minute)
	for l.noted() < began+by {
		if time.Now().After(deadline) {
			t.Fatal("the simulator does not answer")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (l *ledger) noted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes
}

// check opens the state in this process and compares it with what was acknowledged and with the machine.
func (l *ledger) check(t *testing.T, dir string, round int) {
	t.Helper()
	plane, err := disks.New(filepath.Join(dir, "disks"))
	if err != nil {
		t.Fatal(err)
	}
	sim, err := simulator.New(t.Context(), simulator.Config{StateDir: filepath.Join(dir, "state"), TimeScale: 0.01, Disks: plane})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}()
	loopsPerFile(t, dir, round)
	settle(t, sim)
	exists, attached := map[string]bool{}, map[string]string{}
	for _, b := range sim.View().Blocks {
		exists[b.ID] = true
		if b.AttachedTo != "" {
			attached[b.ID] = b.AttachedTo
		}
	}
	for id, want := range l.known {
		if exists[id] != want {
			t.Errorf("round %d: volume %s exists: %t, acknowledged: %t", round, id, exists[id], want)
		}
	}
	plugged, err := plane.Plugged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, at := range attached {
		if plugged[id] != at {
			t.Errorf("round %d: volume %s is attached to %s, plugged into %q", round, id, at, plugged[id])
		}
	}
	for id := range plugged {
		if !exists[id] {
			t.Errorf("round %d: volume %s is gone but plugged", round, id)
		}
	}
	loopsPerFile(t, dir, round)
}

// settle waits until everything that was under way at the kill is done.
func settle(t *testing.T, sim *simulator.Simulator) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(sim.View().Transitions) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("these do not end: %+v", sim.View().Transitions)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// loopsPerFile demands that no backing file has two loop devices.
func loopsPerFile(t *testing.T, dir string, round int) {
	t.Helper()
	count := map[string]int{}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err == nil && strings.HasPrefix(string(raw), dir) {
			count[string(raw)]++
		}
	}
	for file, n := range count {
		if n > 1 {
			t.Errorf("round %d: %s has %d loop devices", round, strings.TrimSpace(file), n)
		}
	}
}

func unplugAll(t *testing.T, dir string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // which has ended
	plane, err := disks.New(filepath.Join(dir, "disks"))
	if err != nil {
		t.Error(err)
		return
	}
	plugged, err := plane.Plugged(ctx)
	if err != nil {
		t.Error(err)
	}
	for id, at := range plugged {
		if err := plane.Unplug(ctx, id, at); err != nil {
			t.Error(err)
		}
	}
}
