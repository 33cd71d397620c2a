// Package guest makes what a virtual machine boots: a kernel of Debian's, and an initial file system in memory with the
// tools of the node image, the node plugin and the tests' agent.
package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Image is what a virtual machine boots.
type Image struct {
	// Kernel is the path of the kernel.
	Kernel string
	// Initramfs is the initial file system. The file has no name any more: it is gone with the process.
	Initramfs *os.File
}

// toolPackages are those of the node image, see NODE_PACKAGES in the Makefile.
var toolPackages = []string{"e2fsprogs", "xfsprogs", "btrfs-progs", "util-linux", "cryptsetup-bin"}

// Make makes the image from the checkout. What is downloaded is kept in the cache.
func Make(ctx context.Context, source, cache string) (*Image, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	k, err := cachedKernel(ctx, cache)
	if err != nil {
		return nil, err
	}
	tools, err := rootTar(ctx, source, cache, toolPackages)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vm-programs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	if err := build(ctx, source, dir); err != nil {
		return nil, err
	}
	file, err := unnamed()
	if err != nil {
		return nil, err
	}
	if err := fill(newArchive(file), k, tools, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("making the guest's file system: %w", err), file.Close())
	}
	return &Image{Kernel: k.image, Initramfs: file}, nil
}

// unnamed makes a file that nothing has to clean up.
func unnamed() (*os.File, error) {
	file, err := os.CreateTemp("", "vm-")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// rootTar returns a root file system of Debian's, made by the project's own tool with the arguments.
func rootTar(ctx context.Context, source, cache string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "-buildvcs=false", "./rootfs", "--cache", cache}, args...)...) //nolint:gosec // constants
	cmd.Dir, cmd.Stderr = filepath.Join(source, "tools"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("making the root file system with %q: %w", args, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// build builds the programs that run in the guest.
func build(ctx context.Context, source, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "./cmd/csi", "./test/vm/cmd/agent") //nolint:gosec // constants
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the guest's programs: %w: %s", err, out)
	}
	return nil
}

// fill puts everything into the initial file system.
func fill(a *archive, k kernel, tools, programs string) error {
	tar, err := os.Open(tools)
	if err != nil {
		return err
	}
	defer tar.Close() //nolint:errcheck // only read from
	if err := a.tree(tar, wanted); err != nil {
		return fmt.Errorf("%s: %w", tools, err)
	}
	files, err := order(k.modules, modules)
	if err != nil {
		return err
	}
	var list []string
	for _, path := range files {
		list = append(list, "/lib/modules/"+filepath.Base(path))
		if err := a.copy(path, list[len(list)-1]); err != nil {
			return err
		}
	}
	text := strings.Join(list, "\n")
	return errors.Join(
		a.file(ModuleList[1:], 0o644, int64(len(text)), strings.NewReader(text)),
		a.copy(filepath.Join(programs, "csi"), Plugin),
		a.copy(filepath.Join(programs, "agent"), "/init"),
		a.end(),
	)
}

// copy adds a file of this machine as a program.
func (a *archive) copy(path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read from
	st, err := file.Stat()
	if err != nil {
		return err
	}
	return a.file(strings.TrimPrefix(name, "/"), 0o755, st.Size(), file)
}

// heavy is what no tool needs in the guest and what takes most of the memory.
var heavy = []string{"usr/share/", "usr/lib/python", "usr/bin/python", "usr/lib/x86_64-linux-gnu/gconv/", "usr/lib/x86_64-linux-gnu/perl", "usr/lib/x86_64-linux-gnu/libicu", "var/", "dev/"}

func wanted(name string) bool {
	for _, prefix := range heavy {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}
