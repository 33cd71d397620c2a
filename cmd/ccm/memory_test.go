package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testaddr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// settled is how long the program is left alone before its memory is read, so that what the start allocated is
// returned to the system.
const settled = 30 * time.Second

// BenchmarkMemory reports the resident memory of the program, with its defaults, in a cluster of 1,000 nodes that it
// initialised: after a while of quiet, the part of it that is not pages of the program's file, and the peak.
func BenchmarkMemory(b *testing.B) {
	const n = 1000
	program := buildProgram(b)
	for b.Loop() {
		r := newNodesRig(b, n)
		pid := startProgram(b, program, r.server.url, r.cloud)
		r.await(b, n)
		time.Sleep(settled) // nothing is waited for: it is what is measured
		b.ReportMetric(memoryMB(b, pid, "VmRSS"), "MB")
		b.ReportMetric(memoryMB(b, pid, "RssAnon"), "anonymous-MB")
		b.ReportMetric(memoryMB(b, pid, "VmHWM"), "peak-MB")
	}
}

// buildProgram builds it as it is released.
func buildProgram(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "ccm")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".").CombinedOutput(); err != nil { //nolint:gosec // the test's own
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

// startProgram starts the program between an API server and a cloud, until the benchmark ends.
func startProgram(b *testing.B, program, apiServer string, cloud *simtest.Cloud, args ...string) (pid int) {
	b.Helper()
	dir := b.TempDir()
	serving := testaddr.Next()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	config := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '" + apiServer + "'}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
	if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	args = append([]string{
		"--cloud-provider=vultr", "--kubeconfig=" + kubeconfig, "--leader-elect=false", "--configure-cloud-routes=false",
		"--bind-address=" + serving.Addr().String(), "--secure-port=" + strconv.Itoa(int(serving.Port())), "--cert-dir=" + dir, "--v=2",
	}, args...)
	cmd := exec.CommandContext(b.Context(), program, args...) //nolint:gosec // the test's own
	cmd.Env = append(os.Environ(), "VULTR_API_KEY="+cloud.Key, "API_URL="+cloud.URL)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Cancel() // it may have ended, which the log tells
		_ = cmd.Wait()
		if b.Failed() {
			text, err := os.ReadFile(log.Name())
			b.Logf("%s %v", text, err)
		}
	})
	return cmd.Process.Pid
}

// memoryMB reads a field of the process's status, in MB as the kernel counts them.
func memoryMB(b *testing.B, pid int, field string) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatalf("the process has no %s", field)
	return 0
}
