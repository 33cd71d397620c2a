package scenario

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// createDatabasePod makes a claim and a pod with a database on it, on xfs.
func (w *World) createDatabasePod(ctx context.Context) error {
	return w.createDatabasePodOf(ctx, xfsClass)
}

func (w *World) createDatabasePodOf(ctx context.Context, class string) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: database}, Spec: claimSpec(class, corev1.PersistentVolumeFilesystem)}
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, claimPod(database, false), metav1.CreateOptions{})
	return err
}

// endPod deletes a pod and waits until it is gone.
func (w *World) endPod(ctx context.Context, name string) error {
	pods := w.Kubernetes.CoreV1().Pods(w.Namespace)
	if err := pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, "pod "+name+" is gone", func(ctx context.Context) error {
		_, err := pods.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = errors.New("it is still there")
		}
		return err
	})
}

// startPodAgain makes the database's pod once more, on its old claim, and waits for it.
func (w *World) startPodAgain(ctx context.Context, notOn string) (*corev1.Pod, error) {
	if _, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, claimPod(database, false), metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	return w.readyPod(ctx, database, notOn)
}

// oneDiskWorks waits until the database runs, and checks that there is one of everything: a disk in the cloud, named
// after the claim's volume and attached where the pod is, one attachment, one loop device.
func (w *World) oneDiskWorks(ctx context.Context) (string, error) {
	pod, err := w.readyPod(ctx, database, "")
	if err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, pod, "written"); err != nil {
		return "", err
	}
	if err := w.hasRecords(ctx, pod, "written"); err != nil {
		return "", err
	}
	disk, err := w.onlyDisk(ctx)
	if err != nil {
		return "", err
	}
	if err := w.oneOfEach(ctx, disk); err != nil {
		return "", err
	}
	instance, err := w.instanceOf(ctx, pod.Spec.NodeName)
	if err != nil {
		return "", err
	}
	if disk.AttachedTo != instance.ID {
		return "", fmt.Errorf("disk %s is attached to %q, the pod runs on %s", disk.ID, disk.AttachedTo, instance.ID)
	}
	return "one disk, on " + pod.Spec.NodeName, nil
}

// onlyDisk returns the one disk of the cloud.
func (w *World) onlyDisk(ctx context.Context) (cluster.CloudDisk, error) {
	disks, err := w.Disks(ctx)
	if err == nil && len(disks) != 1 {
		err = fmt.Errorf("%d disks instead of 1: %v", len(disks), disks)
	}
	if err != nil {
		return cluster.CloudDisk{}, err
	}
	return disks[0], nil
}

// oneOfEach checks the objects that stand for the database's disk.
func (w *World) oneOfEach(ctx context.Context, disk cluster.CloudDisk) error {
	claim, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, database, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if claim.Status.Phase != corev1.ClaimBound || claim.Spec.VolumeName != disk.Label {
		return fmt.Errorf("the claim is %s to the volume %q, the disk is called %q", claim.Status.Phase, claim.Spec.VolumeName, disk.Label)
	}
	volume, err := w.Kubernetes.CoreV1().PersistentVolumes().Get(ctx, disk.Label, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if volume.Spec.CSI == nil || volume.Spec.CSI.VolumeHandle != disk.ID {
		return fmt.Errorf("the volume %s is not the disk %s: %+v", volume.Name, disk.ID, volume.Spec.CSI)
	}
	attachments, err := w.Kubernetes.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if n := len(attachments.Items); n != 1 {
		return fmt.Errorf("%d volume attachments instead of 1", n)
	}
	a := attachments.Items[0]
	if name := a.Spec.Source.PersistentVolumeName; !a.Status.Attached || name == nil || *name != disk.Label {
		return fmt.Errorf("the volume attachment is %+v, %+v", a.Spec, a.Status)
	}
	devices, all, err := w.LoopDevices(ctx)
	if err == nil && (devices[disk.ID] != 1 || all != 1) {
		err = fmt.Errorf("%d loop devices, %d of them for the disk, instead of 1", all, devices[disk.ID])
	}
	return err
}

// dataFollows moves the database to the other node, reads its records there, and then checks the whole file system
// of the disk, which nobody has mounted any more.
func (w *World) dataFollows(ctx context.Context, from string) (string, error) {
	if err := w.endPod(ctx, database); err != nil {
		return "", err
	}
	if err := w.setUnschedulable(ctx, from, true); err != nil {
		return "", err
	}
	pod, err := w.startPodAgain(ctx, from)
	if err != nil {
		return "", err
	}
	if err := w.setUnschedulable(ctx, from, false); err != nil {
		return "", err
	}
	if err := w.hasRecords(ctx, pod, "written"); err != nil {
		return "", err
	}
	if err := w.addRecord(ctx, pod, "moved"); err != nil {
		return "", err
	}
	if err := w.hasRecords(ctx, pod, "written", "moved"); err != nil {
		return "", err
	}
	if err := w.endPod(ctx, database); err != nil {
		return "", err
	}
	var disk cluster.CloudDisk
	err = w.wait(ctx, "the disk is detached", func(ctx context.Context) error {
		if disk, err = w.onlyDisk(ctx); err != nil {
			return err
		}
		if disk.AttachedTo != "" {
			return errors.New("it is attached to " + disk.AttachedTo)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return "data and file system are whole after a move to " + pod.Spec.NodeName, w.CheckXFS(ctx, disk)
}
