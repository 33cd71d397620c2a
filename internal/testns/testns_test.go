package testns

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

// sees reports whether a process sees a mount at path.
func sees(t *testing.T, process, path string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/" + process + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), " "+path+" ")
}

func mountAt(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) }) // usually unmounted
}

// TestNobodyOutsideSeesMounts: not the process that started the tests, whose namespace others copy.
func TestNobodyOutsideSeesMounts(t *testing.T) {
	Need(t)
	path := t.TempDir()
	mountAt(t, path)
	if !sees(t, "self", path) || sees(t, strconv.Itoa(os.Getppid()), path) {
		t.Error("the mount is to be seen here, and nowhere else")
	}
}

// TestCopiesPin is why there is this package: a process with a copy of the mounts keeps what is unmounted here.
func TestCopiesPin(t *testing.T) {
	Need(t)
	path := t.TempDir()
	mountAt(t, path)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "echo ready; read end")
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
	if err := unix.Unmount(path, 0); err != nil {
		t.Fatal(err)
	}
	if sees(t, "self", path) || !sees(t, strconv.Itoa(cmd.Process.Pid), path) {
		t.Error("the copy is to have what was unmounted here")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its read ends without a line, which the shell calls a failure
}

// TestUnmountsArrive: where the machine's mounts are shared, the namespace of tests keeps none that is unmounted there.
func TestUnmountsArrive(t *testing.T) {
	Need(t)
	dir := t.TempDir()
	mountAt(t, dir)
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	mountAt(t, inner)
	// The tests again, started in this namespace as if it were the machine's.
	ready, end := filepath.Join(dir, "ready"), filepath.Join(dir, "end")
	for _, path := range []string{ready, end} {
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestGuest$")
	cmd.Env = append(os.Environ(), outside+"=", guest+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ready) // until the guest is in its namespace
	if err != nil {
		t.Fatal(err)
	}
	process := string(text)
	if !sees(t, process, inner) {
		t.Error("the guest has no copy of the mounts, so this test shows nothing")
	}
	if err := unix.Unmount(inner, 0); err != nil {
		t.Fatal(err)
	}
	if sees(t, process, inner) {
		t.Error("the namespace of tests keeps what was unmounted outside")
	}
	if sees(t, "self", filepath.Join(dir, "guest")) {
		t.Error("a mount of the guest is seen outside")
	}
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// guest is the variable with the directory of TestGuest.
const guest = "TESTNS_TEST_GUEST"

// TestGuest mounts something, says so and waits.
func TestGuest(t *testing.T) {
	dir := os.Getenv(guest)
	if dir == "" {
		return // only run by TestUnmountsArrive
	}
	path := filepath.Join(dir, "guest")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	mountAt(t, path)
	if err := os.WriteFile(filepath.Join(dir, "ready"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "end")); err != nil {
		t.Fatal(err)
	}
}

// TestExitCodes: a failure inside is one outside.
func TestExitCodes(t *testing.T) {
	Need(t)
	for test, want := range map[string]int{"^TestGuest$": 0, "(": 1} {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run="+test)
		cmd.Env = append(os.Environ(), outside+"=")
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: %v, want exit code %d", test, err, want)
		}
	}
}
