package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// document reads one of the manual's pages.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSimulatorPage runs the commands of the main page against a simulator that is started as it says, on ports and in
// a directory of the test.
func TestSimulatorPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	page := document(t, "simulator.md")
	started := regexp.MustCompile(`(?m)^sudo bin/simulator (.*)$`).FindStringSubmatch(page)
	plan := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(page)
	if started == nil || plan == nil || !strings.Contains(page, "`--proxy-listen 127.0.0.1:8443`") {
		t.Fatal("the page does not say how to start the simulator, its proxy, or one with a plan")
	}
	state := t.TempDir()
	args := strings.Fields(regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(strings.ReplaceAll(started[1], "/tmp/cloud", state), "127.0.0.1:0"))
	if os.Geteuid() != 0 {
		args = append(args, "--no-disks")
	}
	p := launch(t, append(args, "--proxy-listen", "127.0.0.1:0")...)
	proxy := regexp.MustCompile(`HTTPS_PROXY=(\S+)`).FindStringSubmatch(p.out.String())
	script := []string{"set -eu; curl() { command curl --fail --silent --show-error --max-time 60 \"$@\"; }"}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			if !strings.HasPrefix(line, "make ") && !strings.HasPrefix(line, "sudo bin/simulator ") {
				script = append(script, strings.TrimSpace(line))
			}
		}
	}
	text := strings.NewReplacer("http://127.0.0.1:8080/v2", p.api, "http://127.0.0.1:8081/", p.adm,
		"http://127.0.0.1:8443", proxy[1], "/tmp/cloud", state).Replace(strings.Join(script, "\n"))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", text)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()} // no CURL_CA_BUNDLE
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), `{"account":`) != 2 {
		t.Errorf("the page's commands: %v\n%s\n%s", err, text, out)
	}
	if n := len(p.view().Faults); n != 2 {
		t.Errorf("%d faults are in force, the page adds two", n)
	}
	file := filepath.Join(t.TempDir(), "plan")
	write(t, file, plan[1])
	if p := launch(t, "--no-disks", "--balancers=off", "--state="+t.TempDir(), "--faults", file); len(p.view().Faults) != 3 {
		t.Errorf("of the page's plan %d faults are in force", len(p.view().Faults))
	}
}

// TestOperatorsTable sends every request of the page's table.
func TestOperatorsTable(t *testing.T) {
	p := launch(t, "--no-disks", "--balancers=off", "--state="+t.TempDir())
	rows := regexp.MustCompile("(?m)^\\| (`(?:GET|POST|PUT|DELETE) /.*`) \\|").FindAllStringSubmatch(document(t, "simulator.md"), -1)
	sent := 0
	for _, row := range rows {
		for _, request := range regexp.MustCompile("`([A-Z]+) /([^`]*)`").FindAllStringSubmatch(row[1], -1) {
			_ = call(http.MethodPost, p.adm+"faults", map[string]any{"id": "mine", "action": "hang", "operation": "none"}, nil) // or it is there
			body := map[string]any{}
			if request[1] == http.MethodPost && request[2] == "faults" {
				body["action"] = "stale"
			}
			if path := strings.ReplaceAll(request[2], "{id}", "mine"); !call(request[1], p.adm+path, body, nil) {
				t.Errorf("%s is refused", request[0])
			}
			sent++
		}
	}
	if sent < 13 {
		t.Errorf("only %d requests were found", sent)
	}
}

// TestFlagsAreDocumented: the manual names no flag that is not there, and none is there that it does not name.
func TestFlagsAreDocumented(t *testing.T) {
	var help bytes.Buffer
	if code := start([]string{"--help"}, &help, &help); code != 0 {
		t.Fatal(code)
	}
	pages := document(t, "simulator.md") + document(t, "simulator-storage.md")
	flags := regexp.MustCompile(`--[a-z][a-z0-9-]+`)
	known := map[string]bool{"--help": true}
	for _, line := range regexp.MustCompile(`(?m)^ +(?:-[a-z], )?(--[a-z0-9-]+)`).FindAllStringSubmatch(help.String(), -1) {
		known[line[1]] = true
	}
	others := map[string]bool{ // of other programs, in the order of the pages
		"--api-url": true, "--vultr-api-url": true, "--device-dir": true, "--sysfs-block-dir": true, "--vfs-dir": true,
		"--fail-with-body": true, "--getsize64": true, "--bind": true, "--rbind": true, "--propagation": true,
	}
	named := map[string]bool{}
	for _, flag := range flags.FindAllString(pages, -1) {
		named[flag] = true
		if !known[flag] && !others[flag] {
			t.Errorf("the manual names %s, which is not there", flag)
		}
	}
	for flag := range known {
		usual := strings.HasPrefix(flag, "--delay-") || flag == "--v" || flag == "--vmodule" || flag == "--version" || flag == "--help"
		if !named[flag] && !usual { // delays are printed at the start
			t.Errorf("the manual does not name %s", flag)
		}
	}
}

// TestStoragePage runs the commands of the page on storage against a simulator of its own.
func TestStoragePage(t *testing.T) {
	needsRoot(t)
	for _, name := range []string{"curl", "jq", "mkfs.ext4", "resize2fs", "blockdev"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s", name)
		}
	}
	script := []string{`set -eu; trap 'umount -q "${DIR:-/nonexistent}" || true' EXIT`}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(document(t, "simulator-storage.md"), -1) {
		script = append(script, block[1])
	}
	if len(script) < 9 {
		t.Fatalf("only %d blocks of commands were found", len(script)-1)
	}
	state := t.TempDir()
	p := launch(t, "--state", state, "--time-scale=0.05", "--balancers=off")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.Join(script, "\n"))
	cmd.Env = append(os.Environ(), "API="+p.api, "ADMIN="+strings.TrimSuffix(p.adm, "/"), "STATE="+state, "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), ": refused") {
		t.Errorf("the page's commands: %v\n%s\nThe simulator said:\n%s", err, out, p.out)
	}
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if left := append(loopsOf(t, state), mountsBelow(t, state)...); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
