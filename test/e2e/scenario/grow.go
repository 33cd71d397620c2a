package scenario

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// grownBytes is the size for which grow asks.
const grownBytes = 20 << 30

// grow asks for twice the size of a claim.
func (w *World) grow(ctx context.Context, claim string) error {
	patch := []byte(`{"spec":{"resources":{"requests":{"storage":"20Gi"}}}}`)
	_, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Patch(ctx, claim, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// seesGrown waits until a pod sees the size that grow asked for. It returns what the pod sees.
func (w *World) seesGrown(ctx context.Context, pod *corev1.Pod) (int64, error) {
	var size int64
	err := w.wait(ctx, "pod "+pod.Name+" sees the larger disk", func(ctx context.Context) error {
		var err error
		size, err = w.databaseSize(ctx, pod)
		// A file system takes some of the device for itself.
		if err == nil && size < grownBytes*9/10 {
			err = fmt.Errorf("the pod sees %d bytes", size)
		}
		return err
	})
	return size, err
}

// claimGrown waits until a claim shows the size that grow asked for.
func (w *World) claimGrown(ctx context.Context, name string) error {
	return w.wait(ctx, "the claim "+name+" has grown", func(ctx context.Context) error {
		claim, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if capacity := claim.Status.Capacity.Storage(); capacity.CmpInt64(grownBytes) != 0 {
			return fmt.Errorf("its capacity is %s; %s", capacity, w.events(ctx, name))
		}
		return nil
	})
}

// growsInUse grows a claim under its pod, which does not notice.
func (w *World) growsInUse(ctx context.Context, pod *corev1.Pod, claim string) (int64, error) {
	if err := w.grow(ctx, claim); err != nil {
		return 0, err
	}
	size, err := w.seesGrown(ctx, pod)
	return size, errors.Join(err, w.claimGrown(ctx, claim), w.unharmed(ctx, pod))
}
