package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	retainingClass = "vultr-nvme-retain"
	volumesPage    = "block-volumes.md"
	// brought is the claim of a volume that was brought along.
	brought = "brought"
)

// broughtAlong has a volume and a snapshot of it go to another namespace by their IDs in the cloud, as the documentation brings
// them along and backup tools do: neither is made again, and both have the data.
func broughtAlong(ctx context.Context, w *World) (string, error) {
	source, sum, err := w.startSource(ctx, retainingClass)
	if err != nil {
		return "", err
	}
	original, err := w.volumeOf(ctx, sourceClaim)
	if err != nil {
		return "", err
	}
	handle, err := w.takeSnapshot(ctx, "kept", retainClass)
	if err != nil {
		return "", err
	}
	defer w.forgetContents(context.WithoutCancel(ctx)) // the class retains them
	if err := errors.Join(w.endSnapshot(ctx, "kept", ""), w.endClaimed(ctx, source, original)); err != nil {
		return "", err
	}
	detail, err := w.inAnotherNamespace(ctx, original, handle, sum)
	return detail, errors.Join(err, w.throwAway(ctx, "/v2/blocks/snapshots/"+handle), w.throwAway(ctx, "/v2/blocks/"+original.Spec.CSI.VolumeHandle))
}

// endClaimed ends a pod, and its claim with the PersistentVolume; the disk is retained.
func (w *World) endClaimed(ctx context.Context, pod *corev1.Pod, volume *corev1.PersistentVolume) error {
	if err := w.endPod(ctx, pod.Name); err != nil {
		return err
	}
	if err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Delete(ctx, claimOf(pod), metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := w.attachedNowhere(ctx, volume.Name); err != nil {
		return err
	}
	volumes := w.Kubernetes.CoreV1().PersistentVolumes()
	err := w.wait(ctx, "the volume "+volume.Name+" is released", func(ctx context.Context) error {
		now, err := volumes.Get(ctx, volume.Name, metav1.GetOptions{})
		if err == nil && now.Status.Phase != corev1.VolumeReleased {
			err = fmt.Errorf("it is %s", now.Status.Phase)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := w.deleteVolume(ctx, volume.Name); err != nil {
		return err
	}
	return w.wait(ctx, "the volume "+volume.Name+" is gone from the cluster", func(ctx context.Context) error {
		_, err := volumes.Get(ctx, volume.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

// inAnotherNamespace brings both along, and looks at what pods find on them.
func (w *World) inAnotherNamespace(ctx context.Context, original *corev1.PersistentVolume, handle, sum string) (string, error) {
	another, err := w.inNamespace(ctx, w.Namespace+"-2")
	if err != nil {
		return "", err
	}
	detail, err := another.bringAlong(ctx, original, handle, sum)
	return detail, errors.Join(err, another.endApart(ctx))
}

func (w *World) bringAlong(ctx context.Context, original *corev1.PersistentVolume, handle, sum string) (_ string, err error) {
	volume, err := w.bringVolume(ctx, original)
	if err != nil {
		return "", err
	}
	// Its claim goes with the namespace, and it with the claim.
	defer func() { err = errors.Join(err, w.deleteVolume(context.WithoutCancel(ctx), volume)) }()
	end, err := w.importSnapshot(ctx, handle)
	if err != nil {
		return "", err
	}
	defer end()
	var restored corev1.PersistentVolumeClaim
	if err := w.documented(snapshotsPage, "PersistentVolumeClaim", restoredClaim, &restored); err != nil {
		return "", err
	}
	restored.Spec.DataSource.Name = imported
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, &restored, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	pods, err := w.startPods(ctx, podOnClaim(brought, brought, ""), podOnClaim(restored.Name, restored.Name, ""))
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		if err := w.hasBulk(ctx, pod, "", sum); err != nil {
			return "", fmt.Errorf("pod %s: %w", pod.Name, err)
		}
	}
	if err := w.endSnapshot(ctx, imported, ""); err != nil {
		return "", err
	}
	return fmt.Sprintf("the volume on %s, a copy from the snapshot on %s", pods[0].Spec.NodeName, pods[1].Spec.NodeName), w.completeInCloud(ctx, handle)
}

// bringVolume brings a disk along as the documentation shows it, with a claim, and returns the PersistentVolume's name.
func (w *World) bringVolume(ctx context.Context, original *corev1.PersistentVolume) (string, error) {
	var volume corev1.PersistentVolume
	if err := w.documented(volumesPage, "PersistentVolume", imported, &volume); err != nil {
		return "", err
	}
	volume.Name = w.Namespace + "-" + imported
	volume.Spec.CSI.VolumeHandle, volume.Spec.Capacity = original.Spec.CSI.VolumeHandle, original.Spec.Capacity
	volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: w.Namespace, Name: brought}
	if _, err := w.Kubernetes.CoreV1().PersistentVolumes().Create(ctx, &volume, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: brought}, Spec: claimSpec(retainingClass, corev1.PersistentVolumeFilesystem)}
	claim.Spec.VolumeName = volume.Name
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return "", errors.Join(err, w.deleteVolume(ctx, volume.Name))
	}
	return volume.Name, nil
}

// throwAway deletes something from the cloud as soon as that allows it.
func (w *World) throwAway(ctx context.Context, path string) error {
	return w.wait(ctx, path+" is deleted", func(ctx context.Context) error { return w.Cloud.Do(ctx, http.MethodDelete, path, nil, nil) })
}
