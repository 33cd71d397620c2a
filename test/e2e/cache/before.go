package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// productImages are the product's images that run in a cluster.
var productImages = []string{"ccm", "csi-controller", "csi-node"}

// Before is a version of the product that was before this one.
type Before struct {
	// Commit is which one.
	Commit string
	// Tag is that of its images: versions that were not released have one name in common.
	Tag string
	// Images are archives of them.
	Images []string
	// Overlay is a directory by which its manifests are rendered for a local cluster, with these images.
	Overlay string
}

// Before builds the images of an earlier revision of this repository, from its own Makefile, or finds them.
func (c *Cache) Before(ctx context.Context, revision string) (Before, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Before{}, err
	}
	defer unlock()
	commit, err := c.git(ctx, "rev-parse", "--verify", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return Before{}, fmt.Errorf("the version before, %s, is not in this repository (a shallow clone needs git fetch --unshallow): %w", revision, err)
	}
	b := Before{Commit: commit, Tag: "before-" + commit[:12]}
	dir, err := c.once("product-"+b.Tag+"-"+runtime.GOARCH+"-"+key(runtime.Version()), func(part string) error {
		return c.buildBefore(ctx, b, part)
	})
	if err != nil {
		return Before{}, err
	}
	b.Overlay = filepath.Join(dir, "test", "e2e", b.Tag)
	for _, name := range productImages {
		b.Images = append(b.Images, filepath.Join(dir, b.archive(name)))
	}
	return b, nil
}

// archive is the name of an image's archive, which no other version's has.
func (b Before) archive(image string) string { return b.Tag + "-" + image + ".tar" }

// git asks git about this repository.
func (c *Cache) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", c.Source}, args...)...) //nolint:gosec // G204: what a user names is behind --end-of-options
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

// buildBefore takes the files of a commit out of the repository, which is left as it is, and has their own Makefile build the
// images.
func (c *Cache) buildBefore(ctx context.Context, b Before, dir string) error {
	c.say("building the product's images of the version before, %s, a few minutes, once (into %s)", b.Commit[:12], c.Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	archive := filepath.Join(dir, "source.tar")
	if _, err := c.git(ctx, "archive", "--format=tar", "--output="+archive, b.Commit); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-C", dir, "-xf", archive).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", archive, err, out)
	}
	if err := errors.Join(os.Remove(archive), b.writeOverlay(dir)); err != nil {
		return err
	}
	// The files are in no repository, or in a foreign one, so git could not tell the commit.
	args := []string{"--no-print-directory", "images", "VERSION=" + b.Tag, "COMMIT=" + b.Commit[:12], "CACHE=" + c.Dir}
	build := exec.CommandContext(ctx, "make", args...)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("make %s of %s: %w: %s", strings.Join(args[1:], " "), b.Commit, err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
	for _, name := range productImages {
		if err := os.Rename(filepath.Join(dir, "bin", "images", name+".tar"), filepath.Join(dir, b.archive(name))); err != nil {
			return err
		}
	}
	return nil
}

// writeOverlay makes the overlay of the version's own local cluster name these images.
func (b Before) writeOverlay(dir string) error {
	own := filepath.Join(dir, "test", "e2e", "overlay")
	if _, err := os.Stat(own); err != nil {
		return fmt.Errorf("the version %s has no local cluster: %w", b.Commit, err)
	}
	var text strings.Builder
	text.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../overlay]\nimages:\n")
	for _, name := range productImages {
		fmt.Fprintf(&text, "  - {name: cloud-provider-vultr/%s, newTag: %s}\n", name, b.Tag)
	}
	overlay := filepath.Join(dir, "test", "e2e", b.Tag)
	if err := os.MkdirAll(overlay, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(overlay, "kustomization.yaml"), []byte(text.String()), 0o644)
}
