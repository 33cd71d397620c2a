package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Install installs the product as a user does: two Secrets with the API key, what
// a cluster has for VolumeSnapshots, and the objects of deploy/manifests, changed
// only by the overlay beside this package.
func (c *Cluster) Install(ctx context.Context) error {
	return c.InstallFrom(ctx, c.Overlay())
}

// Overlay is the directory by which the objects of deploy/manifests are changed for a local cluster, or that of a part of them.
func (c *Cluster) Overlay(part ...string) string {
	return filepath.Join(append([]string{c.Source, "test", "e2e", "overlay"}, part...)...)
}

// InstallFrom is Install by another overlay: that of another version of the product, or of a part.
func (c *Cluster) InstallFrom(ctx context.Context, overlay string) error {
	if err := c.Prepare(ctx); err != nil {
		return err
	}
	render := exec.CommandContext(ctx, c.config.program("kubectl"), "kustomize", overlay) //nolint:gosec // G204: the cache's own kubectl
	render.Stderr = os.Stderr
	objects, err := render.Output()
	if err != nil {
		return fmt.Errorf("kubectl kustomize %s: %w", overlay, err)
	}
	_, err = c.Kubectl(ctx, string(objects), "apply", "--server-side", "-f", "-")
	return err
}

// Prepare makes what the objects of the product depend on: the Secrets, and what VolumeSnapshots need of a cluster.
func (c *Cluster) Prepare(ctx context.Context) error {
	if err := c.installSecrets(ctx); err != nil {
		return err
	}
	return c.installSnapshots(ctx)
}

// installSecrets makes the Secrets with the API key.
func (c *Cluster) installSecrets(ctx context.Context) error {
	key, err := os.ReadFile(c.run.path("api-key"))
	if err != nil {
		return err
	}
	for _, name := range []string{"vultr-csi", "vultr-ccm"} {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem},
			StringData: map[string]string{"api-key": strings.TrimSpace(string(key))},
		}
		_, err := c.Kubernetes.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// installSnapshots installs what VolumeSnapshots need of a cluster, before the objects of the driver that depend on it.
func (c *Cluster) installSnapshots(ctx context.Context) error {
	crds, controller := c.config.Artifacts.SnapshotCRDs, c.config.Artifacts.SnapshotController
	for _, args := range [][]string{
		{"apply", "--server-side", "-f", crds},
		{"wait", "--for=condition=Established", "--timeout=60s", "-f", crds},
		{"apply", "--server-side", "-f", controller},
	} {
		if _, err := c.Kubectl(ctx, "", args...); err != nil {
			return err
		}
	}
	return nil
}

// shellLimit is how long commands of an administrator may take: kubectl rollout status waits for ever by itself.
const shellLimit = 10 * time.Minute

// Shell runs commands as an administrator would in the checkout, which has to be shared: kubectl is in the path.
func (c *Cluster) Shell(ctx context.Context, commands string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, shellLimit, fmt.Errorf("not done after %s", shellLimit))
	defer cancel()
	const script = `cd "$0" && PATH="$1:$PATH" && export PATH && eval "$2"`
	return c.Inside(ctx, "sh", "-euc", script, c.Source, c.config.Artifacts.Programs, commands)
}
