package cache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Names of the images that are made here of the built programs.
const (
	// PauseImage holds a pod's namespaces.
	PauseImage = "registry.k8s.io/pause:3.10.1"
	// AgnhostImage is Kubernetes' own test server.
	AgnhostImage = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
	// DatabaseImage is a server that keeps records on a disk.
	DatabaseImage = "cloud-provider-vultr/test-database:v1"
	// GreeterImage is a server that tells which pod it is, and who asks.
	GreeterImage = "cloud-provider-vultr/test-greeter:v1"
)

// images returns archives of the images that the public registry would have.
func (c *Cache) images(ctx context.Context, programs string) ([]string, error) {
	modules := filepath.Join(c.Source, "test", "e2e")
	kubernetes, sidecars := filepath.Join(modules, "kubernetes", "go.mod"), filepath.Join(modules, "sidecars", "go.mod")
	wanted := []struct{ program, name, module, file string }{
		{"pause", PauseImage, "", ""},
		{"database", DatabaseImage, "", ""},
		{"greeter", GreeterImage, "", ""},
		{"agnhost", AgnhostImage, "", ""},
		{"csi-provisioner", "registry.k8s.io/sig-storage/csi-provisioner", "github.com/kubernetes-csi/external-provisioner/v6", sidecars},
		{"csi-snapshotter", "registry.k8s.io/sig-storage/csi-snapshotter", snapshotterModule, sidecars},
		{"snapshot-controller", snapshotControllerImage, snapshotterModule, sidecars},
		{"csi-attacher", "registry.k8s.io/sig-storage/csi-attacher", "github.com/kubernetes-csi/external-attacher/v4", kubernetes},
		{"csi-resizer", "registry.k8s.io/sig-storage/csi-resizer", "github.com/kubernetes-csi/external-resizer/v2", kubernetes},
	}
	pods, err := c.pods(ctx)
	if err != nil {
		return nil, err
	}
	var tool string
	var archives []string
	for _, w := range wanted {
		if w.module != "" {
			version, err := required(w.file, w.module)
			if err != nil {
				return nil, err
			}
			w.name += ":" + version
		}
		program := filepath.Join(programs, w.program)
		if slices.Contains(podPrograms, w.program) {
			program = filepath.Join(pods, w.program)
		}
		info, err := os.Stat(program)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("image-%s-%s.tar", w.program, key(w.name, program, info.ModTime().String()))
		archive, err := c.once(name, func(part string) error {
			if tool == "" {
				c.say("making container images of the built programs, about 30 s")
				if tool, err = c.tool(ctx, "image"); err != nil {
					return err
				}
			}
			return c.image(ctx, tool, w.name, program, part)
		})
		if err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// image makes an image of one program.
func (c *Cache) image(ctx context.Context, tool, name, program, output string) error {
	inside := "/" + filepath.Base(program)
	args := []string{"--name", name, "--file", program + "=" + inside, "--entrypoint", inside, "-o", output}
	if out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil { //nolint:gosec // G204: a program built here
		return fmt.Errorf("make the image %s: %w: %s", name, err, out)
	}
	return nil
}
