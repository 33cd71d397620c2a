package box

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// TestMain lets this program be the init of a box too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Command {
		fmt.Fprintln(os.Stderr, Init(context.Background(), os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// startBox starts a box over this machine's own root file system.
func startBox(t *testing.T, binds ...Bind) (*Client, *exec.Cmd, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a box is made of namespaces")
	}
	group := fmt.Sprintf("/cpv-box-test-%d", os.Getpid())
	if err := cgroup.Create(group); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cgroup.Kill(ctx, group); err != nil {
			t.Error(err)
		}
		if err := cgroup.Remove(ctx, group); err != nil {
			t.Error(err)
		}
	})
	// Not t.TempDir: its path can be too long for a socket.
	dir, err := os.MkdirTemp("", "box-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{
		Name: "box-under-test", Dir: dir, Root: "/", Cgroup: group,
		Binds:   append(binds, Bind{Source: filepath.Dir(program), Target: filepath.Dir(program)}),
		Sysctls: map[string]string{"kernel/panic": "77"},
	}
	argv, err := spec.Write(program)
	if err != nil {
		t.Fatal(err)
	}
	init := exec.Command(argv[0], argv[1:]...)
	init.Stderr = os.Stderr
	init.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: Namespaces}
	if err := init.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- init.Wait() }()
	client := NewClient(dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := client.WaitReady(ctx, ended); err != nil {
		t.Fatal(err)
	}
	return client, init, group
}

func TestBoxIsAMachineOfItsOwn(t *testing.T) {
	client, _, _ := startBox(t)
	for command, want := range map[string]string{
		"hostname || cat /etc/hostname":                           "box-under-test\n",
		"cat /proc/sys/kernel/panic":                              "77\n",
		"ls /sys/class/net":                                       "lo\n",
		"echo written > /etc/box-was-here; cat /etc/box-was-here": "written\n",
	} {
		got, err := client.Run(t.Context(), "sh", "-c", command)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", command, got, err, want)
		}
	}
	if _, err := os.Stat("/etc/box-was-here"); !os.IsNotExist(err) {
		t.Errorf("what the box wrote is outside: %v", err)
	}
	if _, err := client.Run(t.Context(), "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "exit code 3: why") {
		t.Errorf("a program that fails: %v", err)
	}
}

// sharedDir is a directory with a shared mount below it, as the simulated cloud publishes file systems in.
func sharedDir(t *testing.T) (dir, mount string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	dir = t.TempDir()
	mount = filepath.Join(dir, "mounts")
	for _, d := range []string{mount, mount + "/outside", mount + "/inside"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(mount, mount, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", mount, "", propagation, ""); err != nil {
			t.Fatal(err)
		}
	}
	return dir, mount
}

// TestMountsOutsideFollow: what is mounted outside comes and goes in the box and in a container in it, where a bind is to
// follow and nowhere else, and not the other way round.
func TestMountsOutsideFollow(t *testing.T) {
	dir, mount := sharedDir(t)
	client, _, _ := startBox(t, Bind{Source: dir, Target: "/tmp/follows", Follows: true}, Bind{Source: dir, Target: "/tmp/plain"})
	container := []string{"unshare", "--mount", "--propagation", "slave", "sleep", "1000"}
	pid, err := client.Start(t.Context(), Program{Name: "container", Argv: container, Log: "/tmp/log"})
	if err != nil {
		t.Fatal(err)
	}
	// It is to be there before anything is mounted.
	apart := fmt.Sprintf("until [ $(readlink /proc/%d/ns/mnt) != $(readlink /proc/1/ns/mnt) ]; do sleep 0.02; done", pid)
	if _, err := client.Run(t.Context(), "sh", "-c", apart); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Run(t.Context(), "mount", "-t", "tmpfs", "tmpfs", "/tmp/follows/mounts/inside"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Run(t.Context(), "touch", "/tmp/follows/mounts/inside/file"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mount + "/inside/file"); !os.IsNotExist(err) {
		t.Errorf("what the box mounted is outside: %v", err)
	}
	if err := unix.Mount("tmpfs", mount+"/outside", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mount+"/outside/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const file = "/mounts/outside/file"
	inContainer := fmt.Sprintf("/proc/%d/root/tmp/follows%s", pid, file)
	for path, want := range map[string]bool{"/tmp/follows" + file: true, inContainer: true, "/tmp/plain" + file: false} {
		if _, err := client.Run(t.Context(), "test", "-e", path); (err == nil) != want {
			t.Errorf("mounted outside, %s in the box: %v, want it to be there: %t", path, err, want)
		}
	}
	if err := unix.Unmount(mount+"/outside", 0); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/tmp/follows" + file, inContainer} {
		if _, err := client.Run(t.Context(), "test", "-e", path); err == nil {
			t.Errorf("unmounted outside, %s is there", path)
		}
	}
}

func TestKillingTheInitKillsAll(t *testing.T) {
	client, init, group := startBox(t)
	for n := range 3 {
		// One level deeper: a PID namespace inside the box, as a container's is.
		argv := []string{"unshare", "--pid", "--fork", "sh", "-c", "sleep 1000 & sleep 1000"}
		if _, err := client.Start(t.Context(), Program{Name: fmt.Sprint("sleepers-", n), Argv: argv, Log: "/tmp/log"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		pids, err := cgroup.Processes(group)
		if err != nil {
			t.Fatal(err)
		}
		if len(pids) >= 10 { // the init, and 3 times unshare, sh and at least one sleep
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("only %d processes run", len(pids))
		}
		time.Sleep(20 * time.Millisecond) // between two looks at the cgroup
	}
	if err := init.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		pids, err := cgroup.Processes(group)
		if err != nil {
			t.Fatal(err)
		}
		if len(pids) == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("processes %v survived the init", pids)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at the cgroup
	}
}

func TestProgramsEnd(t *testing.T) {
	client, _, _ := startBox(t)
	if _, err := client.Start(t.Context(), Program{Name: "sleeper", Argv: []string{"sleep", "1000"}, Log: "/tmp/log"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Start(t.Context(), Program{Name: "sleeper", Argv: []string{"sleep", "1000"}, Log: "/tmp/log"}); err == nil {
		t.Error("a second program of one name was started")
	}
	if err := client.Kill(t.Context(), "sleeper"); err != nil {
		t.Fatal(err)
	}
	programs, err := client.Programs(t.Context())
	if err != nil || len(programs) != 1 || programs[0].Running || programs[0].Code != 128+9 {
		t.Errorf("after its end: %+v, %v", programs, err)
	}
}

func TestDial(t *testing.T) {
	client, _, _ := startBox(t)
	if _, err := client.Dial(t.Context(), "tcp", "127.0.0.1:9"); err == nil {
		t.Error("a port nobody listens on was reached")
	}
	// Each box has an agent that listens: reach it through itself.
	conn, err := client.Dial(t.Context(), "unix", client.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprint(conn, "GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "204") {
		t.Errorf("through the box: %q, %v", line, err)
	}
}
