package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/agent"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/vm/guest"
)

const (
	// container is the name of the node plugin's.
	container = agent.ContainerName
	// bundle has what runc wants, image the disk with the image's root file system, as it came.
	bundle = "/run/csi-node"
	image  = "/run/csi-node-image"
	// imageWithin is how long the image's disk may take to appear.
	imageWithin = time.Minute
)

// StartContainer starts the node plugin in a container of its image, as a kubelet does, and waits until it answers.
func (s *service) StartContainer(c agent.Container, _ *agent.None) error {
	if err := prepareBundle(c); err != nil {
		return fmt.Errorf("preparing the container: %w", err)
	}
	for _, dir := range c.Directories {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	//nolint:noctx // it runs until it is killed
	cmd := exec.Command("runc", "run", "--bundle", bundle, container)
	return s.plugin.start(guest.NodeSocket, cmd, func(cmd *exec.Cmd) error {
		s.plugin.end = endContainer
		return cmd.Start()
	})
}

// prepareBundle mounts what a container runtime makes of an image: its layers, which nobody writes to, and a layer over them in
// which the mount points are made. That one is new for each container.
func prepareBundle(c agent.Container) error {
	root := filepath.Join(bundle, "rootfs")
	_ = unix.Unmount(root, 0) // of the container before, if there was one
	var st unix.Statfs_t
	if err := errors.Join(os.RemoveAll(bundle), os.MkdirAll(image, 0o755)); err != nil {
		return err
	}
	if err := unix.Statfs(image, &st); err != nil {
		return err
	}
	if st.Type != unix.EXT4_SUPER_MAGIC {
		node, err := awaitDisk(c.Image, imageWithin)
		if err != nil {
			return err
		}
		if err := unix.Mount(node, image, "ext4", unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("mounting the image on %s: %w", node, err)
		}
	}
	upper, work := filepath.Join(bundle, "upper"), filepath.Join(bundle, "work")
	if err := errors.Join(os.MkdirAll(root, 0o755), os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("overlay", root, "overlay", 0, "lowerdir="+image+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("putting a layer over the image: %w", err)
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), c.Config, 0o600)
}

// endContainer kills everything in the container. What runc ran for it ends with that.
func endContainer() error {
	if out, err := exec.Command("runc", "kill", "--all", container, "KILL").CombinedOutput(); err != nil { //nolint:noctx // it is over at once
		return fmt.Errorf("killing the container: %w: %s", err, out)
	}
	return nil
}
