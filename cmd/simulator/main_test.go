package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
)

// fails runs the program to its end and returns what it complains about.
func fails(t *testing.T, cmd *exec.Cmd) []string {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Fatalf("ended with %v, want exit code 1; it said %q", err, errs.String())
	}
	return strings.Split(strings.TrimSpace(errs.String()), "\n")
}

// wantLines compares complaints with parts that they must contain, line by line.
func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i], "simulator: ") || !strings.Contains(got[i], want[i]) {
			t.Errorf("line %d: %q does not say %q", i+1, got[i], want[i])
		}
	}
}

func TestBadFlags(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(empty, []byte("# none\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	badPlan := filepath.Join(t.TempDir(), "plan")
	write(t, badPlan, `[{"action":"mood"},{"action":"status"}]`)
	tests := map[string]struct {
		args []string
		want []string
	}{
		"unknown":   {[]string{"--lisen=x"}, []string{"unknown flag: --lisen"}},
		"form":      {[]string{"--rate-limit=many"}, []string{"invalid argument \"many\""}},
		"argument":  {[]string{"serve"}, []string{`unexpected argument "serve"`}},
		"addresses": {[]string{"--listen=127.0.0.1", "--admin-listen=127.0.0.1:http"}, []string{"--listen: address 127.0.0.1: missing port", "--admin-listen: address 127.0.0.1:http"}},
		"twice":     {[]string{"--listen=127.0.0.1:1", "--admin-listen=127.0.0.1:1"}, []string{"--listen and --admin-listen are both 127.0.0.1:1"}},
		"ranges":    {[]string{"--instance-range=x", "--balancer-range=y", "--balancer-range-v6=10.0.0.0/8"}, []string{"--instance-range", "--balancer-range", "an IPv6 range is needed"}},
		"overlap":   {[]string{"--instance-range=10.0.0.0/16", "--balancer-range=10.0.1.0/24"}, []string{"overlap"}},
		"bridge":    {[]string{"--balancer-bridge=nosuch0"}, []string{"loopback addresses", "no such network interface"}},
		"numbers": {
			[]string{"--rate-limit=-1", "--rate-limit-by=mood", "--min-high-perf=0", "--time-scale=0", "--delay-attach=-1s", "--read-lag=disks=1s,vfs=soon", "--guest-growth=soon", "--balancers=maybe"},
			[]string{"--balancers", "--rate-limit is -1", `"mood"`, "--min-high-perf", "--time-scale", "--delay-attach", `read lag "vfs": time: invalid duration "soon" read lag "disks": unknown kind "disks"`, `"soon"`},
		},
		"no numbers": {
			[]string{"--rate-limit=NaN", "--time-scale=NaN"}, []string{"--rate-limit is NaN", "--time-scale is NaN"},
		},
		"no end":  {[]string{"--rate-limit=Inf", "--time-scale=Inf"}, []string{"--rate-limit is +Inf", "--time-scale is +Inf"}},
		"hook":    {[]string{"--machine-hook=/nonexistent/hook"}, []string{"--machine-hook"}},
		"no key":  {[]string{"--api-key-file=" + empty}, []string{"the file has no key"}},
		"no file": {[]string{"--api-key-file=/nonexistent/keys"}, []string{"no such file"}},
		"state":   {[]string{"--state="}, []string{"--state is empty"}},
		"plan":    {[]string{"--faults=" + badPlan}, []string{"fault 2: status 0 is not between 200 and 599"}},
		"proxy":   {[]string{"--proxy-ca=x"}, []string{"--proxy-ca is given without --proxy-listen"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--no-disks", "--state=" + filepath.Join(t.TempDir(), "state")}, test.args...)
			wantLines(t, fails(t, command(t, args...)), test.want...)
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	var out, errs bytes.Buffer
	if code := start([]string{"--help"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "--guest-growth") || errs.Len() != 0 {
		t.Errorf("--help: %d, %q, %q", code, out.String(), errs.String())
	}
	out.Reset()
	if code := start([]string{"--version"}, &out, &errs); code != 0 || strings.TrimSpace(out.String()) == "" {
		t.Errorf("--version: %d, %q", code, out.String())
	}
}

// TestBadSurroundings: each gets its line, and nothing stays attached, listening or locked.
func TestBadSurroundings(t *testing.T) {
	needsRoot(t)
	tests := map[string]struct {
		prepare func(t *testing.T, state string) (args []string)
		want    []string
	}{
		"taken ports": {func(t *testing.T, _ string) []string {
			first, second := listen(t), listen(t)
			return []string{"--listen=" + first, "--admin-listen=" + second}
		}, []string{"--listen: listen tcp", "--admin-listen: listen tcp"}},
		"the state is a file": {func(t *testing.T, state string) []string {
			write(t, state, "x")
			return nil
		}, []string{"--state: mkdir"}},
		"unreadable state": {func(t *testing.T, state string) []string {
			write(t, filepath.Join(state, "state.db"), strings.Repeat("garbage ", 5000))
			return nil
		}, []string{"state"}},
		"damaged state": {damagedState, []string{"state.db: it is damaged"}},
		"newer state":   {newerState, []string{"written by a newer version of the simulator: it has version 99"}},
		"not ours": {func(t *testing.T, state string) []string {
			write(t, filepath.Join(state, "state.db"), "# a text of somebody\n")
			return nil
		}, []string{"state.db"}},
		"unreadable addresses": {func(t *testing.T, state string) []string {
			write(t, filepath.Join(state, "addresses.json"), "{")
			return nil
		}, []string{"addresses of the load balancers"}},
		"unreadable record of a disk": {func(t *testing.T, state string) []string {
			write(t, filepath.Join(state, "disks", "d1.plug"), "{")
			return nil
		}, []string{"record of disk d1"}},
		"unreadable authority": {func(t *testing.T, state string) []string {
			write(t, filepath.Join(state, "proxy-ca.key"), "garbage")
			return []string{"--proxy-listen=127.0.0.1:0"}
		}, []string{"certificate authority"}},
		"nowhere for the certificate": {func(*testing.T, string) []string {
			return []string{"--proxy-listen=127.0.0.1:0", "--proxy-ca=/proc/nowhere/ca.pem"}
		}, []string{"publish the proxy's certificate"}},
		"full disk": {fillDisk, []string{"no space left on device"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			free := testaddr.Next().String()
			args := append([]string{"--state=" + state, "--listen=" + free, "--admin-listen="}, test.prepare(t, state)...)
			wantLines(t, fails(t, command(t, args...)), test.want...)
			if left := loopsOf(t, state); len(left) != 0 {
				t.Errorf("loop devices are left: %v", left)
			}
			if left := mountsBelow(t, state); len(left) != 0 {
				t.Errorf("mounts are left: %v", left)
			}
			listener, err := net.Listen("tcp", free)
			if err != nil {
				t.Fatal(err)
			}
			_ = listener.Close()
		})
	}
}

func listen(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newerState is what a later version of the program might leave.
func newerState(t *testing.T, state string) []string {
	t.Helper()
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(state, "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return meta.Put([]byte("version"), []byte("99"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return nil
}

// damagedState is cut off after the two pages that say where everything is.
func damagedState(t *testing.T, state string) []string {
	t.Helper()
	p := launch(t, "--no-disks", "--balancers=off", "--state="+state)
	p.addInstance("worker-1")
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if err := os.Truncate(filepath.Join(state, "state.db"), 8192); err != nil {
		t.Fatal(err)
	}
	return nil
}

// fillDisk puts the state on a file system without room.
func fillDisk(t *testing.T, state string) []string {
	t.Helper()
	if err := os.MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	testns.Need(t)
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(state, 0); err != nil {
			t.Error(err)
		}
	})
	filler, err := os.Create(filepath.Join(state, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filler.Write(make([]byte, 64<<10)); !errors.Is(err, unix.ENOSPC) && err != nil {
		t.Fatal(err)
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	return nil
}

func TestWithoutRoot(t *testing.T) {
	needsRoot(t)
	// The test binary lies where others may not look.
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "simulator")
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "--state="+filepath.Join(dir, "state"))
	cmd.Path = program
	// Built for coverage, it would complain that it cannot write where the tests may.
	cmd.Env = append(cmd.Env, "GOCOVERDIR="+writableByAll(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	wantLines(t, fails(t, cmd), "only root can make")
	if _, err := os.Stat(filepath.Join(dir, "state")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a state directory was made: %v", err)
	}
}

func writableByAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // that is what it is for
		t.Fatal(err)
	}
	return dir
}

func TestOneSimulatorPerState(t *testing.T) {
	state := t.TempDir()
	p := launch(t, "--no-disks", "--state="+state)
	wantLines(t, fails(t, command(t, "--no-disks", "--state="+state, "--listen=127.0.0.1:0", "--admin-listen=")), "another simulator uses it")
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

// TestDelaysAreSaid: whoever starts the program learns how long things take.
func TestDelaysAreSaid(t *testing.T) {
	p := launch(t, "--no-disks", "--state="+t.TempDir(), "--time-scale=0.5", "--delay-attach=10s", "--read-lag=blocks.get=2s,vfs=30ms", "--guest-growth=reattach")
	for _, part := range []string{"times 0.5", "block-create", "1.5s", "attach", "5s", "load-balancer", "10s", "blocks.get", "1s ", "15ms", "after a new attach", "every key is accepted"} {
		if !strings.Contains(p.out.String(), part) {
			t.Errorf("%q is not said:\n%s", part, p.out)
		}
	}
}

// TestFaultPlan: a plan from a file is in force for the first request.
func TestFaultPlan(t *testing.T) {
	plan := filepath.Join(t.TempDir(), "plan")
	write(t, plan, `[{"action":"status","status":503,"operation":"get_account","times":1},{"action":"stale","operation":"list_blocks"}]`)
	p := launch(t, "--no-disks", "--state="+t.TempDir(), "--faults="+plan)
	if !strings.Contains(p.out.String(), "2 in force") {
		t.Errorf("nobody is told of the faults:\n%s", p.out)
	}
	if call(http.MethodGet, p.api+"/account", nil, nil) || !call(http.MethodGet, p.api+"/account", nil, nil) {
		t.Error("the plan is not in force, or for more than one request")
	}
}

func TestEverythingIsServed(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	write(t, keys, "# ours\ntest\n")
	metadata := testaddr.Next().String()
	p := launch(t, "--no-disks", "--state="+t.TempDir(), "--api-key-file="+keys, "--metadata-listen="+metadata)
	if !call(http.MethodGet, p.api+"/account", nil, nil) {
		t.Error("the API refuses a good key")
	}
	var made struct{ ID string }
	if !call(http.MethodPost, p.adm+"instances", map[string]string{"label": "worker-1", "MainIP": "127.0.0.1"}, &made) {
		t.Fatal("no instance was made")
	}
	if text := fetch(t, p.adm); !strings.Contains(text, "worker-1") {
		t.Error("the status page does not show the instance")
	}
	if text := fetch(t, "http://"+metadata+"/v1/instance-v2-id"); text != made.ID {
		t.Errorf("the metadata service says %q", text)
	}
	write(t, keys, "another\n")
	p.await("the old key to be refused", func() bool { return !call(http.MethodGet, p.api+"/account", nil, nil) })
}

// TestPagesOfOthersAreRefused: what a browser sends for another page changes nothing on the operator's address.
func TestPagesOfOthersAreRefused(t *testing.T) {
	p := launch(t, "--no-disks", "--balancers=off", "--state="+t.TempDir())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.adm+"faults", strings.NewReader(`{"action":"hang"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "text/plain")
	request.Header.Set("Origin", "https://evil.example")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if faults := fetch(t, p.adm+"faults"); response.StatusCode != http.StatusForbidden || strings.TrimSpace(faults) != "[]" {
		t.Errorf("%s, faults %s", response.Status, faults)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
