package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// enter gives the calling process, alone in new namespaces, the box's root.
func enter(spec Spec) error {
	// First of all: nothing mounted from here on may show outside. What is mounted outside shows here while the old root is
	// there, and afterwards where a bind follows.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts follow those outside: %w", err)
	}
	root, err := mountRoot(spec)
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return mountKernel(root) },
		func() error { return maskSysctls(root, spec.Sysctls) },
		func() error { return mountBinds(root, spec) },
		func() error { return writeNames(root, spec.Name) },
		func() error { return pivot(root) },
		func() error { return unix.Sethostname([]byte(spec.Name)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// mountRoot lays a writable layer over the box's root file system.
func mountRoot(spec Spec) (string, error) {
	root, upper, work := filepath.Join(spec.Dir, "root"), filepath.Join(spec.Dir, "upper"), filepath.Join(spec.Dir, "work")
	for _, dir := range []string{root, upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	layers := "lowerdir=" + spec.Root + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", root, "overlay", 0, layers); err != nil {
		return "", fmt.Errorf("mount the root of %s (%s): %w", spec.Name, layers, err)
	}
	return root, nil
}

// mountKernel adds the file systems that the kernel makes.
func mountKernel(root string) error {
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"proc", "proc", "proc", 0},
		{"sysfs", "sys", "sysfs", 0}, // a new one shows the links of the box's network
		{"/sys/fs/cgroup", "sys/fs/cgroup", "", unix.MS_BIND | unix.MS_REC},
		{"/dev", "dev", "", unix.MS_BIND | unix.MS_REC},
		{"tmpfs", "run", "tmpfs", 0},
		{"tmpfs", "tmp", "tmpfs", 0},
	}
	for _, m := range mounts {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
		if err := unix.Mount("", target, "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make %s private: %w", m.target, err)
		}
	}
	return os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky)
}

// maskSysctls puts files with the wanted values over settings of the whole machine.
func maskSysctls(root string, values map[string]string) error {
	dir := filepath.Join(root, "run", "sysctl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, value := range values {
		mask := filepath.Join(dir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(mask, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(mask, filepath.Join(root, "proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide the sysctl %s: %w", name, err)
		}
	}
	return nil
}

func mountBinds(root string, spec Spec) error {
	binds := append([]Bind{{Source: spec.Dir, Target: spec.Dir}}, spec.Binds...)
	for _, b := range binds {
		target := filepath.Join(root, b.Target)
		if err := makeTarget(b.Source, target); err != nil {
			return err
		}
		flags, spread := uintptr(unix.MS_BIND), []uintptr{unix.MS_PRIVATE}
		switch {
		case b.Follows:
			// Containers of the box follow in their turn, for which it has to be shared with them.
			flags, spread = unix.MS_BIND|unix.MS_REC, []uintptr{unix.MS_SLAVE | unix.MS_REC, unix.MS_SHARED | unix.MS_REC}
		case b.Shared:
			spread = append(spread, unix.MS_SHARED)
		}
		if err := unix.Mount(b.Source, target, "", flags, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", b.Source, b.Target, err)
		}
		for _, propagation := range spread {
			if err := unix.Mount("", target, "", propagation, ""); err != nil {
				return fmt.Errorf("set how mounts below %s spread: %w", b.Target, err)
			}
		}
	}
	return nil
}

// makeTarget makes what the source is, a directory or a file, to mount it on.
func makeTarget(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// writeNames makes the box know its own name and ask no name server: there is none.
func writeNames(root, name string) error {
	files := map[string]string{ //nolint:gosec // G101: the names of users, no credentials
		"etc/hostname":    name + "\n",
		"etc/hosts":       "127.0.0.1 localhost\n127.0.1.1 " + name + "\n",
		"etc/resolv.conf": "",
		"etc/passwd":      "root:x:0:0:root:/root:/bin/bash\n",
		"etc/group":       "root:x:0:\n",
		"etc/machine-id":  "",
	}
	for file, content := range files {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// The root may have a link there that leads out of it.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes root the root and releases the old one.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root is stacked on the new one and taken off at once (pivot_root(2), "."  twice).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return os.Chdir("/")
}
