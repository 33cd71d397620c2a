package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	raw = "raw"
	// formerClass spells its parameters as the official driver did before.
	formerClass = "demo-former"
)

// rawBlock gives a pod a disk without a file system, by a class that the claim's owner is warned of.
func rawBlock(ctx context.Context, w *World) (string, error) {
	if err := w.createClass(ctx, formerClass, map[string]string{"block_type": "high_perf"}); err != nil {
		return "", err
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: raw}, Spec: claimSpec(formerClass, corev1.PersistentVolumeBlock)}
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
	sum, err := w.writeBulk(ctx, pod)
	if err != nil {
		return "", err
	}
	size, err := w.databaseSize(ctx, pod)
	if err != nil {
		return "", err
	}
	if size != 10<<30 {
		return "", fmt.Errorf("the device has %d bytes", size)
	}
	if err := errors.Join(w.hasRecords(ctx, pod, "raw"), w.hasBulk(ctx, pod, "", sum)); err != nil {
		return "", err
	}
	return "a device of exactly 10 GiB on " + pod.Spec.NodeName + "; the claim was told of the parameter block_type", w.wait(ctx,
		"the claim has an Event about its class", func(ctx context.Context) error { return w.warnedOf(ctx, raw, "block_type") })
}

// warnedOf checks that the driver wrote an Event about a parameter of the claim's StorageClass.
func (w *World) warnedOf(ctx context.Context, claim, parameter string) error {
	list, err := w.Kubernetes.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=" + claim + ",reason=DeprecatedParameter",
	})
	if err != nil {
		return err
	}
	for _, e := range list.Items {
		if e.Type == corev1.EventTypeWarning && e.Source.Component == driverName && strings.Contains(e.Message, fmt.Sprintf("%q", parameter)) {
			return nil
		}
	}
	return fmt.Errorf("the driver wrote none; %s", w.events(ctx, claim))
}

// claimPod is a single pod with a database on the claim of the same name.
func claimPod(name string, isRaw bool) *corev1.Pod {
	spec := databaseSpec("data", isRaw)
	spec.Volumes = []corev1.Volume{{
		Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}},
	}}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}
