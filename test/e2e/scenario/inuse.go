package scenario

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// plain is a pod, and its claim, with the default file system, ext4.
const plain = "plain"

// inUse are pods that use volumes of every kind, and what they have written, over several steps.
type inUse struct {
	manifests []*corev1.Pod

	pods    []*corev1.Pod
	sums    []string
	records [][]string
	grown   bool
}

// usingPods are the pods. Two share a file system, each on a node of its own.
func usingPods() []*corev1.Pod { return append(busyPods(), claimPod(plain, false)) }

// start makes the claims and the pods, and has each pod write some megabytes.
func (u *inUse) start(ctx context.Context, w *World) (string, error) {
	if err := w.createXFSClass(ctx); err != nil {
		return "", err
	}
	if err := errors.Join(w.createBusyClaims(ctx), w.createClaim(ctx, plain, ext4Class, corev1.PersistentVolumeFilesystem)); err != nil {
		return "", err
	}
	return u.startPods(ctx, w, usingPods())
}

// startPods starts the pods and has each write some megabytes.
func (u *inUse) startPods(ctx context.Context, w *World, pods []*corev1.Pod) (string, error) {
	var err error
	u.manifests = pods
	if u.pods, err = w.startPods(ctx, pods...); err != nil {
		return "", err
	}
	u.sums, u.records = make([]string, len(u.pods)), make([][]string, len(u.pods))
	for i, pod := range u.pods {
		if u.sums[i], err = w.writeBulk(ctx, pod); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d pods", len(u.pods)), nil
}

// unnoticed does something while all pods write. None of them may notice it, and afterwards every volume is attached as before,
// and was all the time.
func (u *inUse) unnoticed(ctx context.Context, w *World, do func(context.Context) error) (string, error) {
	before, err := w.whereAttached(ctx)
	if err != nil {
		return "", err
	}
	written, err := w.writingMeanwhile(ctx, u.pods, do)
	if err != nil {
		return "", err
	}
	total := 0
	for i := range u.pods {
		u.records[i] = append(u.records[i], written[i]...)
		total += len(written[i])
	}
	if err := u.unharmed(ctx, w); err != nil {
		return "", err
	}
	after, err := w.whereAttached(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d records were written meanwhile", total), before.sameAs(after)
}

// unharmed checks that all pods are the same as before, with all that they have written.
func (u *inUse) unharmed(ctx context.Context, w *World) error {
	for i, pod := range u.pods {
		if err := w.sourceUnharmed(ctx, pod, u.sums[i], u.records[i]); err != nil {
			return err
		}
	}
	return nil
}

// grow asks for twice the size of every claim. A pod sees it at once, but that of an ext4 where the kernel grows none in use.
func (u *inUse) grow(ctx context.Context, w *World) (string, error) {
	why, err := Ext4Refused()
	if err != nil {
		return "", err
	}
	for _, claim := range u.claims() {
		if err := w.grow(ctx, claim); err != nil {
			return "", err
		}
	}
	for _, pod := range u.pods {
		switch claim := claimOf(pod); {
		case claim == shared:
			// Its size is that of this machine's disk, whatever the platform says.
			err = w.claimGrown(ctx, claim)
		case claim == plain && why != "":
			continue // when the pod starts again
		default:
			if _, err = w.seesGrown(ctx, pod); err == nil {
				err = w.claimGrown(ctx, claim)
			}
		}
		if err != nil {
			return "", err
		}
	}
	u.grown = true
	if why != "" {
		why = "; the ext4 will when its pod starts again, because " + why
	}
	return "in use" + why, u.unharmed(ctx, w)
}

// claims are the claims of the pods, each once.
func (u *inUse) claims() []string {
	var claims []string
	seen := map[string]bool{}
	for _, pod := range u.pods {
		if claim := claimOf(pod); !seen[claim] {
			seen[claim] = true
			claims = append(claims, claim)
		}
	}
	return claims
}

// claimOf is the one claim of a pod.
func claimOf(pod *corev1.Pod) string { return pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName }

// move starts every pod again: those that have a volume alone on another node, those that share one where they may. Each finds
// its data, and the size that was asked for.
func (u *inUse) move(ctx context.Context, w *World) (string, error) {
	for i, before := range u.pods {
		if err := w.endPod(ctx, before.Name); err != nil {
			return "", err
		}
		var err error
		if u.pods[i], err = u.startAgain(ctx, w, i, before.Spec.NodeName); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d pods have all their data", len(u.pods)), u.unharmed(ctx, w)
}

// restart starts a pod again, wherever it may go. It finds its data.
func (u *inUse) restart(ctx context.Context, w *World, name string) error {
	for i, pod := range u.pods {
		if pod.Name != name {
			continue
		}
		if err := w.endPod(ctx, name); err != nil {
			return err
		}
		started, err := w.startPods(ctx, u.manifests[i])
		if err != nil {
			return err
		}
		u.pods[i] = started[0]
		return u.unharmed(ctx, w)
	}
	return errors.New("there is no pod " + name)
}

// startAgain starts a pod that has ended on a node.
func (u *inUse) startAgain(ctx context.Context, w *World, i int, was string) (*corev1.Pod, error) {
	manifest := u.manifests[i]
	claim := claimOf(manifest)
	if claim == shared {
		started, err := w.startPods(ctx, manifest)
		if err != nil {
			return nil, err
		}
		return started[0], nil
	}
	pod, err := w.startElsewhere(ctx, manifest, was)
	if err != nil || !u.grown {
		return pod, err
	}
	_, err = w.seesGrown(ctx, pod)
	return pod, errors.Join(err, w.claimGrown(ctx, claim))
}

// startElsewhere starts a pod on another node than the one named.
func (w *World) startElsewhere(ctx context.Context, pod *corev1.Pod, notOn string) (*corev1.Pod, error) {
	if err := w.setUnschedulable(ctx, notOn, true); err != nil {
		return nil, err
	}
	_, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	var started *corev1.Pod
	if err == nil {
		started, err = w.readyPod(ctx, pod.Name, notOn)
	}
	return started, errors.Join(err, w.setUnschedulable(context.WithoutCancel(ctx), notOn, false))
}
