package vfsstage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
)

// tags is how file systems appear on a machine.
type tags interface {
	// Mount mounts the file system of a tag. The error is errNoTag when the tag may not have appeared yet.
	Mount(ctx context.Context, tag, path string, options []string) error
	// Is reports whether what is mounted at a path is the file system of the tag. The mount has to be well.
	Is(e mount.Entry, tag string) (bool, error)
	// TagOf returns the tag of the file system that a mount of the table shows, as far as the kernel's list tells. It is false
	// for a mount that is no shared file system.
	TagOf(table mount.Table, e mount.Entry) (tag string, shared bool)
	// Shows reports whether a mount is how the file system appears, not how somebody uses it.
	Shows(e mount.Entry) bool
}

// errNoTag says that there is no file system of the tag, as far as can be told from a refused mount.
var errNoTag = errors.New("the machine does not show a file system of this tag")

// virtioFS is the platform: mount -t virtiofs <tag> <path>.
type virtioFS struct{}

// Mount asks the kernel, which answers EINVAL to a tag that it does not know.
func (virtioFS) Mount(ctx context.Context, tag, path string, options []string) error {
	err := mount.FileSystem(ctx, tag, path, mount.VirtioFS, options)
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: %w", errNoTag, err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the node's kernel needs virtiofs (Linux 5.4 or later, CONFIG_VIRTIO_FS)", err)
	}
	return err
}

// Is compares what the kernel lists: the source of such a mount is its tag.
func (v virtioFS) Is(e mount.Entry, tag string) (bool, error) {
	is, shared := v.TagOf(nil, e)
	return shared && is == tag, nil
}

// TagOf knows the type of file system.
func (virtioFS) TagOf(_ mount.Table, e mount.Entry) (tag string, shared bool) {
	return e.Source, e.FSType == mount.VirtioFS
}

// Shows is false: a tag is seen nowhere but where it is mounted.
func (virtioFS) Shows(mount.Entry) bool { return false }

// directories is a machine that shares its kernel with others, as those of the simulator do: file systems are directories
// named by their tags.
type directories struct{ dir string }

// bindFlags are the options of a mount that a bind of a directory can have.
var bindFlags = map[string]uintptr{
	"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME,
}

// Mount binds the directory.
func (d directories) Mount(_ context.Context, tag, path string, options []string) error {
	source := filepath.Join(d.dir, tag)
	if _, err := os.Stat(source); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", errNoTag, err)
	}
	var flags uintptr
	readOnly := false
	for _, o := range options {
		flags |= bindFlags[o]
		readOnly = readOnly || o == "ro"
	}
	if err := mount.Bind(source, path, readOnly); err != nil {
		return err
	}
	if flags == 0 {
		return nil
	}
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return errors.Join(fmt.Errorf("giving the bind at %s its options: %w", path, err), unix.Unmount(path, unix.UMOUNT_NOFOLLOW))
	}
	return nil
}

// Is compares the directories themselves.
func (d directories) Is(e mount.Entry, tag string) (bool, error) {
	shown, err := os.Stat(filepath.Join(d.dir, tag))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the directory of tag %s: %w", tag, err)
	}
	there, err := os.Stat(e.Path)
	if err != nil {
		return false, fmt.Errorf("looking at the mount at %s: %w", e.Path, err)
	}
	return os.SameFile(shown, there), nil
}

// TagOf compares with what is mounted at the directories: a bind looks like what it was made from. A directory at which nothing
// is mounted is not known by any bind of it.
func (d directories) TagOf(table mount.Table, e mount.Entry) (tag string, shared bool) {
	for _, shown := range table {
		if filepath.Dir(shown.Path) == filepath.Clean(d.dir) && same(shown, e) {
			return filepath.Base(shown.Path), true
		}
	}
	return "", false
}

// Shows knows the directories themselves.
func (d directories) Shows(e mount.Entry) bool {
	return e.Path == d.dir || strings.HasPrefix(e.Path, strings.TrimSuffix(d.dir, "/")+"/")
}
