package scenario

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// attributesClass is the class that the documentation shows, otherClass one with another label.
const (
	attributesClass = "team-a"
	otherClass      = "team-b"
	noSuchClass     = "with-iops"
)

// labelChanged has a volume's label follow the VolumeAttributesClass of its claim, from the start and while it is in use; a
// class with a parameter that the platform does not have changes nothing.
func labelChanged(ctx context.Context, w *World) (detail string, err error) {
	if err := w.createAttributesClasses(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.deleteAttributesClasses(context.WithoutCancel(ctx))) }()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: sourceClaim}, Spec: claimSpec(xfsClass, corev1.PersistentVolumeFilesystem)}
	claim.Spec.VolumeAttributesClassName = new(attributesClass)
	if _, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	pods, err := w.startPods(ctx, podOnClaim(sourceClaim, sourceClaim, ""))
	if err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, pods[0])
	if err != nil {
		return "", err
	}
	if err := w.hasLabel(ctx, "team a", 10); err != nil {
		return "", err
	}
	// The label and the size at once.
	if err := w.patchClaim(ctx, `{"spec":{"volumeAttributesClassName":"`+otherClass+`","resources":{"requests":{"storage":"20Gi"}}}}`); err != nil {
		return "", err
	}
	err = w.wait(ctx, "the volume has the other label and is larger", func(ctx context.Context) error {
		return errors.Join(w.hasLabel(ctx, "team b", 20), w.currentClass(ctx, otherClass, ""))
	})
	if err != nil {
		return "", err
	}
	if err := w.patchClaim(ctx, `{"spec":{"volumeAttributesClassName":"`+noSuchClass+`"}}`); err != nil {
		return "", err
	}
	err = w.wait(ctx, "the claim says that it cannot have the class", func(ctx context.Context) error {
		return w.currentClass(ctx, otherClass, corev1.PersistentVolumeClaimModifyVolumeInfeasible)
	})
	if err != nil {
		return "", err
	}
	if err := w.hasLabel(ctx, "team b", 20); err != nil {
		return "", err
	}
	if err := w.unharmed(ctx, pods[0]); err != nil {
		return "", err
	}
	return "from team a to team b, and no further", w.hasBulk(ctx, pods[0], "", sum)
}

// createAttributesClasses makes the class of the documentation and two more.
func (w *World) createAttributesClasses(ctx context.Context) error {
	for name, parameters := range map[string]map[string]string{
		attributesClass: nil, otherClass: {"label": "team b"}, noSuchClass: {"label": "team c", "iops": "5000"},
	} {
		var class storagev1.VolumeAttributesClass
		if err := w.documented("block-volumes.md", "VolumeAttributesClass", attributesClass, &class); err != nil {
			return err
		}
		class.Name = name
		if parameters != nil {
			class.Parameters = parameters
		}
		if _, err := w.Kubernetes.StorageV1().VolumeAttributesClasses().Create(ctx, &class, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) deleteAttributesClasses(ctx context.Context) error {
	for _, name := range []string{attributesClass, otherClass, noSuchClass} {
		err := w.Kubernetes.StorageV1().VolumeAttributesClasses().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (w *World) patchClaim(ctx context.Context, patch string) error {
	_, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Patch(ctx, sourceClaim, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// hasLabel checks the label and the size of the claim's disk in the cloud.
func (w *World) hasLabel(ctx context.Context, note string, gigabytes int) error {
	disk, err := w.diskOf(ctx, sourceClaim)
	if err != nil {
		return err
	}
	claim, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, sourceClaim, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if want := claim.Spec.VolumeName + " (" + note + ")"; disk.Label != want || disk.SizeGB != gigabytes {
		return fmt.Errorf("the disk is called %q and has %d GB, not %q and %d", disk.Label, disk.SizeGB, want, gigabytes)
	}
	return nil
}

// currentClass checks which class the claim's volume has, and what is said of a change that is under way.
func (w *World) currentClass(ctx context.Context, want string, change corev1.PersistentVolumeClaimModifyVolumeStatus) error {
	claim, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, sourceClaim, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var got corev1.PersistentVolumeClaimModifyVolumeStatus
	if claim.Status.ModifyVolumeStatus != nil {
		got = claim.Status.ModifyVolumeStatus.Status
	}
	current := ""
	if name := claim.Status.CurrentVolumeAttributesClassName; name != nil {
		current = *name
	}
	if current != want || got != change {
		return fmt.Errorf("the volume's class is %q and the change is %q, not %q and %q; %s", current, got, want, change, w.events(ctx, sourceClaim))
	}
	return nil
}
