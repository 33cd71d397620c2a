package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	mountutils "k8s.io/mount-utils"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
)

// FileSystem mounts a device's file system at a directory. The kernel is asked directly: mount(8) would mount a device
// that is write-protected read-only, and leave out a label for SELinux where it cannot see that the kernel has SELinux,
// as in a container, and say nothing of either.
func FileSystem(ctx context.Context, source, target, fsType string, options []string) error {
	bits, text := forKernel(options)
	try := func() error {
		return device.UntilFree(ctx, device.Moment, func() error { return unix.Mount(source, target, fsType, bits, text) })
	}
	err := try()
	if err != nil && fsType == "btrfs" && forgetBtrfs(ctx, source) {
		if err = try(); err != nil {
			forgetBtrfs(ctx, source)
		}
	}
	if err == nil {
		return nil
	}
	hint := ""
	switch {
	case errors.Is(err, unix.EINVAL) && labels(options):
		hint = " (a label needs a kernel with SELinux)"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EIO):
		hint = " (an option that this kernel does not know, or a fault in the file system: the kernel's log on the node says which)"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		hint = " (the device is write-protected)"
	case errors.Is(err, unix.EBUSY):
		hint = " (it is mounted already, or in use by something else)"
	case errors.Is(err, unix.ENODEV):
		hint = " (this kernel does not know the file system)"
	case errors.Is(err, unix.EEXIST) && fsType == "btrfs":
		hint = " (this kernel, before Linux 6.7, mounts a btrfs only once, and another copy of it, with the same UUID, is mounted or known " +
			"here: a volume that was restored or cloned beside its source. Use the copy on another node, or upgrade this node's kernel; " +
			"`btrfs filesystem show` lists the copies, and `btrfs device scan --forget` forgets those that are not mounted)"
	}
	return fmt.Errorf("mounting %s at %s as %s with options %q: %w%s", source, target, fsType, strings.Join(options, ","), err, hint)
}

// Bind shows a directory or file at another path. A read-only bind is never writable, not even for a moment: it
// is made read-only before it can be seen.
func Bind(source, target string, readOnly bool) error {
	if !readOnly {
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s to %s: %w", source, target, err)
		}
		return nil
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("binding %s: %w", source, err)
	}
	defer unix.Close(tree) //nolint:errcheck // the mount lives on without the descriptor
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
		return fmt.Errorf("making the bind of %s read-only (needs Linux 5.12): %w", source, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("binding %s to %s: %w", source, target, err)
	}
	return nil
}

// maxStack is how many mounts on top of each other at one path are taken away. Older drivers made one per retry.
const maxStack = 64

// Unmount takes away every mount at the path. A mount whose device or server is gone and that refuses to go is
// detached lazily, as the last resort.
func Unmount(ctx context.Context, path string) error {
	for range maxStack {
		table, err := Read()
		if err != nil {
			return fmt.Errorf("reading the mounts: %w", err)
		}
		if _, mounted := table.At(path); !mounted {
			return nil
		}
		err = unmountOnce(ctx, path)
		if err == nil || errors.Is(err, unix.EINVAL) {
			continue
		}
		corrupt, unknown := Corrupt(ctx, path)
		if unknown != nil {
			return fmt.Errorf("unmounting %s: %w, and whether it is dead is not known: %w", path, err, unknown)
		}
		if !corrupt {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
		klog.FromContext(ctx).Info("The mount is dead and cannot be unmounted, detaching it lazily", "path", path, "err", err)
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("detaching the dead mount %s: %w", path, err)
		}
	}
	return fmt.Errorf("%s still has a mount after %d were taken away", path, maxStack)
}

func unmountOnce(ctx context.Context, path string) error {
	return device.UntilFree(ctx, device.Moment, func() error { return unix.Unmount(path, unix.UMOUNT_NOFOLLOW) })
}

// corruptPatience is how long a mount has to show whether it is dead.
const corruptPatience = 10 * time.Second

// underWay are the looks of this process at mounts. It is one for all callers: a look that hangs cannot be ended.
var underWay looks.Looks

// Corrupt reports whether what is mounted at the path is dead: its device or its server is gone. What does not answer in
// time is not known to be dead: that is a looks.HangingError.
func Corrupt(ctx context.Context, path string) (dead bool, err error) {
	return corruptWithin(ctx, path, corruptPatience)
}

func corruptWithin(ctx context.Context, path string, patience time.Duration) (bool, error) {
	answer := make(chan error, 1) // a look that comes back late leaves its answer here
	err := underWay.Do(ctx, path, "what is mounted at "+path, patience, func() error {
		answer <- ReadRoot(path)
		return nil
	})
	if err != nil {
		return false, err
	}
	return IsDead(<-answer), nil
}

// IsDead reports whether an error of an access to a mount says that its device or its server is gone.
func IsDead(err error) bool {
	return err != nil && (mountutils.IsCorruptedMnt(err) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESHUTDOWN))
}

// ReadRoot reads a directory: its root may be cached, and opening it alone would not notice that a mount is dead. It can
// hang.
func ReadRoot(path string) error {
	d, err := os.Open(path) //nolint:gosec // a path that the caller manages
	if err == nil {
		_, err = d.Readdirnames(1)
		_ = d.Close() // only read from
	}
	if errors.Is(err, io.EOF) {
		return nil // it is empty
	}
	return err
}

// Sync writes out the file system that is mounted at a directory. The error is of what its disk refused since somebody was last
// told of such; kernels before Linux 5.8 tell less. It can hang.
func Sync(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written to the directory itself
	if err := unix.Syncfs(fd); err != nil {
		return fmt.Errorf("writing out the file system at %s: %w", path, err)
	}
	return nil
}

// RemoveTarget removes an empty directory or an empty file. It never removes content: should the unmount have
// been wrong, that would be somebody's data.
func RemoveTarget(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() && (!st.Mode().IsRegular() || st.Size() != 0) {
		return fmt.Errorf("%s is neither a directory nor an empty file and is left alone", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}

// MakeDir makes a directory and its parents, so that something can be mounted on it.
func MakeDir(path string) error {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return fmt.Errorf("making the mount point: %w", err)
	}
	return nil
}

// MakeFile makes an empty file, so that a device node can be bound to it.
func MakeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("making the directory of the mount point: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NONBLOCK, 0o640) //nolint:gosec // a path that the caller manages
	if err != nil {
		return fmt.Errorf("making the mount point: %w", err)
	}
	return f.Close()
}
