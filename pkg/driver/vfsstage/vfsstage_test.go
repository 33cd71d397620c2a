package vfsstage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testns"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

func TestMain(m *testing.M) { testns.Main(m) }

const (
	volumeID = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"
	tag      = "79287343"
	other    = "79287344"
)

// rig is a stager on a machine that shows two file systems as directories.
type rig struct {
	*Stager

	t       *testing.T
	dir     string
	staging string
	a, b    string // paths of pods
}

func newRig(t *testing.T) *rig {
	t.Helper()
	testns.Need(t)
	dir := t.TempDir()
	r := &rig{t: t, dir: dir, staging: filepath.Join(dir, "globalmount"), a: filepath.Join(dir, "a", "mount"), b: filepath.Join(dir, "b", "mount")}
	for _, d := range []string{tag, other} {
		r.must(os.MkdirAll(filepath.Join(dir, "vfs", d), 0o700))
	}
	records, err := state.Open(filepath.Join(dir, "state"))
	r.must(err)
	r.Stager = New(Config{State: records, BootID: "this-boot", Patience: time.Second, Dir: filepath.Join(dir, "vfs")})
	t.Cleanup(func() {
		table, err := mount.Read()
		if err != nil {
			t.Error(err)
		}
		for _, e := range slices.Backward(table) {
			if strings.HasPrefix(e.Path, dir) {
				_ = unix.Unmount(e.Path, unix.MNT_DETACH) // it may have gone with another one
			}
		}
	})
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) want(err error, reason volume.Reason, words ...string) {
	r.t.Helper()
	if err == nil || volume.ReasonOf(err) != reason {
		r.t.Fatalf("got %v, want reason %d", err, reason)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("%q does not say %q", err, w)
		}
	}
}

func use(change func(*staging.Use)) staging.Volume {
	v := staging.Volume{ID: volumeID, Published: map[string]string{volume.ContextSerial: tag, volume.ContextStorageType: "vfs"}}
	if change != nil {
		change(&v.Use)
	}
	return v
}

func (r *rig) stage(v staging.Volume) error { return r.Stage(r.t.Context(), v, r.staging) }

func (r *rig) publish(v staging.Volume, target string) error {
	return r.Publish(r.t.Context(), v, r.staging, target)
}

func (r *rig) unstage() error { return r.Unstage(r.t.Context(), volumeID, r.staging) }

func (r *rig) mounted(path string) bool {
	r.t.Helper()
	table, err := mount.Read()
	r.must(err)
	_, is := table.At(path)
	return is
}

// mountID tells one mount from another at the same path.
func (r *rig) mountID(path string) uint64 {
	r.t.Helper()
	var st unix.Statx_t
	r.must(unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st))
	return st.Mnt_id
}

// mute puts a mount at a path whose server never answers; it is dead when the server is closed.
func (r *rig) mute(path string) (server int) {
	r.t.Helper()
	r.must(os.MkdirAll(path, 0o700))
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	r.must(err)
	r.must(unix.Mount("mute", path, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server)))
	return server
}

// dead puts a mount at a path whose server is gone.
func (r *rig) dead(path string) {
	r.t.Helper()
	r.must(unix.Close(r.mute(path)))
	if _, err := os.ReadDir(path); !errors.Is(err, unix.ENOTCONN) {
		r.t.Fatalf("a mount without its server answers %v", err)
	}
}

// TestLife: from the tag to two pods, one of which may not write, and back. Every call is repeated.
func TestLife(t *testing.T) {
	r := newRig(t)
	readOnly := use(func(u *staging.Use) { u.ReadOnly = true })
	for range 2 {
		r.must(r.stage(use(nil)))
	}
	if stats, err := r.Stats(volumeID, r.staging); err != nil || stats.Bytes.Total == 0 {
		t.Errorf("an empty one: %+v, %v", stats, err)
	}
	for range 2 {
		r.must(r.publish(use(nil), r.a))
		r.must(r.publish(readOnly, r.b))
	}
	r.must(os.WriteFile(filepath.Join(r.a, "note"), []byte("hello"), 0o600))
	for _, path := range []string{filepath.Join(r.b, "note"), filepath.Join(r.dir, "vfs", tag, "note")} {
		if text, err := os.ReadFile(path); err != nil || string(text) != "hello" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.b, "other"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to what is published read-only: %v", err)
	}
	r.want(r.publish(readOnly, r.a), volume.Exists, "read-only")
	for _, path := range []string{r.staging, r.a, r.b} {
		if stats, err := r.Stats(volumeID, path); err != nil || stats.Bytes.Total == 0 {
			t.Errorf("%s: %+v, %v", path, stats, err)
		}
	}
	if size, err := r.Expand(t.Context(), volumeID, r.a, staging.Growth{Required: 1 << 60}); err != nil || size == 0 {
		t.Errorf("expanded to %d, %v", size, err)
	}
	r.want(r.unstage(), volume.InUse, r.a, r.b)
	for range 2 {
		r.must(r.Unpublish(t.Context(), volumeID, r.a))
	}
	r.want(r.unstage(), volume.InUse, r.b)
	r.must(r.Unpublish(t.Context(), volumeID, r.b))
	for range 2 {
		r.must(r.unstage())
	}
	if record, err := r.cfg.State.Staged(volumeID); record != nil || err != nil {
		t.Errorf("left is the record %+v, %v", record, err)
	}
	_, err := r.Stats(volumeID, r.staging)
	r.want(err, volume.NotFound)
	_, err = r.Stats(volumeID, r.a)
	r.want(err, volume.NotFound)
	if _, err := os.Stat(filepath.Join(r.dir, "vfs", tag, "note")); err != nil {
		t.Errorf("the content: %v", err)
	}
}

// TestOnePod: with ReadWriteOncePod a second path is refused; parts of the first pod's mount are none.
func TestOnePod(t *testing.T) {
	r := newRig(t)
	single := use(func(u *staging.Use) { u.Single = true })
	r.must(r.stage(single))
	for range 2 {
		r.must(r.publish(single, r.a))
	}
	r.want(r.publish(single, r.b), volume.InUse, r.a)
	r.must(r.Unpublish(t.Context(), volumeID, r.a))
	r.must(r.publish(single, r.b))
}

// TestProofOfTheTag: what is mounted at a path has to be what is asked for, or is left alone.
func TestProofOfTheTag(t *testing.T) {
	r := newRig(t)
	v := use(nil)
	v.Published[volume.ContextSerial] = other
	r.must(r.stage(v))
	before := r.mountID(r.staging)
	r.want(r.stage(use(nil)), volume.Exists, tag)
	r.want(r.publish(use(nil), r.a), volume.InUse, tag)
	r.want(r.stage(use(func(u *staging.Use) { u.Block = true })), volume.Invalid)
	for _, bad := range []string{"", "../" + tag, ".", "a/b", strings.Repeat("1", 37)} {
		v := use(nil)
		v.Published[volume.ContextSerial] = bad
		r.want(r.stage(v), volume.Invalid)
		r.want(r.publish(v, r.a), volume.Invalid)
	}
	if r.mountID(r.staging) != before {
		t.Error("the mount was replaced")
	}
	r.must(r.unstage())
	r.must(r.stage(use(nil)))
	r.must(os.MkdirAll(r.a, 0o700))
	r.must(mount.Bind(filepath.Join(r.dir, "vfs", other), r.a, false))
	r.want(r.publish(use(nil), r.a), volume.Exists, r.a)
}

// TestOptions: options are applied, and compared with what is mounted already.
func TestOptions(t *testing.T) {
	r := newRig(t)
	strict := use(func(u *staging.Use) { u.Options, u.ReadOnly = []string{"ro", "noexec", "nosuid", "dax=inode"}, true })
	r.must(r.stage(strict))
	table, err := mount.Read()
	r.must(err)
	e, _ := table.At(r.staging)
	for _, o := range []string{"ro", "noexec", "nosuid"} {
		if !slices.Contains(e.Options, o) {
			t.Errorf("mounted with %q, without %s", e.Options, o)
		}
	}
	r.must(r.stage(strict))
	r.want(r.stage(use(nil)), volume.Exists, "read-only")
	r.want(r.publish(use(nil), r.a), volume.InUse, "read-only")
	r.must(r.publish(strict, r.a))
	r.must(r.Unpublish(t.Context(), volumeID, r.a))
	r.must(r.unstage())
	r.must(r.stage(use(nil)))
	r.want(r.stage(use(func(u *staging.Use) { u.Options = []string{"noexec"} })), volume.Exists, "noexec")
}

// TestTagAppearsLate: the platform shows a file system to the guest a moment after it says so.
func TestTagAppearsLate(t *testing.T) {
	r := newRig(t)
	dir := filepath.Join(r.dir, "vfs", tag)
	r.must(os.Remove(dir))
	r.want(r.stage(use(nil)), volume.Busy, tag, "appeared")
	late := make(chan error, 1)
	time.AfterFunc(300*time.Millisecond, func() { late <- os.Mkdir(dir, 0o700) }) // it is real time that Stage waits
	r.must(r.stage(use(nil)))
	r.must(<-late)
	r.must(r.unstage())
	r.must(os.Remove(dir))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.Stage(ctx, use(nil), r.staging); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that is cut off: %v", err)
	}
	// It says by whom it is to be undone, and is undone.
	if record, err := r.cfg.State.Staged(volumeID); err != nil || record == nil || record.Kind != "vfs" {
		t.Errorf("the record is %+v, %v", record, err)
	}
	r.must(r.unstage())
}

// TestDeadMounts: what is dead is reported, replaced by staging and publishing, and taken away by their contraries.
func TestDeadMounts(t *testing.T) {
	r := newRig(t)
	r.must(r.stage(use(nil)))
	r.must(r.publish(use(nil), r.b))
	r.must(unix.Unmount(r.staging, 0))
	r.dead(r.staging)
	_, err := r.Stats(volumeID, r.staging)
	r.want(err, volume.InUse, "dead", r.staging)
	r.must(r.stage(use(nil)))
	r.must(os.WriteFile(filepath.Join(r.staging, "note"), nil, 0o600))

	// The kubelet does not stage what it takes for staged.
	r.must(unix.Unmount(r.staging, 0))
	r.dead(r.staging)
	r.dead(r.a)
	_, err = r.Stats(volumeID, r.a)
	r.want(err, volume.InUse, "dead", r.a)
	r.must(r.publish(use(nil), r.a))
	for _, path := range []string{r.staging, r.a, r.b} {
		if _, err := os.Stat(filepath.Join(path, "note")); err != nil {
			t.Error(err)
		}
	}
	r.must(r.Unpublish(t.Context(), volumeID, r.a))
	r.must(r.Unpublish(t.Context(), volumeID, r.b))

	r.must(unix.Unmount(r.staging, 0))
	r.dead(r.a)
	r.must(r.Unpublish(t.Context(), volumeID, r.a))
	if _, err := os.Lstat(r.a); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path is left: %v", err)
	}
	r.dead(r.staging)
	holder, err := unix.Open(r.staging, unix.O_PATH|unix.O_CLOEXEC, 0) // keeps it from being unmounted
	if err == nil {
		defer func() { _ = unix.Close(holder) }() // carries no data
	}
	r.must(r.unstage())
	if r.mounted(r.staging) {
		t.Error("the dead mount is left")
	}
}

// TestOnlyStagedVolumesAreHealed: publishing stages nothing that was not staged in this boot.
func TestOnlyStagedVolumesAreHealed(t *testing.T) {
	r := newRig(t)
	r.want(r.publish(use(nil), r.a), volume.InUse, "not staged")
	r.dead(r.staging)
	r.want(r.publish(use(nil), r.a), volume.InUse, "not staged")
	r.must(r.cfg.State.WriteStaged(state.Staged{VolumeID: volumeID, Serial: tag, Kind: "vfs", BootID: "an-earlier-boot"}))
	r.want(r.publish(use(nil), r.a), volume.InUse, "not staged")
}

// TestHangingMounts: what does not answer is left alone while that may pass, and then is dead.
func TestHangingMounts(t *testing.T) {
	r := newRig(t)
	r.patient = 50 * time.Millisecond
	server := r.mute(r.staging)
	t.Cleanup(func() { _ = unix.Close(server) }) // whoever looks at it comes back
	r.want(r.stage(use(nil)), volume.Busy, "has not answered")
	r.want(r.unstage(), volume.Busy, "has not answered")
	if !r.mounted(r.staging) {
		t.Fatal("it was taken away at once")
	}
	began := time.Now()
	for volume.ReasonOf(r.stage(use(nil))) == volume.Busy {
		if time.Since(began) > time.Minute {
			t.Fatal("it does not count as dead")
		}
	}
	r.must(os.WriteFile(filepath.Join(r.staging, "note"), nil, 0o600))
	r.must(r.unstage())
}

// TestWhatIsWellIsNotTouched: staging and publishing again leave a mount that is well as it is, and those who use it.
func TestWhatIsWellIsNotTouched(t *testing.T) {
	r := newRig(t)
	r.must(r.stage(use(nil)))
	r.must(r.publish(use(nil), r.a))
	staged, published := r.mountID(r.staging), r.mountID(r.a)
	for _, path := range []string{r.staging, r.a} { // whose number nobody else can get meanwhile
		holder, err := os.Open(path)
		r.must(err)
		t.Cleanup(func() { _ = holder.Close() }) // carries no data
	}
	file, err := os.Create(filepath.Join(r.a, "open"))
	r.must(err)
	defer file.Close()
	r.must(r.cfg.State.ClearStaged(volumeID)) // as the official driver leaves it
	r.must(r.stage(use(nil)))
	r.must(r.publish(use(nil), r.a))
	if r.mountID(r.staging) != staged || r.mountID(r.a) != published {
		t.Error("a mount was replaced")
	}
	if _, err := file.WriteString("x"); err != nil {
		t.Error(err)
	}
}

// TestVirtioFS: on the platform a mount is known by its type and its source, which is the tag.
func TestVirtioFS(t *testing.T) {
	testns.Need(t)
	v := virtioFS{}
	for _, c := range []struct {
		e          mount.Entry
		is, shared bool
	}{
		{mount.Entry{FSType: "virtiofs", Source: tag}, true, true},
		{mount.Entry{FSType: "virtiofs", Source: other}, false, true},
		{mount.Entry{FSType: "ext4", Source: tag}, false, false},
	} {
		is, err := v.Is(c.e, tag)
		has, shared := v.TagOf(nil, c.e)
		if is != c.is || err != nil || shared != c.shared || shared && has != c.e.Source {
			t.Errorf("%+v: %t, %v; tag %q, %t", c.e, is, err, has, shared)
		}
	}
	kernels, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	err = v.Mount(t.Context(), tag, t.TempDir(), nil)
	if knows := strings.Contains(string(kernels), "virtiofs"); errors.Is(err, errNoTag) != knows || errors.Is(err, unix.ENODEV) == knows {
		t.Errorf("the kernel knows virtiofs: %t, mounting says %v", knows, err)
	}
}
