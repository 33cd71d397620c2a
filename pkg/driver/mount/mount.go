package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"
	mountutils "k8s.io/mount-utils"
)

// FileSystem mounts a device's file system at a directory, by mount(8), which knows what its options mean. With a label
// for SELinux the kernel is asked directly: mount(8) leaves the label out, and says nothing, where it cannot see that
// the kernel has SELinux, as in a container.
func FileSystem(ctx context.Context, source, target, fsType string, options []string) error {
	if labels(options) {
		bits, text := forKernel(options)
		if err := unix.Mount(source, target, fsType, bits, text); err != nil {
			return fmt.Errorf("mounting %s at %s as %s with options %s (a label needs a kernel with SELinux): %w",
				source, target, fsType, strings.Join(options, ","), err)
		}
		return nil
	}
	options = slices.DeleteFunc(slices.Clone(options), note)
	args := []string{"-t", fsType}
	if len(options) > 0 {
		args = append(args, "-o", strings.Join(options, ","))
	}
	args = append(args, "--", source, target)
	out, err := exec.CommandContext(ctx, "mount", args...).CombinedOutput() //nolint:gosec // options were judged, source and target follow --
	if err != nil {
		return fmt.Errorf("mount %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
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
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		if err == nil || errors.Is(err, unix.EINVAL) {
			continue
		}
		if !Corrupt(path) {
			return fmt.Errorf("unmounting %s: %w", path, err)
		}
		klog.FromContext(ctx).Info("The mount is dead and cannot be unmounted, detaching it lazily", "path", path, "err", err)
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("detaching the dead mount %s: %w", path, err)
		}
	}
	return fmt.Errorf("%s still has a mount after %d were taken away", path, maxStack)
}

// Corrupt tells whether what is mounted at the path is dead: its device or its server is gone.
func Corrupt(path string) bool {
	// A directory must be read to notice; its root may be cached.
	d, err := os.Open(path) //nolint:gosec // a path that the caller manages
	if err == nil {
		_, err = d.Readdirnames(1)
		_ = d.Close() // only read from
	}
	return err != nil && (mountutils.IsCorruptedMnt(err) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESHUTDOWN))
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
