// Package testns runs tests that mount in a mount namespace of their own: whatever becomes of them, their mounts end
// with them, and no other process of the machine sees one.
package testns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// marker is set in the process that is in the namespace.
const marker = "TESTNS_INSIDE"

// Main runs the tests of a package; it is called by TestMain with its argument and does not return. Without root
// the tests run where they are and skip what they cannot do.
func Main(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(marker) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec // the same test again
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "running the tests in a mount namespace:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// NeedRoot skips a test that needs root and loop devices where they are missing.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it uses real loop devices and real mounts")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
}
