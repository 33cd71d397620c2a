package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The classes are those that are shipped: the one to use, and the official driver's.
const (
	shared              = "shared"
	sharedClass         = "vultr-vfs"
	officialSharedClass = "vultr-vfs-storage"
)

// sharedFileSystem gives one volume to pods on both nodes: each writes, and reads what the other one has written. It grows
// meanwhile, one pod of the two ends and comes back, and the volume is gone when they are.
func sharedFileSystem(ctx context.Context, w *World) (string, error) {
	if err := w.createSharedClaim(ctx); err != nil {
		return "", err
	}
	pods, err := w.startPods(ctx, sharingPod(shared+"-a"), sharingPod(shared+"-b"))
	if err != nil {
		return "", err
	}
	if pods[0].Spec.NodeName == pods[1].Spec.NodeName {
		return "", errors.New("both pods are on node " + pods[0].Spec.NodeName)
	}
	sums := make([]string, len(pods))
	for i, pod := range pods {
		if err := w.addRecord(ctx, pod, "by "+pod.Name); err != nil {
			return "", err
		}
		if sums[i], err = w.writeBulk(ctx, pod); err != nil {
			return "", err
		}
	}
	if err := w.readEachOther(ctx, pods, sums); err != nil {
		return "", err
	}
	if err := w.sharedGrows(ctx); err != nil {
		return "", err
	}
	// The node that one pod leaves has to release the volume while the other one has it.
	if err := w.endPod(ctx, pods[0].Name); err != nil {
		return "", err
	}
	again, err := w.startPods(ctx, sharingPod(pods[0].Name))
	if err != nil {
		return "", err
	}
	pods[0] = again[0]
	if err := w.readEachOther(ctx, pods, sums); err != nil {
		return "", err
	}
	if err := w.unharmed(ctx, pods[1]); err != nil {
		return "", err
	}
	return fmt.Sprintf("on %s and %s; it grew to 20 GiB in use", pods[0].Spec.NodeName, pods[1].Spec.NodeName), nil
}

func (w *World) createSharedClaim(ctx context.Context) error {
	return w.createSharedClaimOf(ctx, sharedClass)
}

func (w *World) createSharedClaimOf(ctx context.Context, class string) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: shared}, Spec: claimSpec(class, corev1.PersistentVolumeFilesystem)}
	claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	_, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{})
	return err
}

// readEachOther checks that each pod sees what the other one has written.
func (w *World) readEachOther(ctx context.Context, pods []*corev1.Pod, sums []string) error {
	for i, writer := range pods {
		reader := pods[1-i]
		text, err := w.fetch(ctx, podURL(reader)+"/records?of="+writer.Name)
		if err != nil {
			return err
		}
		if want := "by " + writer.Name + "\n"; text != want {
			return fmt.Errorf("pod %s reads %q of what pod %s has written, not %q", reader.Name, text, writer.Name, want)
		}
		if err := w.hasBulk(ctx, reader, writer.Name, sums[i]); err != nil {
			return err
		}
	}
	return nil
}

// sharedGrows asks for more: there is nothing to do on nodes.
func (w *World) sharedGrows(ctx context.Context) error {
	if err := w.grow(ctx, shared); err != nil {
		return err
	}
	return w.claimGrown(ctx, shared)
}

// sharingPod has a database in a directory of its own on the shared volume. No two are on one node.
func sharingPod(name string) *corev1.Pod {
	pod := podOnClaim(name, shared, "")
	pod.Labels = map[string]string{"app": shared}
	pod.Spec.Containers[0].Args = []string{"-dir=/data/" + name}
	pod.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
		LabelSelector: &metav1.LabelSelector{MatchLabels: pod.Labels}, TopologyKey: corev1.LabelHostname,
	}}}}
	return pod
}

// scratchPod has a volume that lives as long as the pod.
func scratchPod() *corev1.Pod {
	spec := databaseSpec("data", false)
	spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
		VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: claimSpec(ext4Class, corev1.PersistentVolumeFilesystem)},
	}}}}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "scratch"}, Spec: spec}
}

// scratchVolume gives a pod a volume that is made and deleted with it.
func scratchVolume(ctx context.Context, w *World) (string, error) {
	pods, err := w.startPods(ctx, scratchPod())
	if err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, pods[0])
	if err != nil {
		return "", err
	}
	if err := w.hasBulk(ctx, pods[0], "", sum); err != nil {
		return "", err
	}
	volumes, err := w.volumesOf(ctx)
	if err != nil {
		return "", err
	}
	if len(volumes) != 1 {
		return "", fmt.Errorf("the pod has %d volumes: %v", len(volumes), volumes)
	}
	if err := w.endPod(ctx, pods[0].Name); err != nil {
		return "", err
	}
	return volumes[0] + " came and went with its pod", w.wait(ctx, "the volume is gone with its pod", func(ctx context.Context) error {
		left, err := w.volumesOf(ctx)
		if err != nil {
			return err
		}
		if slices.Contains(left, volumes[0]) {
			return errors.New("its PersistentVolume is there")
		}
		return w.volumesGone(ctx, volumes...)
	})
}
