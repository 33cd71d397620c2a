package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
)

func TestMain(m *testing.M) { testns.Main(m) }

// tree is a directory with mounts, which end with the test.
type tree struct {
	t   *testing.T
	dir string
}

func newTree(t *testing.T) *tree {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	tr := &tree{t, t.TempDir()}
	tr.must(unix.Mount("base", tr.dir, "tmpfs", 0, ""))
	t.Cleanup(func() {
		if err := unix.Unmount(tr.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return tr
}

func (tr *tree) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

// path makes a directory of the tree.
func (tr *tree) path(name string) string {
	tr.t.Helper()
	path := filepath.Join(tr.dir, name)
	tr.must(os.MkdirAll(path, 0o700))
	return path
}

func (tr *tree) bind(from, to string, flags uintptr) string {
	tr.t.Helper()
	target := tr.path(to)
	tr.must(unix.Mount(tr.path(from), target, "", unix.MS_BIND|flags, ""))
	return target
}

func (tr *tree) propagation(name string, flags uintptr) {
	tr.t.Helper()
	tr.must(unix.Mount("", filepath.Join(tr.dir, name), "", flags, ""))
}

// volume mounts a file system of its own.
func (tr *tree) volume(name string) string {
	tr.t.Helper()
	path := tr.path(name)
	tr.must(unix.Mount("volume", path, "tmpfs", 0, ""))
	return path
}

// others lists, relative to the tree, what Others leaves of the file system at the first path.
func (tr *tree) others(paths ...string) []string {
	tr.t.Helper()
	table, err := Read()
	tr.must(err)
	for i, p := range paths {
		paths[i] = filepath.Join(tr.dir, p)
	}
	e, ok := table.At(paths[0])
	if !ok {
		tr.t.Fatalf("nothing is mounted at %s", paths[0])
	}
	var names []string
	for _, p := range table.Others(e.Number, paths...).Paths() {
		names = append(names, strings.TrimPrefix(p, tr.dir+"/"))
	}
	slices.Sort(names)
	return names
}

func (tr *tree) want(got []string, want ...string) {
	tr.t.Helper()
	if !slices.Equal(got, want) {
		tr.t.Errorf("others are %q, want %q", got, want)
	}
}

// TestDirectorySeenTwice: what is mounted below a shared directory appears at its second place too. That is the same
// mount; a bind to a pod's path is another one, though the kernel calls it a peer.
func TestDirectorySeenTwice(t *testing.T) {
	tr := newTree(t)
	tr.propagation(".", unix.MS_SHARED)
	tr.bind("kubelet", "data", 0)
	staging := tr.volume("kubelet/staging")
	tr.want(tr.others("kubelet/staging"))
	tr.want(tr.others("data/staging"))
	tr.bind("kubelet/staging", "kubelet/pod", 0)
	tr.want(tr.others("kubelet/staging"), "data/pod", "kubelet/pod")
	tr.want(tr.others("kubelet/staging", "kubelet/pod"))
	tr.want(tr.others("kubelet/staging", "data/pod"))
	tr.must(Unmount(t.Context(), filepath.Join(tr.dir, "data/pod")))
	tr.want(tr.others("kubelet/staging"))

	// One more at the same path covers all of its copies.
	tr.bind("kubelet/staging", "kubelet/staging", 0)
	tr.want(tr.others("kubelet/staging"))
	tr.must(Unmount(t.Context(), staging))
	for _, name := range []string{"kubelet/staging", "data/staging"} {
		table, err := Read()
		tr.must(err)
		if e, ok := table.At(filepath.Join(tr.dir, name)); ok {
			t.Errorf("left is %+v", e)
		}
	}
}

// TestDirectorySeenByAReceiver: a place that only receives loses what the first one unmounts, not the other way round.
func TestDirectorySeenByAReceiver(t *testing.T) {
	tr := newTree(t)
	tr.propagation(".", unix.MS_SHARED)
	tr.bind("kubelet", "data", 0)
	tr.propagation("data", unix.MS_SLAVE)
	tr.propagation("data", unix.MS_SHARED) // which passes it on
	tr.bind("data", "third", 0)
	tr.propagation("third", unix.MS_SLAVE)
	tr.volume("kubelet/staging")
	tr.want(tr.others("kubelet/staging"))
	tr.want(tr.others("data/staging"), "kubelet/staging")
	tr.want(tr.others("third/staging"), "data/staging", "kubelet/staging")
}

// TestPrivateCopies: a directory that was copied without sharing has what was mounted before, and keeps the device
// busy with it; what is mounted later it does not see.
func TestPrivateCopies(t *testing.T) {
	tr := newTree(t)
	tr.propagation(".", unix.MS_PRIVATE)
	tr.bind("kubelet", "before", 0)
	tr.volume("kubelet/staging")
	tr.bind("kubelet", "after", unix.MS_REC)
	tr.want(tr.others("kubelet/staging"), "after/staging")

	shared := newTree(t)
	shared.propagation(".", unix.MS_SHARED)
	shared.volume("kubelet/staging")
	shared.bind("kubelet", "after", unix.MS_REC)
	shared.propagation("after", unix.MS_PRIVATE)
	shared.want(shared.others("kubelet/staging"), "after/staging")
	shared.must(Unmount(t.Context(), filepath.Join(shared.dir, "kubelet/staging")))
	shared.want(shared.others("after/staging"))
}

// TestSameNameElsewhere: a mount of the volume at a path of the same name in another directory is no copy.
func TestSameNameElsewhere(t *testing.T) {
	tr := newTree(t)
	tr.propagation(".", unix.MS_SHARED)
	tr.volume("kubelet/staging")
	tr.bind("kubelet/staging", "other/staging", 0)
	tr.want(tr.others("kubelet/staging"), "other/staging")
}

// TestBusyMountIsNotDetached: a mount that is merely in use stays, whole, and the error says so.
func TestBusyMountIsNotDetached(t *testing.T) {
	tr := newTree(t)
	path := tr.volume("volume")
	file, err := os.Create(filepath.Join(path, "file"))
	tr.must(err)
	if err := Unmount(t.Context(), path); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), path) {
		t.Errorf("unmounting a busy mount: %v", err)
	}
	table, err := Read()
	tr.must(err)
	if _, ok := table.At(path); !ok {
		t.Error("a busy mount was detached")
	}
	tr.must(file.Close())
	tr.must(Unmount(t.Context(), path))
}

// TestTheLastMountIsSeen: of several at one path.
func TestTheLastMountIsSeen(t *testing.T) {
	tr := newTree(t)
	path := tr.volume("volume")
	table, err := Read()
	tr.must(err)
	first, _ := table.At(path)
	tr.must(unix.Mount("second", path, "tmpfs", 0, ""))
	table, err = Read()
	tr.must(err)
	if e, ok := table.At(path); !ok || e.Source != "second" || e.Number == first.Number {
		t.Errorf("seen is %+v", e)
	}
	tr.must(Unmount(t.Context(), path))
}

// TestBusyForAMoment: what somebody is just about to let go is unmounted and mounted all the same, and nothing else is
// waited for.
func TestBusyForAMoment(t *testing.T) {
	tr := newTree(t)
	path := tr.volume("volume")
	file, err := os.Create(filepath.Join(path, "file"))
	tr.must(err)
	let := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { let <- file.Close() }) // it is real time that Unmount waits
	tr.must(Unmount(t.Context(), path))
	tr.must(<-let)
	if err := FileSystem(t.Context(), "none", path, "no-such-type", nil); !errors.Is(err, unix.ENODEV) {
		t.Errorf("mounting what the kernel does not know: %v", err)
	}
}

// TestUnmountIsCutOff: an unmount whose call is over says so, and does not take a busy mount for a dead one.
func TestUnmountIsCutOff(t *testing.T) {
	tr := newTree(t)
	path := tr.volume("volume")
	file, err := os.Create(filepath.Join(path, "file"))
	tr.must(err)
	defer file.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Unmount(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	table, err := Read()
	tr.must(err)
	if _, ok := table.At(path); !ok {
		t.Error("a busy mount was detached")
	}
}

// mute mounts a file system whose server never answers.
func (tr *tree) mute(name string) (path string, server int) {
	tr.t.Helper()
	path = tr.path(name)
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	tr.must(err)
	tr.must(unix.Mount("mute", path, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server)))
	return path, server
}

// TestMountThatHangs: what does not answer is not called dead, and is looked at once, however often that is asked. When
// its server is gone, it is.
func TestMountThatHangs(t *testing.T) {
	tr := newTree(t)
	path, server := tr.mute("mute")
	for range 3 {
		corrupt, err := corruptWithin(t.Context(), path, 50*time.Millisecond)
		if hanging, ok := errors.AsType[*looks.HangingError](err); corrupt || !ok || !strings.Contains(hanging.Error(), path) {
			t.Fatalf("got %t, %v", corrupt, err)
		}
	}
	before := runtime.NumGoroutine()
	for range 5 {
		_, _ = corruptWithin(t.Context(), path, 50*time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, there were %d", n, before)
	}
	tr.must(unix.Close(server))
	if corrupt, err := Corrupt(t.Context(), path); err != nil || !corrupt {
		t.Errorf("without its server: %t, %v", corrupt, err)
	}
	tr.must(Unmount(t.Context(), path))
	if corrupt, err := Corrupt(t.Context(), path); err != nil || corrupt {
		t.Errorf("an empty directory: %t, %v", corrupt, err)
	}
}
