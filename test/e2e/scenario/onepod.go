package scenario

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	alone = "alone" // the pod that has the volume
	past  = "past-the-scheduler"
	next  = "next"
)

// In which words a second pod of a ReadWriteOncePod volume is refused. A kubelet refuses it before it asks the driver, which would
// refuse it too.
const (
	refusedByScheduler = "PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
	refusedByKubelet   = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
)

// sharedForOnePod is onePodOnly for a shared file system, which the platform would attach to any number of nodes.
func sharedForOnePod(ctx context.Context, w *World) (string, error) {
	return w.onePodOnly(ctx, sharedClass, corev1.PersistentVolumeFilesystem)
}

// deviceForOnePod is onePodOnly for a raw block device.
func deviceForOnePod(ctx context.Context, w *World) (string, error) {
	return w.onePodOnly(ctx, ext4Class, corev1.PersistentVolumeBlock)
}

// onePodOnly gives a ReadWriteOncePod volume to a pod. The scheduler brings no second one to any node, and one that passes it by is
// refused on the first one's own node, each with its reason. The first one does not notice, and when it has ended the next
// one has the volume with its data.
func (w *World) onePodOnly(ctx context.Context, class string, mode corev1.PersistentVolumeMode) (string, error) {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: alone}, Spec: claimSpec(class, mode)}
	claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	pod := func(name string) *corev1.Pod {
		pod := claimPod(alone, mode == corev1.PersistentVolumeBlock)
		pod.Name = name
		return pod
	}
	first, err := w.startPods(ctx, pod(alone))
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, first[0], "first"); err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, first[0])
	if err != nil {
		return "", err
	}
	second := pod(past)
	second.Spec.NodeName = first[0].Spec.NodeName
	if err := w.refusedOnNode(ctx, second); err != nil {
		return "", err
	}
	if err := w.leftUnscheduled(ctx, pod(next)); err != nil {
		return "", err
	}
	if err := w.sourceUnharmed(ctx, first[0], sum, []string{"first"}); err != nil {
		return "", err
	}
	if err := w.endPod(ctx, alone); err != nil {
		return "", err
	}
	then, err := w.readyPod(ctx, next, "")
	if err != nil {
		return "", err
	}
	if err := w.sourceUnharmed(ctx, then, sum, []string{"first"}); err != nil {
		return "", fmt.Errorf("the next pod: %w", err)
	}
	return fmt.Sprintf("a second pod was refused by the scheduler and on node %s; it had the volume when the first one had ended", second.Spec.NodeName), nil
}

// refusedOnNode brings a pod to its node without the scheduler, waits until an Event tells the reason why it cannot have its
// volume, and takes it away. It never runs.
func (w *World) refusedOnNode(ctx context.Context, pod *corev1.Pod) error {
	pods := w.Kubernetes.CoreV1().Pods(w.Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return err
	}
	err := w.wait(ctx, fmt.Sprintf("pod %s is refused on node %s because %q", pod.Name, pod.Spec.NodeName, refusedByKubelet), func(ctx context.Context) error {
		list, err := w.Kubernetes.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Type == corev1.EventTypeWarning && strings.Contains(e.Message, refusedByKubelet) {
				return nil
			}
		}
		return fmt.Errorf("no Event says so; %s", w.events(ctx, pod.Name))
	})
	if err != nil {
		return err
	}
	now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if now.Status.Phase != corev1.PodPending {
		return fmt.Errorf("pod %s, which was refused its volume, is %s", pod.Name, now.Status.Phase)
	}
	return w.endPod(ctx, pod.Name)
}

// leftUnscheduled makes a pod and waits until the scheduler says why it goes to no node.
func (w *World) leftUnscheduled(ctx context.Context, pod *corev1.Pod) error {
	pods := w.Kubernetes.CoreV1().Pods(w.Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, "the scheduler refuses pod "+pod.Name, func(ctx context.Context) error {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range now.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, refusedByScheduler) {
				return nil
			}
		}
		return fmt.Errorf("it is on node %q; its conditions are %+v", now.Spec.NodeName, now.Status.Conditions)
	})
}
