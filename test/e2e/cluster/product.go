package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildProduct builds the simulator and the product's images and copies them,
// and the cluster command, into the run's directory: what runs must not change
// when somebody builds again.
func (c *Cluster) buildProduct(ctx context.Context) error {
	for _, dir := range []string{"bin", "images"} {
		if err := os.MkdirAll(c.run.path(dir), 0o700); err != nil {
			return err
		}
	}
	program := c.options.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	if err := copyFile(program, c.run.path("bin", "cluster")); err != nil {
		return err
	}
	if err := c.buildImages(ctx); err != nil {
		return err
	}
	return c.run.writeConfig(c.config)
}

// buildImages has make build the product's images.
func (c *Cluster) buildImages(ctx context.Context) error {
	args, dir := []string{"--no-print-directory", "images"}, filepath.Join(c.Source, "bin")
	if c.options.FaultPoints {
		args, dir = append(args, "FAULTPOINTS=1"), filepath.Join(c.Source, "bin", "faultpoints")
	}
	c.Say("building the product's programs and images: a few minutes the first time, seconds later")
	build := exec.CommandContext(ctx, "make", args...)
	build.Dir = c.Source
	if out, err := build.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("make %s: %w: %s", strings.Join(args[1:], " "), err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
	for _, name := range []string{"ccm.tar", "csi-controller.tar", "csi-node.tar"} {
		archive := c.run.path("images", name)
		if err := copyFile(filepath.Join(dir, "images", name), archive); err != nil {
			return err
		}
		c.config.ProductImages = append(c.config.ProductImages, archive)
	}
	return copyFile(filepath.Join(dir, "simulator"), c.run.path("bin", "simulator"))
}

// copyFile copies a file with its mode.
func copyFile(from, to string) error {
	in, err := os.Open(filepath.Clean(from))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Clean(to), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close() // the copy's error is the one to tell
		return err
	}
	return out.Close()
}
