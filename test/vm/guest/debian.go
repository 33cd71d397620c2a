package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// debianPackages make a node of Debian's: an init, udev with the rules of device-mapper, and what runs containers. It has none of
// the tools of the node image that Debian does not have anyway, above all no cryptsetup: those are to come from the image.
var debianPackages = []string{"systemd-sysv", "udev", "dmsetup", "runc", "kmod"}

const (
	// debianBytes and imageBytes are the sizes of the disks, of which most is a hole.
	debianBytes = 4 << 30
	imageBytes  = 2 << 30
)

// Debian returns the path of a disk's content with a Debian that boots, with systemd and udev. It is made once, in the cache.
func Debian(ctx context.Context, source, cache string) (string, error) {
	tar, err := rootTar(ctx, source, cache, append([]string{"--variant=minbase"}, debianPackages...))
	if err != nil {
		return "", err
	}
	path := strings.TrimSuffix(tar, ".tar") + ".ext4"
	if _, err := os.Stat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	return path, unpacked(ctx, filepath.Dir(path), path, debianBytes, func(dir string) error { return untar(ctx, tar, dir) })
}

// NodeImage makes a disk's content of the root file system of the node plugin's image, built as it is shipped, at a path.
func NodeImage(ctx context.Context, source, path string) error {
	dir, err := os.MkdirTemp("", "vm-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)                                                         //nolint:errcheck // a temporary directory
	cmd := exec.CommandContext(ctx, "make", "-C", source, "node-image", "BIN="+dir) //nolint:gosec // directories of ours
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=")                         // those of a make above this are not meant for it
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the node plugin's image: %w: %s", err, out)
	}
	archive := filepath.Join(dir, "images", "csi-node.tar")
	return unpacked(ctx, dir, path, imageBytes, func(root string) error { return unpackLayers(ctx, archive, root) })
}

// unpackLayers unpacks the layers of an image's archive over each other.
func unpackLayers(ctx context.Context, archive, root string) error {
	layers, err := os.MkdirTemp(filepath.Dir(root), "layers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(layers) //nolint:errcheck // a temporary directory
	if err := untar(ctx, archive, layers); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(layers, "manifest.json"))
	if err != nil {
		return err
	}
	var manifest []struct{ Layers []string }
	if err := json.Unmarshal(raw, &manifest); err != nil || len(manifest) != 1 {
		return fmt.Errorf("%s has a manifest of %d images: %w", archive, len(manifest), errors.Join(err))
	}
	for _, layer := range manifest[0].Layers {
		if err := untar(ctx, filepath.Join(layers, layer), root); err != nil {
			return err
		}
	}
	return nil
}

// unpacked makes the content of a disk with a file system of what is put into a directory. It appears whole or not at all.
func unpacked(ctx context.Context, scratch, path string, size int64, fill func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(scratch, "root-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { // it becomes the root
		return err
	}
	if err := fill(dir); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.part%d", path, os.Getpid())
	defer os.Remove(part)                                                                                                   //nolint:errcheck // it was renamed, or is of no use
	out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-d", dir, part, fmt.Sprintf("%dk", size>>10)).CombinedOutput() //nolint:gosec // paths of ours
	if err != nil {
		return fmt.Errorf("making a file system of %s: %w: %s", dir, err, out)
	}
	return os.Rename(part, path)
}

// untar unpacks an archive, compressed or not. Device nodes are the guest's kernel's own business.
func untar(ctx context.Context, archive, dir string) error {
	out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", dir, "--numeric-owner", "--exclude=./dev/*", "--exclude=dev/*").CombinedOutput() //nolint:gosec // paths of ours
	if err != nil {
		return fmt.Errorf("unpacking %s: %w: %s", archive, err, out)
	}
	return nil
}
