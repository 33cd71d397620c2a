package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// kernelPackage depends on the package of the present kernel.
const kernelPackage = "linux-image-cloud-amd64"

// kernel is Debian's kernel, unpacked.
type kernel struct{ image, modules string }

// cachedKernel finds the kernel in the cache, or unpacks Debian's package into it. Nothing is installed.
func cachedKernel(ctx context.Context, cache string) (kernel, error) {
	name, err := kernelName(ctx)
	if err != nil {
		return kernel{}, err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err != nil {
		if err := unpackKernel(ctx, name, dir); err != nil {
			return kernel{}, err
		}
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel{}, fmt.Errorf("%s has kernels %q, not one: %w", dir, images, err)
	}
	return kernel{images[0], filepath.Join(dir, "lib", "modules")}, nil
}

// kernelName asks apt which package the present kernel is in. Its lists may be absent: they are fetched if it does not
// know.
func kernelName(ctx context.Context) (string, error) {
	form := regexp.MustCompile(`(?m)^\s*Depends: (linux-image-[^\s<>]+)$`)
	var last []byte
	for _, update := range []bool{false, true} {
		if update {
			// A list of another vendor's that can't be fetched is no reason to give up.
			_ = exec.CommandContext(ctx, "apt-get", "-q", "update").Run()
		}
		out, err := exec.CommandContext(ctx, "apt-cache", "depends", kernelPackage).CombinedOutput()
		if match := form.FindSubmatch(out); err == nil && match != nil {
			return string(match[1]), nil
		}
		last = out
	}
	return "", fmt.Errorf("apt knows no kernel in %s: %s", kernelPackage, strings.TrimSpace(string(last)))
}

// unpackKernel makes the directory, which appears whole or not at all.
func unpackKernel(ctx context.Context, name, dir string) (err error) {
	part, err := os.MkdirTemp(filepath.Dir(dir), name+".part")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	download := exec.CommandContext(ctx, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name) //nolint:gosec // a package's name
	download.Dir = part
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("downloading %s: %w: %s", name, err, out)
	}
	packages, err := filepath.Glob(filepath.Join(part, "*.deb"))
	if err != nil || len(packages) != 1 {
		return fmt.Errorf("apt-get download %s gave %q: %w", name, packages, err)
	}
	root := filepath.Join(part, "root")
	if out, err := exec.CommandContext(ctx, "dpkg", "-x", packages[0], root).CombinedOutput(); err != nil { //nolint:gosec // as above
		return fmt.Errorf("unpacking %s: %w: %s", packages[0], err, out)
	}
	err = os.Rename(root, dir)
	if _, statErr := os.Stat(dir); statErr == nil {
		return nil // another run was faster
	}
	return err
}
