package vfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

const (
	shared = "2f5d7a31-4fe4-4f8e-9a51-0c8f1c9f0001"
	alpha  = "aaaaaaaa-0000-4000-8000-000000000001"
	beta   = "bbbbbbbb-0000-4000-8000-000000000002"
	tagA   = 79287343
	tagB   = 79287344
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newPlane makes a plane with one file system that leaves no mount behind, however the test ends.
func newPlane(t *testing.T) *Plane {
	t.Helper()
	testns.Need(t)
	p, err := New(t.TempDir())
	must(t, err)
	t.Cleanup(func() {
		if err := p.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("the test leaves mounts: %v", err)
			_ = unix.Unmount(p.vfsDir(alpha), unix.MNT_DETACH) // so that the directory can go
			_ = unix.Unmount(p.vfsDir(beta), unix.MNT_DETACH)
		}
	})
	must(t, p.Ensure(t.Context(), shared))
	must(t, p.Ensure(t.Context(), shared))
	return p
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s: %q, %v; want %q", path, got, err, want)
	}
}

func wantBusy(t *testing.T, err error, holder string) {
	t.Helper()
	busy, ok := errors.AsType[*simulator.BusyError](err)
	if !ok || !strings.Contains(busy.Holder, holder) || busy.Disk != shared {
		t.Errorf("got %v, want a BusyError that names %q", err, holder)
	}
}

func wantAttached(t *testing.T, p *Plane, want ...simulator.FileSystemAttachment) {
	t.Helper()
	got, err := p.Attached(t.Context())
	must(t, err)
	if len(got) != len(want) {
		t.Errorf("published: %+v, want %+v", got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("published: %+v, want %+v", got[i], want[i])
		}
	}
}

func TestSeveralInstances(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	for range 2 { // again: no change
		must(t, p.Attach(ctx, shared, tagA, alpha))
		must(t, p.Attach(ctx, shared, tagB, beta))
	}
	wantAttached(t, p, simulator.FileSystemAttachment{ID: shared, InstanceID: alpha, MountTag: tagA}, simulator.FileSystemAttachment{ID: shared, InstanceID: beta, MountTag: tagB})
	write(t, filepath.Join(p.publication(alpha, tagA), "greeting"), "hello")
	wantText(t, filepath.Join(p.publication(beta, tagB), "greeting"), "hello")

	if err := p.Remove(ctx, shared); !errors.Is(err, simulator.ErrPlugged) {
		t.Errorf("removing a file system that is attached: %v", err)
	}
	must(t, p.Detach(ctx, shared, tagA, alpha))
	must(t, p.Detach(ctx, shared, tagA, alpha))
	if _, err := os.Stat(p.publication(alpha, tagA)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a detached file system is still to be seen: %v", err)
	}
	wantText(t, filepath.Join(p.publication(beta, tagB), "greeting"), "hello")
	must(t, p.Forget(ctx, beta)) // something is published there: no change
	wantAttached(t, p, simulator.FileSystemAttachment{ID: shared, InstanceID: beta, MountTag: tagB})
	must(t, p.Detach(ctx, shared, tagB, beta))

	must(t, p.Attach(ctx, shared, tagB, alpha)) // the content outlives its attachments
	wantText(t, filepath.Join(p.publication(alpha, tagB), "greeting"), "hello")
	must(t, p.Detach(ctx, shared, tagB, alpha))
	must(t, p.Remove(ctx, shared))
	must(t, p.Remove(ctx, shared))
	if ids, err := p.List(ctx); err != nil || len(ids) != 0 {
		t.Errorf("file systems %v, %v", ids, err)
	}
	must(t, p.Forget(ctx, alpha))
	if _, err := os.Stat(p.vfsDir(alpha)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the forgotten instance's directory: %v", err)
	}
}

// TestHolders: what an instance uses is never taken away, whoever else uses the same file system.
func TestHolders(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Attach(ctx, shared, tagA, alpha))
	must(t, p.Attach(ctx, shared, tagB, beta))
	first, second := t.TempDir(), t.TempDir()
	must(t, unix.Mount(p.publication(alpha, tagA), first, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(first, unix.MNT_DETACH) }) // usually unmounted below
	// A mount of a mount, as a container's of what its kubelet mounted.
	must(t, unix.Mount(first, second, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(second, unix.MNT_DETACH) }) // usually unmounted below

	wantBusy(t, p.Detach(ctx, shared, tagA, alpha), "mounted on "+first)
	must(t, p.Detach(ctx, shared, tagB, beta)) // not beta's affair
	must(t, unix.Unmount(first, 0))
	wantBusy(t, p.Detach(ctx, shared, tagA, alpha), "mounted on "+second)
	must(t, unix.Unmount(second, 0))

	path := filepath.Join(p.publication(alpha, tagA), "open")
	f, err := os.Create(path)
	must(t, err)
	wantBusy(t, p.Detach(ctx, shared, tagA, alpha), "open")
	wantText(t, path, "") // it stays
	must(t, f.Close())
	must(t, p.Detach(ctx, shared, tagA, alpha))
	wantAttached(t, p)
}

// worker is a shell in a mount namespace of its own that has bound an instance's directory.
type worker struct {
	t   *testing.T
	dir string
	in  io.Writer
	out *bufio.Reader
}

func startWorker(t *testing.T, p *Plane, instance string) *worker {
	t.Helper()
	for _, name := range []string{"unshare", "mount", "umount"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s", name)
		}
	}
	must(t, p.Prepare(instance))
	w := &worker{t: t, dir: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), "unshare", "-m", "--propagation", "slave", "sh")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // the shell's last status
	})
	w.in, w.out = in, bufio.NewReader(out)
	w.run("mkdir %s/cloud %s/staged", w.dir, w.dir)
	w.run("mount --rbind %s %s/cloud", filepath.Dir(p.vfsDir(instance)), w.dir)
	return w
}

// run demands that the command succeeds.
func (w *worker) run(format string, args ...any) {
	w.t.Helper()
	command := fmt.Sprintf(format, args...)
	_, err := fmt.Fprintf(w.in, "%s; echo $?\n", command)
	must(w.t, err)
	answer, err := w.out.ReadString('\n')
	must(w.t, err)
	if strings.TrimSpace(answer) != "0" {
		w.t.Fatalf("%s: status %s", command, answer)
	}
}

// TestWorkersSeeFileSystemsComeAndGo is the life of a file system on two machines that were there before it.
func TestWorkersSeeFileSystemsComeAndGo(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	a, b := startWorker(t, p, alpha), startWorker(t, p, beta)
	must(t, p.Attach(ctx, shared, tagA, alpha))
	must(t, p.Attach(ctx, shared, tagB, beta))
	a.run("mount --bind %s/cloud/vfs/%d %s/staged", a.dir, tagA, a.dir)
	b.run("mount --bind %s/cloud/vfs/%d %s/staged", b.dir, tagB, b.dir)
	a.run("echo hello >%s/staged/greeting", a.dir)
	b.run("grep -q hello %s/staged/greeting", b.dir)
	a.run("test ! -e %s/cloud/vfs/%d", a.dir, tagB)

	// Each machine holds its own only. A file system that is held stays, also in the machine's eyes.
	wantBusy(t, p.Detach(ctx, shared, tagA, alpha), "mounted on "+a.dir+"/staged")
	a.run("test -e %s/cloud/vfs/%d/greeting", a.dir, tagA)
	b.run("mount --make-shared %s/staged && mkdir %s/pod && mount --bind %s/staged %s/pod && mount --make-slave %s/pod", b.dir, b.dir, b.dir, b.dir, b.dir)
	b.run("umount %s/staged", b.dir)
	wantBusy(t, p.Detach(ctx, shared, tagB, beta), "mounted on "+b.dir+"/pod")
	b.run("umount %s/pod", b.dir)
	must(t, p.Detach(ctx, shared, tagB, beta))
	b.run("test ! -e %s/cloud/vfs/%d", b.dir, tagB)

	a.run("umount %s/staged", a.dir)
	a.run("cd %s/cloud/vfs/%d", a.dir, tagA)
	wantBusy(t, p.Detach(ctx, shared, tagA, alpha), "works in it")
	a.run("cd /")
	must(t, p.Detach(ctx, shared, tagA, alpha))
	a.run("test -z \"$(ls %s/cloud/vfs)\"", a.dir)
}

func TestUsed(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	used := func() int64 {
		t.Helper()
		p.used.forget(shared)
		bytes, err := p.Used(ctx, shared)
		must(t, err)
		return bytes
	}
	if got := used(); got != 0 {
		t.Errorf("an empty file system uses %d bytes", got)
	}
	write(t, filepath.Join(p.content(shared), "a"), strings.Repeat("x", 1<<20))
	must(t, os.Link(filepath.Join(p.content(shared), "a"), filepath.Join(p.content(shared), "b")))
	must(t, os.Truncate(filepath.Join(p.content(shared), "a"), 1<<30)) // a hole takes no room
	if got := used(); got < 1<<20 || got > 2<<20 {
		t.Errorf("1 MiB uses %d bytes", got)
	}
	write(t, filepath.Join(p.content(shared), "c"), strings.Repeat("x", 4<<20))
	if got := used(); got < 5<<20 {
		t.Errorf("5 MiB use %d bytes", got)
	}
}

// TestDeepDirectories: a guest can make paths that are longer than the kernel takes.
func TestDeepDirectories(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	name := strings.Repeat("d", 250)
	at, err := unix.Open(p.content(shared), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range 20 {
		must(t, unix.Mkdirat(at, name, 0o755))
		deeper, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, errors.Join(err, unix.Close(at)))
		at = deeper
	}
	must(t, unix.Close(at))
	write(t, filepath.Join(p.content(shared), "file"), "content") // directories take no space everywhere
	if used, err := p.Used(ctx, shared); err != nil || used == 0 {
		t.Errorf("%d bytes in use, %v", used, err)
	}
	must(t, p.Remove(ctx, shared))
}

func TestUsageIsRememberedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUsage()
		u.note(shared, 7)
		time.Sleep(usageAge - time.Millisecond) // fake time
		if got, ok := u.recent(shared); !ok || got != 7 {
			t.Errorf("a fresh answer: %d, %t", got, ok)
		}
		time.Sleep(time.Millisecond) // fake time
		if got, ok := u.recent(shared); ok {
			t.Errorf("an old answer is used again: %d", got)
		}
	})
}

// TestAfterAReboot: directories are there, mounts are not.
func TestAfterAReboot(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Attach(ctx, shared, tagA, alpha))
	must(t, p.Attach(ctx, shared, tagB, alpha))
	write(t, filepath.Join(p.publication(alpha, tagA), "greeting"), "hello")
	must(t, unix.Unmount(p.vfsDir(alpha), unix.MNT_DETACH)) // and all that is on it
	wantAttached(t, p)
	must(t, p.Attach(ctx, shared, tagA, alpha))
	wantText(t, filepath.Join(p.publication(alpha, tagA), "greeting"), "hello")
	must(t, p.Detach(ctx, shared, tagA, alpha))
	must(t, p.Detach(ctx, shared, tagB, alpha))
	must(t, p.Forget(ctx, alpha))
}

// TestContentRemovedByHand: a file system whose directory somebody has removed is still known by its name, and goes.
func TestContentRemovedByHand(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	must(t, p.Attach(ctx, shared, tagA, alpha))
	must(t, os.RemoveAll(p.content(shared)))
	wantAttached(t, p, simulator.FileSystemAttachment{ID: shared, InstanceID: alpha, MountTag: tagA})
	must(t, p.Detach(ctx, shared, tagA, alpha))
	wantAttached(t, p)
}

func TestBadNames(t *testing.T) {
	p, ctx := newPlane(t), t.Context()
	for name, err := range map[string]error{
		"parent":      p.Ensure(ctx, "../x"),
		"instance":    p.Attach(ctx, shared, tagA, ".."),
		"empty":       p.Remove(ctx, ""),
		"no content":  p.Attach(ctx, beta, tagA, alpha),
		"braces":      p.Ensure(ctx, "{"+shared+"}"),
		"not prepare": p.Prepare("x/y"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	must(t, p.Detach(ctx, beta, tagA, alpha))
	must(t, p.Forget(ctx, alpha))
}

// The child's environment: the root to work on and the number of the step at which it kills itself.
const (
	childRoot = "VFS_TEST_ROOT"
	childStep = "VFS_TEST_STEP"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		if err := childLife(root, os.Getenv(childStep)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testns.Main(m)
}

func childLife(root, step string) error {
	p, err := New(root)
	if err != nil {
		return err
	}
	done := 0
	p.step = func(string) {
		if done++; fmt.Sprint(done) == step {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	return life(context.Background(), p)
}

func life(ctx context.Context, p *Plane) error {
	return errors.Join(p.Attach(ctx, shared, tagA, alpha), p.Detach(ctx, shared, tagA, alpha))
}

// TestKilledAtEveryStep kills a process after each step of an attach and a detach, and has the next one repeat the
// calls, or undo them by what it finds.
func TestKilledAtEveryStep(t *testing.T) {
	undo := func(ctx context.Context, p *Plane) error { return p.Release(ctx) }
	for name, proceed := range map[string]func(context.Context, *Plane) error{"repeats": life, "undoes": undo} {
		t.Run(name, func(t *testing.T) {
			p := newPlane(t)
			steps := 0
			for ended := false; !ended; steps++ {
				ended = runChild(t, p.root, steps+1)
				next, err := New(p.root)
				must(t, err)
				must(t, proceed(t.Context(), next))
				wantAttached(t, p)
				must(t, next.Forget(t.Context(), alpha))
			}
			if steps < 6 {
				t.Errorf("only %d steps were cut at", steps)
			}
		})
	}
}

// runChild reports whether the child lived to its end instead of being killed.
func runChild(t *testing.T, root string, step int) (ended bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childRoot+"="+root, childStep+"="+fmt.Sprint(step))
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if err == nil {
		return true
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child failed: %v", err)
	}
	return false
}
