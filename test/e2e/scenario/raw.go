package scenario

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const raw = "raw"

// rawBlock gives a pod a disk without a file system.
func rawBlock(ctx context.Context, w *World) (string, error) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: raw}, Spec: claimSpec("vultr-nvme", corev1.PersistentVolumeBlock)}
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	if _, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, claimPod(raw, true), metav1.CreateOptions{}); err != nil {
		return "", err
	}
	pod, err := w.readyPod(ctx, raw, "")
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, pod, "raw"); err != nil {
		return "", err
	}
	size, err := w.databaseSize(ctx, pod)
	if err != nil {
		return "", err
	}
	if size != 10<<30 {
		return "", fmt.Errorf("the device has %d bytes", size)
	}
	return "a device of exactly 10 GiB on " + pod.Spec.NodeName, w.hasRecords(ctx, pod, "raw")
}

// claimPod is a single pod with a database on the claim of the same name.
func claimPod(name string, isRaw bool) *corev1.Pod {
	spec := databaseSpec("data", isRaw)
	spec.Volumes = []corev1.Volume{{
		Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}},
	}}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}
