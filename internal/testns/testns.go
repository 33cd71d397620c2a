// Package testns runs the tests of packages that mount in a mount namespace of their own, from the very start.
//
// Packages are tested side by side, and a process that is given a mount namespace gets a copy of everything that is
// mounted where it starts: while it lives, what another test unmounts stays mounted in the copy, and its disk in use.
// In a namespace of its own a package's mounts are copied by its own children only. They also end with the tests,
// whatever becomes of those, and nobody else on the machine sees one.
package testns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// outside is the variable that names the mount namespace in which the tests were started.
const outside = "TESTNS_OUTSIDE"

// forbidden is set where root may not make mount namespaces, as in most containers.
var forbidden bool

// Main runs the tests of a package; TestMain calls it with its argument and it does not return. Without root the tests
// run where they are, and Need skips those that mount.
func Main(m *testing.M) {
	Enter()
	os.Exit(m.Run())
}

// Enter is for a TestMain with work of its own, which calls it first: it runs this program again in a mount namespace
// of its own, passes its exit code on and does not return. There, and where nobody may make one, it returns at once.
func Enter() {
	from := os.Getenv(outside)
	switch {
	case from != "":
		must(detach(from))
	case os.Geteuid() == 0:
		here, err := namespaceOf("self")
		must(err)
		again(here)
	}
}

// again runs this program in a new mount namespace. It returns only if that is forbidden.
func again(here string) {
	program, err := os.Executable() // by its name, which is what others see of it
	must(err)
	runtime.LockOSThread()                       // Pdeathsig is about the thread that started the process
	cmd := exec.Command(program, os.Args[1:]...) //nolint:gosec,noctx // the same program, until it ends
	cmd.Env = append(os.Environ(), outside+"="+here)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Not Unshareflags: with them the package syscall makes all mounts private, see detach.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(exit.ExitCode(), 1)) // -1 after a signal
	}
	if forbidden = errors.Is(err, fs.ErrPermission); forbidden {
		return
	}
	must(err)
	os.Exit(0)
}

// detach keeps what is mounted here from being seen outside. What is unmounted outside is unmounted here too, where the
// machine's mounts are shared: this namespace is to pin nobody else's either. It does nothing in the children of tests.
func detach(from string) error {
	parent, err := namespaceOf(strconv.Itoa(os.Getppid()))
	if err != nil || parent != from {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "running the tests in a mount namespace of their own:", err)
		os.Exit(1)
	}
}

func namespaceOf(process string) (string, error) { return os.Readlink("/proc/" + process + "/ns/mnt") }

// Need skips a test that mounts where that is not possible, and fails it when its TestMain does not call Main.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it uses real mounts")
	}
	if forbidden {
		t.Skip("needs CAP_SYS_ADMIN: it uses real mounts")
	}
	here, err := namespaceOf("self")
	if err != nil {
		t.Fatal(err)
	}
	if from := os.Getenv(outside); from == "" || from == here {
		t.Fatal("a test that mounts runs in the machine's mount namespace: its TestMain must call testns.Main")
	}
}

// NeedDisks is Need for tests that use loop devices too.
func NeedDisks(t testing.TB) {
	t.Helper()
	Need(t)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
}
