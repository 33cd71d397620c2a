package cache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rootPackages are what a worker's machine has installed. They are unpacked, never
// installed, and their maintainer scripts don't run: no service is started or even known.
var rootPackages = []string{
	"containerd", "runc", "containernetworking-plugins", // the container runtime
	"conntrack", "ipset", "iproute2", "iptables", "nftables", // what kube-proxy and the network need
	"e2fsprogs", "xfsprogs", "mount", "util-linux", // what the kubelet needs for volumes
	"bash", "coreutils", "dash", "grep", "procps", "kmod", // for whoever looks around in there
}

// root returns a root file system of Debian packages.
func (c *Cache) root(ctx context.Context) (string, error) {
	tar, err := c.debianRoot(ctx, rootPackages...)
	if err != nil {
		return "", err
	}
	name := strings.TrimSuffix(filepath.Base(tar), ".tar")
	return c.once("unpacked-"+name, func(part string) error {
		if err := os.MkdirAll(part, 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "tar", "-C", part, "-xf", tar).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", tar, err, out)
		}
		return linkIptables(part)
	})
}

// debianRoot makes a tar of a root file system of Debian packages, or finds it, by the project's own tool.
func (c *Cache) debianRoot(ctx context.Context, packages ...string) (string, error) {
	if err := c.needMmdebstrap(ctx); err != nil {
		return "", err
	}
	tool, err := c.tool(ctx, "rootfs")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, tool, append([]string{"--cache", c.Dir}, packages...)...) //nolint:gosec // G204: a program built here
	cmd.Stderr = c.Out
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("make a root file system of %s: %w", strings.Join(packages, ", "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// needMmdebstrap installs the plain tool that unpacks Debian packages.
func (c *Cache) needMmdebstrap(ctx context.Context) error {
	if _, err := exec.LookPath("mmdebstrap"); err == nil {
		return nil
	}
	c.say("installing mmdebstrap, about 20 s")
	for _, args := range [][]string{
		{"-q", "-o", "DPkg::Lock::Timeout=300", "update"},
		{"-q", "-y", "-o", "DPkg::Lock::Timeout=300", "install", "--no-install-recommends", "mmdebstrap"},
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// tool builds one of the project's own tools.
func (c *Cache) tool(ctx context.Context, name string) (string, error) {
	path := filepath.Join(c.Dir, "tool-"+name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./"+name)
	cmd.Dir = filepath.Join(c.Source, "tools")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build tools/%s: %w: %s", name, err, out)
	}
	return path, nil
}

// linkIptables makes the names that a maintainer script would have made.
func linkIptables(root string) error {
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.Symlink("xtables-nft-multi", filepath.Join(root, "usr/sbin", family+suffix)); err != nil {
				return err
			}
		}
	}
	return nil
}
