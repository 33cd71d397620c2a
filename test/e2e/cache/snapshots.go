package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

const (
	// snapshotterModule has the sidecar, the controller, and the manifests of the controller.
	snapshotterModule = "github.com/kubernetes-csi/external-snapshotter/v8"
	// snapshotKindsModule has the CRDs.
	snapshotKindsModule = "github.com/kubernetes-csi/external-snapshotter/client/v8"

	snapshotControllerImage = "registry.k8s.io/sig-storage/snapshot-controller"
)

// snapshots returns files with the CRDs of VolumeSnapshots and with the snapshot-controller. They are what `kubectl apply -k`
// applies from the project's repository, as docs/snapshots.md says; here they come out of its Go modules.
func (c *Cache) snapshots(ctx context.Context, programs string) (crds, controller string, err error) {
	modules := filepath.Join(c.Source, "test", "e2e", "sidecars")
	render := func(name, module, dir string, change func([]byte, string) ([]byte, error)) (string, error) {
		version, err := required(filepath.Join(modules, "go.mod"), module)
		if err != nil {
			return "", err
		}
		return c.once(fmt.Sprintf("%s-%s.yaml", name, version), func(part string) error {
			source, err := moduleDir(ctx, modules, module)
			if err != nil {
				return err
			}
			content, err := kustomize(ctx, programs, filepath.Join(source, dir))
			if err == nil {
				content, err = change(content, version)
			}
			if err != nil {
				return err
			}
			return os.WriteFile(part, content, 0o600)
		})
	}
	asItIs := func(content []byte, _ string) ([]byte, error) { return content, nil }
	if crds, err = render("snapshot-crds", snapshotKindsModule, "config/crd", asItIs); err != nil {
		return "", "", err
	}
	controller, err = render("snapshot-controller", snapshotterModule, "deploy/kubernetes/snapshot-controller", ownVersion)
	return crds, controller, err
}

// snapshotControllerTag is where the controller's manifest names its image.
var snapshotControllerTag = regexp.MustCompile(`(?m)(image: ` + regexp.QuoteMeta(snapshotControllerImage) + `):\S+$`)

// ownVersion has the controller's manifest name the image that is built here: the release's own manifest is of an older one.
func ownVersion(content []byte, version string) ([]byte, error) {
	if found := len(snapshotControllerTag.FindAllIndex(content, -1)); found != 1 {
		return nil, fmt.Errorf("the manifest of the snapshot-controller names its image %d times instead of once", found)
	}
	return snapshotControllerTag.ReplaceAll(content, []byte("${1}:"+version)), nil
}

// moduleDir is where the module cache has a module that the one in dir requires.
func moduleDir(ctx context.Context, dir, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := cmd.Output()
	var answer struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr == nil && answer.Error != "" {
		err = errors.Join(err, errors.New(answer.Error))
	}
	if err == nil && answer.Dir == "" {
		err = errors.New("go does not say where it is")
	}
	if err != nil {
		return "", fmt.Errorf("module %s: %w", module, err)
	}
	return answer.Dir, nil
}

// kustomize renders a directory.
func kustomize(ctx context.Context, programs, dir string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "kubectl"), "kustomize", dir) //nolint:gosec // G204: the cache's own kubectl
	cmd.Stderr = os.Stderr
	content, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kubectl kustomize %s: %w", dir, err)
	}
	return content, nil
}
