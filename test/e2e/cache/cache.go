// Package cache makes what a cluster needs besides this project's own programs,
// once, and keeps it: Kubernetes, etcd and the CSI sidecars built from pinned Go
// modules, a root file system of Debian packages, and container images of them.
// Each thing is kept under a name made of everything it depends on, and appears
// under that name whole or not at all.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// modulePath is the product's Go module.
const modulePath = "github.com/cloud-provider-vultr/cloud-provider-vultr"

// Cache is the directory where things are kept and where progress is told.
type Cache struct {
	// Dir is the cache directory.
	Dir string
	// Source is the checkout of this project.
	Source string
	// Out takes what is being done, how far it is and how long it will take.
	Out io.Writer
}

// Artifacts is where everything is.
type Artifacts struct {
	// Programs is a directory with etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
	// kubelet, kube-proxy, kubectl, agnhost, csi-provisioner, csi-attacher,
	// csi-resizer, csi-snapshotter and snapshot-controller.
	Programs string
	// Root is a root file system with containerd, runc and the tools that the node programs call.
	Root string
	// Images are archives to import into containerd.
	Images []string
	// SnapshotCRDs and SnapshotController are files with what a cluster needs for VolumeSnapshots besides a driver.
	SnapshotCRDs, SnapshotController string
}

// Dir is the cache directory: what the variable CACHE says, else a directory of
// this project's in the user's cache directory.
func Dir() (string, error) {
	if dir := os.Getenv("CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory (set CACHE to one): %w", err)
	}
	return filepath.Join(base, "cloud-provider-vultr"), nil
}

// Open finds the cache directory and the checkout around the working directory.
func Open(ctx context.Context, out io.Writer) (*Cache, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	source, err := findSource(ctx)
	if err != nil {
		return nil, err
	}
	return &Cache{Dir: dir, Source: source, Out: out}, os.MkdirAll(dir, 0o755)
}

// findSource returns the directory of the product's module from anywhere in the checkout.
func findSource(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	for dir := filepath.Dir(strings.TrimSpace(string(mod))); ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module "+modulePath+"\n") {
			return dir, nil
		}
		if dir == "/" || dir == "." {
			return "", errors.New("this is to be run inside a checkout of " + modulePath)
		}
	}
}

// Prepare makes what is missing.
func (c *Cache) Prepare(ctx context.Context) (Artifacts, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Artifacts{}, err
	}
	defer unlock()
	var a Artifacts
	if a.Programs, err = c.programs(ctx); err != nil {
		return a, err
	}
	if a.Root, err = c.root(ctx); err != nil {
		return a, err
	}
	if a.Images, err = c.images(ctx, a.Programs); err != nil {
		return a, err
	}
	a.SnapshotCRDs, a.SnapshotController, err = c.snapshots(ctx, a.Programs)
	return a, err
}

// lock keeps two runs from making the same thing; the second waits for the first.
func (c *Cache) lock(ctx context.Context) (func(), error) {
	f, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, f.Close())
		}
		if !told {
			c.say("waiting for another run that fills the cache %s", c.Dir)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(time.Second):
		}
	}
}

func (c *Cache) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Out, format+"\n", args...) // progress is no reason to fail
}

// once gives the path of a kept thing after making it if it is missing.
func (c *Cache) once(name string, build func(part string) error) (string, error) {
	path := filepath.Join(c.Dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	part := path + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := build(part); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	return path, os.Rename(part, path)
}

// key shortens everything that a thing depends on to a few characters.
func key(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])[:12]
}

// fileKey is the key of the content of files.
func fileKey(files ...string) (string, error) {
	var parts []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		parts = append(parts, string(content))
	}
	return key(parts...), nil
}
