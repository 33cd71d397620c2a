package scenario

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cache"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// Upgrade are the steps of an upgrade from an earlier version while pods use volumes of every kind. Each builds on the one
// before.
func Upgrade(before cache.Before) []Step {
	u := &upgrade{before: before}
	return []Step{
		{"the version before is installed from its own manifests", u.installBefore},
		{"its pods write to an ext4, an xfs, a raw device and a shared file system", u.used.start},
		{"today's manifests are applied while they write: nothing is unmounted, detached or restarted", u.apply},
		{"the version before comes back while they write, and serves a pod that starts again", u.rollBack},
		{"today's manifests are applied once more", u.apply},
		{"every volume grows", u.used.grow},
		{"the pods go to the other node, with their data", u.used.move},
		{"everything is deleted: the cloud has no disk and no shared file system left", everythingDeleted},
	}
}

// upgrade is what the steps know of one another.
type upgrade struct {
	before cache.Before
	used   inUse
}

// installBefore installs the version before.
func (u *upgrade) installBefore(ctx context.Context, w *World) (string, error) {
	if err := w.createNamespace(ctx); err != nil {
		return "", err
	}
	if err := w.InstallFrom(ctx, u.before.Overlay); err != nil {
		return "", err
	}
	if err := w.wait(ctx, "the version before runs", w.productRuns); err != nil {
		return "", err
	}
	containers, err := w.containersOf(ctx, ":"+u.before.Tag)
	if err == nil && len(containers) == 0 {
		err = fmt.Errorf("no pod has an image with the tag %s", u.before.Tag)
	}
	return u.before.Commit[:12], err
}

// apply applies today's manifests while the pods write.
func (u *upgrade) apply(ctx context.Context, w *World) (string, error) {
	written, err := u.replace(ctx, w, w.Overlay())
	if err != nil {
		return "", err
	}
	left, err := w.containersOf(ctx, ":"+u.before.Tag)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("these are still of the version before: %v", left)
	}
	return written, err
}

// rollBack applies the manifests of the version before while the pods write. It finds what today's version has recorded of
// volumes, and takes two from their pods and gives them back.
func (u *upgrade) rollBack(ctx context.Context, w *World) (string, error) {
	written, err := u.replace(ctx, w, u.before.Overlay)
	if err != nil {
		return "", err
	}
	for _, name := range []string{plain, raw} {
		if err := u.used.restart(ctx, w, name); err != nil {
			return "", err
		}
	}
	return written, nil
}

// replace installs a version while the pods write, and waits until it runs.
func (u *upgrade) replace(ctx context.Context, w *World, overlay string) (string, error) {
	start := time.Now()
	written, err := u.used.unnoticed(ctx, w, func(ctx context.Context) error {
		if err := w.InstallFrom(ctx, overlay); err != nil {
			return err
		}
		return w.rolledOut(ctx, "deployment/vultr-ccm", "deployment/csi-vultr-controller", "daemonset/"+nodePlugin)
	})
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	return fmt.Sprintf("%s; it took %.0f s", written, took.Seconds()), w.wait(ctx, "the version that was applied runs", w.productRuns)
}

// rolledOut waits until workloads of the product are replaced.
func (w *World) rolledOut(ctx context.Context, workloads ...string) error {
	for _, workload := range workloads {
		if _, err := w.Kubectl(ctx, "", "-n", metav1.NamespaceSystem, "rollout", "status", workload, "--timeout=5m"); err != nil {
			return err
		}
	}
	return nil
}

// containersOf lists the containers of kube-system, but of pods that end, whose image's name ends so.
func (w *World) containersOf(ctx context.Context, image string) ([]string, error) {
	pods, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []string
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp != nil {
			continue // it is replaced
		}
		for _, c := range pods.Items[i].Spec.Containers {
			if strings.HasSuffix(c.Image, image) {
				found = append(found, pods.Items[i].Name+"/"+c.Name)
			}
		}
	}
	return found, nil
}

// whereabouts is where volumes are, for the cluster, for the cloud and for the workers' kernel. What was detached and attached
// again, or unmounted and mounted again, is not the same.
type whereabouts struct {
	attachments map[string]string // UID by the node's and the volume's name
	disks       []cluster.CloudDisk
	mounts      map[string]string
}

// whereAttached reads that; every attachment has to be done.
func (w *World) whereAttached(ctx context.Context) (whereabouts, error) {
	now := whereabouts{attachments: map[string]string{}}
	list, err := w.Kubernetes.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return now, err
	}
	for _, a := range list.Items {
		name := a.Spec.Source.PersistentVolumeName
		if name == nil || !a.Status.Attached || a.DeletionTimestamp != nil {
			return now, fmt.Errorf("the attachment %s to node %s is not done, or ends: %+v", a.Name, a.Spec.NodeName, a.Status)
		}
		now.attachments[*name+" on "+a.Spec.NodeName] = string(a.UID)
	}
	if len(now.attachments) == 0 {
		return now, errors.New("no volume is attached")
	}
	if now.mounts, err = w.VolumeMounts(ctx); err != nil {
		return now, err
	}
	if len(now.mounts) == 0 {
		return now, errors.New("no volume is mounted")
	}
	now.disks, err = w.Disks(ctx)
	slices.SortFunc(now.disks, func(a, b cluster.CloudDisk) int { return strings.Compare(a.ID, b.ID) })
	return now, err
}

// sameAs says what differs.
func (a whereabouts) sameAs(b whereabouts) error {
	if !maps.Equal(a.attachments, b.attachments) {
		return fmt.Errorf("attachments were %v and are %v", a.attachments, b.attachments)
	}
	if !maps.Equal(a.mounts, b.mounts) {
		return fmt.Errorf("mounts were %v and are %v", a.mounts, b.mounts)
	}
	if !slices.Equal(a.disks, b.disks) {
		return fmt.Errorf("disks were %v and are %v", a.disks, b.disks)
	}
	return nil
}
