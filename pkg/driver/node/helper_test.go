package node_test

import (
	"bufio"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// startHolder starts a process in a mount namespace of its own, which keeps all mounts that there are now, as a
// container does that outlives its pod. It gives the function that ends it.
func startHolder(t *testing.T) func() {
	t.Helper()
	cmd := exec.Command("sh", "-c", "echo ready; read end")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if ended {
			return
		}
		ended = true
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // its read ends without a line, which the shell calls a failure
	}
	t.Cleanup(end)
	return end
}

// goroutines counts the goroutines of the process.
func goroutines(t *testing.T) int {
	t.Helper()
	return runtime.NumGoroutine()
}
