package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestStoragePage runs the commands of the page on storage against a simulator of its own.
func TestStoragePage(t *testing.T) {
	needsRoot(t)
	for _, name := range []string{"curl", "jq", "mkfs.ext4", "resize2fs", "blockdev"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s", name)
		}
	}
	page, err := os.ReadFile("../../docs/simulator-storage.md")
	if err != nil {
		t.Fatal(err)
	}
	script := []string{`set -eu; trap 'umount -q "${DIR:-/nonexistent}" || true' EXIT`}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
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
