package vfsstage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// show mounts what has a tag where the machine shows it, as a simulated cloud does.
func (r *rig) show(tag string) string {
	r.t.Helper()
	content, shown := filepath.Join(r.dir, "content", tag), filepath.Join(r.dir, "vfs", tag)
	r.must(os.MkdirAll(content, 0o700))
	r.must(mount.Bind(content, shown, false))
	return shown
}

// has reports whether a shared file system is mounted at a path, by what the kernel lists.
func (r *rig) has(path string) bool {
	r.t.Helper()
	is, err := r.Has(path)
	r.must(err)
	return is
}

// TestMountsOfAnotherDriver: what another driver has staged and published, without any record, is known for a shared file
// system, measured, examined and taken away. The official driver mounts once more each time that it is asked to publish.
func TestMountsOfAnotherDriver(t *testing.T) {
	r := newRig(t)
	shown := r.show(tag)
	r.must(os.WriteFile(filepath.Join(shown, "note"), []byte("hello"), 0o600))
	for _, path := range []string{r.staging, r.a, r.b} {
		r.must(os.MkdirAll(path, 0o700))
		if r.has(path) {
			t.Errorf("%s counts as a shared file system, and nothing is mounted there", path)
		}
	}
	r.must(mount.Bind(shown, r.staging, false))
	for _, path := range []string{r.a, r.a, r.b} {
		r.must(mount.Bind(r.staging, path, false))
	}
	for _, path := range []string{r.staging, r.a, r.b} {
		if !r.has(path) {
			t.Errorf("%s does not count as a shared file system", path)
		}
		if stats, err := r.Stats(volumeID, path); err != nil || stats.Bytes.Total == 0 {
			t.Errorf("%s: %+v, %v", path, stats, err)
		}
	}
	if conditions, err := r.Examine(volumeID, r.staging, r.a); err != nil || len(conditions) != 0 {
		t.Errorf("examined: %+v, %v", conditions, err)
	}

	// The kubelet repeats what it asked of the other driver.
	r.must(r.publish(use(nil), r.b))
	r.must(r.stage(use(nil)))
	r.want(r.unstage(), volume.InUse, r.a, r.b)
	for _, path := range []string{r.a, r.b} {
		r.must(r.Unpublish(t.Context(), volumeID, path))
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	r.must(r.unstage())
	if r.mounted(r.staging) {
		t.Error("it is still staged")
	}
	if text, err := os.ReadFile(filepath.Join(shown, "note")); err != nil || string(text) != "hello" {
		t.Errorf("the content is %q, %v", text, err)
	}
}

// TestOtherBindsAreNoFileSystems: where file systems appear as directories, a bind of anything else is none, not even one of a
// directory inside, which the kubelet makes for subPath.
func TestOtherBindsAreNoFileSystems(t *testing.T) {
	r := newRig(t)
	shown := r.show(tag)
	r.must(os.MkdirAll(filepath.Join(shown, "inside"), 0o700))
	r.must(os.MkdirAll(filepath.Join(r.dir, "elsewhere"), 0o700))
	for what, source := range map[string]string{
		"a directory of the same disk": filepath.Join(r.dir, "elsewhere"), "a part of a file system": filepath.Join(shown, "inside"),
		"where they all appear": filepath.Join(r.dir, "vfs"),
	} {
		r.must(os.MkdirAll(r.a, 0o700))
		r.must(mount.Bind(source, r.a, false))
		if r.has(r.a) {
			t.Errorf("%s counts as a shared file system", what)
		}
		r.must(unix.Unmount(r.a, 0))
	}
}

// TestWrongTagInPlace: with a record, another file system at a pod's path is told from the volume's own.
func TestWrongTagInPlace(t *testing.T) {
	r := newRig(t)
	r.show(tag)
	wrong := r.show(other)
	r.must(r.stage(use(nil)))
	r.must(os.MkdirAll(r.a, 0o700))
	r.must(mount.Bind(wrong, r.a, false))
	got, err := r.Examine(volumeID, r.staging, r.a)
	if err != nil || len(got) != 1 || got[0].Reason != "WrongFileSystem" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = r.Stats(volumeID, r.a)
	r.want(err, volume.NotFound, tag, other)
	if got, err := r.Examine(volumeID); err != nil || len(got) != 0 {
		t.Errorf("without paths: %+v, %v", got, err)
	}
}
