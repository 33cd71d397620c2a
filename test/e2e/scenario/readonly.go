package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// readClaim is a claim of what another claim's volume has, to be read only.
const readClaim = "read"

// sharedReadOnly shows a shared file system to pods that may only read it: by the pods' own word (readOnly: true) while another
// one writes, also on that one's node, and by the access mode of a second PersistentVolume, on both nodes at once, by pods
// that say nothing of it.
func sharedReadOnly(ctx context.Context, w *World) (string, error) {
	if err := w.createSharedClaim(ctx); err != nil {
		return "", err
	}
	started, err := w.startPods(ctx, sharingPod(shared+"-writer"))
	if err != nil {
		return "", err
	}
	writer := started[0]
	if err := w.addRecord(ctx, writer, "first"); err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, writer)
	if err != nil {
		return "", err
	}
	if err := w.readByOwnWord(ctx, writer, sum); err != nil {
		return "", fmt.Errorf("pods that say readOnly: %w", err)
	}
	if err := w.sourceUnharmed(ctx, writer, sum, []string{"first"}); err != nil {
		return "", err
	}
	if err := w.endPod(ctx, writer.Name); err != nil {
		return "", err
	}
	if err := w.readByMode(ctx, writer, sum); err != nil {
		return "", fmt.Errorf("pods of a ReadOnlyMany claim: %w", err)
	}
	return "pods on both nodes read it and could not write to it: by their own word beside a writer, and by ReadOnlyMany", nil
}

// readByOwnWord has two pods read what a third one has, of which one is on that one's node.
func (w *World) readByOwnWord(ctx context.Context, writer *corev1.Pod, sum string) error {
	beside, elsewhere := readingPod("beside", shared, writer.Name), readingPod("elsewhere", shared, writer.Name)
	beside.Spec.NodeSelector = map[string]string{corev1.LabelHostname: writer.Spec.NodeName}
	elsewhere.Spec.Affinity = writer.Spec.Affinity // not where a pod with the writer's label is
	for _, pod := range []*corev1.Pod{beside, elsewhere} {
		pod.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true
	}
	return w.readOnlyBy(ctx, "first", sum, beside, elsewhere)
}

// readByMode has pods on both nodes read what another one has left, by a second PersistentVolume.
func (w *World) readByMode(ctx context.Context, writer *corev1.Pod, sum string) (err error) {
	volume, err := w.claimToRead(ctx, shared)
	if err != nil {
		return err
	}
	// Its claim goes with the namespace, and it with the claim: it was to be retained.
	defer func() { err = errors.Join(err, w.deleteVolume(context.WithoutCancel(ctx), volume)) }()
	readers := []*corev1.Pod{readingPod("reader-a", readClaim, writer.Name), readingPod("reader-b", readClaim, writer.Name)}
	for _, pod := range readers {
		pod.Labels, pod.Spec.Affinity = writer.Labels, writer.Spec.Affinity
	}
	return w.readOnlyBy(ctx, "first", sum, readers...)
}

// readingPod shows what the pod called writer has left on a claim.
func readingPod(name, claim, writer string) *corev1.Pod {
	pod := podOnClaim(name, claim, "")
	pod.Spec.Containers[0].Args = []string{"-dir=/data/" + writer, "-read-only"}
	return pod
}

// readOnlyBy starts pods, checks that each reads what was written and is refused by the kernel to write, and ends them.
func (w *World) readOnlyBy(ctx context.Context, record, sum string, pods ...*corev1.Pod) error {
	started, err := w.startPods(ctx, pods...)
	if err != nil {
		return err
	}
	nodes := map[string]bool{}
	for _, pod := range started {
		nodes[pod.Spec.NodeName] = true
		if err := w.readsOnly(ctx, pod, record, sum); err != nil {
			return fmt.Errorf("pod %s on node %s: %w", pod.Name, pod.Spec.NodeName, err)
		}
	}
	if len(nodes) < 2 {
		return fmt.Errorf("all pods are on one node: %v", nodes)
	}
	for _, pod := range started {
		if err := w.endPod(ctx, pod.Name); err != nil {
			return err
		}
	}
	return nil
}

// readsOnly checks that a pod reads what was written and is refused by the kernel to write.
func (w *World) readsOnly(ctx context.Context, pod *corev1.Pod, record, sum string) error {
	if err := errors.Join(w.hasRecords(ctx, pod, record), w.hasBulk(ctx, pod, "", sum)); err != nil {
		return err
	}
	_, err := w.askLong(ctx, http.MethodPost, podURL(pod)+"/bulk")
	if err == nil {
		return errors.New("it wrote to a volume that it may only read")
	}
	if !strings.Contains(err.Error(), "read-only file system") {
		return fmt.Errorf("it tried to write, and was not answered that the file system is read-only: %w", err)
	}
	return w.hasBulk(ctx, pod, "", sum)
}

// claimToRead brings the volume of a claim along once more, as a ReadOnlyMany PersistentVolume with a claim, and returns its name.
// It waits until no node has the volume: what is mounted to be written to would be taken for it.
func (w *World) claimToRead(ctx context.Context, of string) (string, error) {
	original, err := w.volumeOf(ctx, of)
	if err != nil {
		return "", err
	}
	if err := w.attachedNowhere(ctx, original.Name); err != nil {
		return "", err
	}
	readOnly := []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: original.Name + "-" + readClaim},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: original.Spec.Capacity, AccessModes: readOnly, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef: &corev1.ObjectReference{Namespace: w.Namespace, Name: readClaim}, NodeAffinity: original.Spec.NodeAffinity,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: driverName, VolumeHandle: original.Spec.CSI.VolumeHandle,
			}},
		},
	}
	if _, err := w.Kubernetes.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	second := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: readClaim}, Spec: claimSpec("", corev1.PersistentVolumeFilesystem)}
	second.Spec.AccessModes, second.Spec.VolumeName = readOnly, volume.Name
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, second, metav1.CreateOptions{}); err != nil {
		return "", errors.Join(err, w.deleteVolume(ctx, volume.Name))
	}
	return volume.Name, nil
}

// attachedNowhere waits until a PersistentVolume is attached to no node.
func (w *World) attachedNowhere(ctx context.Context, volume string) error {
	return w.wait(ctx, "the volume "+volume+" is attached to no node", func(ctx context.Context) error {
		list, err := w.Kubernetes.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, a := range list.Items {
			if name := a.Spec.Source.PersistentVolumeName; name != nil && *name == volume {
				return fmt.Errorf("it is attached to node %s: %+v", a.Spec.NodeName, a.Status)
			}
		}
		return nil
	})
}

// deleteVolume deletes a PersistentVolume, which goes when no claim has it.
func (w *World) deleteVolume(ctx context.Context, name string) error {
	err := w.Kubernetes.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
