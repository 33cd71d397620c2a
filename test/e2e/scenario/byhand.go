package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// detachedByHand detaches a disk that Kubernetes has attached, as somebody in the console does. The attacher compares its
// VolumeAttachments with the driver's list of volumes when it begins to lead, and now and then (--reconcile-sync), and has the disk
// attached again. No pod has it mounted meanwhile: what one would see of that is another scenario's.
func detachedByHand(ctx context.Context, w *World) (string, error) {
	return w.within(ctx, "by-hand", func(ctx context.Context, w *World) (detail string, err error) {
		defer func() { err = errors.Join(err, w.detachUnused(context.WithoutCancel(ctx))) }()
		if err := w.createDatabasePod(ctx); err != nil {
			return "", err
		}
		if _, err := w.oneDiskWorks(ctx); err != nil {
			return "", err
		}
		disk, err := w.onlyDisk(ctx)
		if err != nil {
			return "", err
		}
		node, instance, err := w.attachUnused(ctx, disk)
		if err != nil {
			return "", err
		}
		if err := w.detachByHand(ctx, disk, instance); err != nil {
			return "", err
		}
		if err := w.detachUnused(ctx); err != nil {
			return "", err
		}
		pod, err := w.startPodAgain(ctx, "")
		if err != nil {
			return "", err
		}
		if err := w.hasRecords(ctx, pod, "written"); err != nil {
			return "", err
		}
		after, err := w.leaseHolder(ctx, attacherLease)
		return fmt.Sprintf("the attacher of %s had the disk attached to %s again", after, node), err
	})
}

// detachByHand detaches the disk, has another attacher lead, and returns when the disk is attached to the instance again.
func (w *World) detachByHand(ctx context.Context, disk cluster.CloudDisk, instance cluster.CloudInstance) error {
	if err := w.Cloud.Do(ctx, http.MethodPost, "/v2/blocks/"+disk.ID+"/detach", map[string]any{"live": true}, nil); err != nil {
		return err
	}
	if err := w.diskIsAt(ctx, ""); err != nil {
		return err
	}
	holder, err := w.leaseHolder(ctx, attacherLease)
	if err != nil {
		return err
	}
	if err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Delete(ctx, holder, metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := w.diskIsAt(ctx, instance.ID); err != nil {
		return fmt.Errorf("after it was detached by hand: %w", err)
	}
	return nil
}

// unused is the VolumeAttachment of a volume that no pod has.
const unused = "by-hand"

// attachUnused ends the database's pod and has the attacher attach its disk to the pod's node once more, for nobody.
func (w *World) attachUnused(ctx context.Context, disk cluster.CloudDisk) (node string, instance cluster.CloudInstance, err error) {
	pod, err := w.readyPod(ctx, database, "")
	if err != nil {
		return "", instance, err
	}
	node = pod.Spec.NodeName
	if err := w.endPod(ctx, database); err != nil {
		return "", instance, err
	}
	if err := w.diskIsAt(ctx, ""); err != nil {
		return "", instance, err
	}
	if instance, err = w.instanceOf(ctx, node); err != nil {
		return "", instance, err
	}
	attachment := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: unused}, Spec: storagev1.VolumeAttachmentSpec{
		Attacher: driverName, NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &disk.Label},
	}}
	if _, err := w.Kubernetes.StorageV1().VolumeAttachments().Create(ctx, attachment, metav1.CreateOptions{}); err != nil {
		return "", instance, err
	}
	err = w.wait(ctx, "the attacher says that the disk is attached", func(ctx context.Context) error {
		now, err := w.Kubernetes.StorageV1().VolumeAttachments().Get(ctx, unused, metav1.GetOptions{})
		if err == nil && !now.Status.Attached {
			err = fmt.Errorf("it says %+v", now.Status)
		}
		return err
	})
	if err == nil {
		err = w.diskIsAt(ctx, instance.ID)
	}
	return node, instance, err
}

// detachUnused takes that back. It is success when there is no such attachment.
func (w *World) detachUnused(ctx context.Context) error {
	err := w.Kubernetes.StorageV1().VolumeAttachments().Delete(ctx, unused, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.diskIsAt(ctx, "")
}

// diskIsAt waits until the one disk of the cloud is attached to an instance, "" for none.
func (w *World) diskIsAt(ctx context.Context, instance string) error {
	return w.wait(ctx, fmt.Sprintf("the disk is attached to %q", instance), func(ctx context.Context) error {
		disk, err := w.onlyDisk(ctx)
		if err == nil && disk.AttachedTo != instance {
			err = errors.New("it is attached to " + disk.AttachedTo)
		}
		return err
	})
}
