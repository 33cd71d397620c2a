package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// healthInterval is how often a kubelet asks the node plugin for the health of its volumes (volumeStatsAggPeriod).
const healthInterval = time.Minute

// failureTold has the file system of a volume fail under its pod. The kubelet (feature gate CSIVolumeHealth) asks the node
// plugin and shows in the pod's status what that says of the one volume, and of the node nothing; a pod whose volume is well
// shows nothing. When the pod was started again the volume works, with its data.
func failureTold(ctx context.Context, w *World) (string, error) {
	if err := errors.Join(w.createClaim(ctx, database, xfsClass, corev1.PersistentVolumeFilesystem),
		w.createClaim(ctx, sourceClaim, xfsClass, corev1.PersistentVolumeFilesystem)); err != nil {
		return "", err
	}
	started, err := w.startPods(ctx, claimPod(database, false))
	if err != nil {
		return "", err
	}
	failing := started[0]
	if started, err = w.startPods(ctx, podOnClaim(sourceClaim, sourceClaim, failing.Spec.NodeName)); err != nil {
		return "", err
	}
	well := started[0]
	if err := w.addRecord(ctx, failing, "first"); err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, failing)
	if err != nil {
		return "", err
	}
	if err := w.failFileSystem(ctx, failing, database); err != nil {
		return "", err
	}
	start := time.Now()
	condition, err := w.toldOf(ctx, failing.Name, corev1.VolumeHealthInaccessible, "FileSystemFailed")
	if err != nil {
		return "", err
	}
	told := time.Since(start)
	if err := errors.Join(w.nothingTold(ctx, well.Name), w.storageWell(ctx, failing.Spec.NodeName)); err != nil {
		return "", err
	}
	if err := w.endPod(ctx, failing.Name); err != nil {
		return "", err
	}
	again, err := w.startPods(ctx, podOnClaim(failing.Name, database, failing.Spec.NodeName))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("after %.0f s the pod's status said %s, %s: %s; its next pod has the data", told.Seconds(), condition.Status, condition.Reason, condition.Message),
		errors.Join(w.hasRecords(ctx, again[0], "first"), w.hasBulk(ctx, again[0], "", sum), w.nothingTold(ctx, again[0].Name), w.unharmed(ctx, well))
}

// failFileSystem has the file system of a claim fail on the node of its pod.
func (w *World) failFileSystem(ctx context.Context, pod *corev1.Pod, claim string) error {
	disk, err := w.diskOf(ctx, claim)
	if err != nil {
		return err
	}
	instance, err := w.instanceOf(ctx, pod.Spec.NodeName)
	if err != nil {
		return err
	}
	if disk.AttachedTo != instance.ID {
		return fmt.Errorf("the disk %s is attached to %q, pod %s runs on %s", disk.ID, disk.AttachedTo, pod.Name, instance.ID)
	}
	if err := w.FailXFS(ctx, instance, driverName, disk.ID); err != nil {
		return err
	}
	err = w.addRecord(ctx, pod, "after")
	switch {
	case err == nil:
		return errors.New("a file system that was shut down took a write")
	case !strings.Contains(err.Error(), "input/output error"):
		return fmt.Errorf("a write to a file system that was shut down was not answered with an input/output error: %w", err)
	}
	return nil
}

// toldOf waits until the kubelet has written into a pod's status what is wrong with its volume, and returns that.
func (w *World) toldOf(ctx context.Context, name string, status corev1.VolumeHealthStatusType, reason string) (corev1.VolumeHealthCondition, error) {
	var found corev1.VolumeHealthCondition
	patient := *w
	patient.Limit = 3*healthInterval + w.Limit
	err := patient.wait(ctx, "the pod's status says "+reason+" of its volume", func(ctx context.Context) error {
		pod, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, volume := range pod.Status.VolumeHealth {
			for _, c := range volume.HealthConditions {
				if volume.Name == "data" && c.Status == status && c.Reason == reason && c.Message != "" {
					found = c
					return nil
				}
			}
		}
		return fmt.Errorf("it says %+v", pod.Status.VolumeHealth)
	})
	return found, err
}

// nothingTold checks that a pod's status says nothing bad of its volumes.
func (w *World) nothingTold(ctx context.Context, name string) error {
	pod, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, volume := range pod.Status.VolumeHealth {
		if len(volume.HealthConditions) > 0 {
			return fmt.Errorf("pod %s, whose volume is well, has in its status %+v", name, volume)
		}
	}
	return nil
}

// storageWell checks that the CSINode says nothing bad of the driver on a node.
func (w *World) storageWell(ctx context.Context, node string) error {
	csiNode, err := w.Kubernetes.StorageV1().CSINodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, health := range csiNode.Status.StorageHealth {
		if health.Name == driverName && len(health.HealthConditions) > 0 {
			return fmt.Errorf("the CSINode %s says of the driver, which can serve: %+v", node, health.HealthConditions)
		}
	}
	return nil
}
