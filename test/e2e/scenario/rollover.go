package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const nodePlugin = "csi-vultr-node"

// rollover replaces the node plugin on all nodes while pods write to a file system, a raw device and a shared file system. No
// write fails, and afterwards volumes still leave their nodes and come back.
func rollover(ctx context.Context, w *World) (string, error) {
	if err := w.createBusyClaims(ctx); err != nil {
		return "", err
	}
	pods, err := w.startPods(ctx, busyPods()...)
	if err != nil {
		return "", err
	}
	sums := make([]string, len(pods))
	for i, pod := range pods {
		if sums[i], err = w.writeBulk(ctx, pod); err != nil {
			return "", err
		}
	}
	start := time.Now()
	records, err := w.writingMeanwhile(ctx, pods, w.replaceNodePlugin)
	took, total := time.Since(start), 0
	if err != nil {
		return "", err
	}
	for i, pod := range pods {
		if err := w.sourceUnharmed(ctx, pod, sums[i], records[i]); err != nil {
			return "", err
		}
		total += len(records[i])
	}
	for _, pod := range pods {
		if err := w.endPod(ctx, pod.Name); err != nil {
			return "", err
		}
	}
	again, err := w.startPods(ctx, busyPods()...)
	if err != nil {
		return "", err
	}
	for i, pod := range again {
		if err := w.hasBulk(ctx, pod, "", sums[i]); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d records written meanwhile, in %.0f s; then each pod was started again", total, took.Seconds()), nil
}

// writingMeanwhile writes to all pods while something is done, and returns what each has confirmed.
func (w *World) writingMeanwhile(ctx context.Context, pods []*corev1.Pod, do func(context.Context) error) ([][]string, error) {
	var writes []*writing
	for _, pod := range pods {
		writes = append(writes, w.startWriting(ctx, pod))
	}
	err := do(ctx)
	var records [][]string
	for _, each := range writes {
		written, writeErr := each.end()
		records, err = append(records, written), errors.Join(err, writeErr)
	}
	return records, err
}

// createBusyClaims makes a claim of each kind of volume.
func (w *World) createBusyClaims(ctx context.Context) error {
	return errors.Join(w.createClaim(ctx, database, xfsClass, corev1.PersistentVolumeFilesystem),
		w.createClaim(ctx, raw, ext4Class, corev1.PersistentVolumeBlock), w.createSharedClaimOf(ctx, officialSharedClass))
}

// busyPods use these claims.
func busyPods() []*corev1.Pod {
	return []*corev1.Pod{claimPod(database, false), claimPod(raw, true), sharingPod(shared + "-a"), sharingPod(shared + "-b")}
}

// replaceNodePlugin does what `kubectl rollout restart` does, and waits until every node has a new pod that is ready.
func (w *World) replaceNodePlugin(ctx context.Context) error {
	sets := w.Kubernetes.AppsV1().DaemonSets(metav1.NamespaceSystem)
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	asked, err := sets.Patch(ctx, nodePlugin, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	return w.wait(ctx, "the node plugin is replaced on all nodes", func(ctx context.Context) error {
		now, err := sets.Get(ctx, nodePlugin, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s := now.Status
		if s.ObservedGeneration < asked.Generation || s.UpdatedNumberScheduled != s.DesiredNumberScheduled || s.NumberAvailable != s.DesiredNumberScheduled {
			return fmt.Errorf("%d of %d are new, %d available", s.UpdatedNumberScheduled, s.DesiredNumberScheduled, s.NumberAvailable)
		}
		return nil
	})
}
