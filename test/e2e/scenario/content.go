package scenario

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// podOnClaim is a pod with a database on a claim. It goes to the node, unless that is "".
func podOnClaim(name, claim, node string) *corev1.Pod {
	pod := claimPod(claim, false)
	pod.Name = name
	if node != "" {
		pod.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	}
	return pod
}

// startPods makes pods and waits for all of them.
func (w *World) startPods(ctx context.Context, pods ...*corev1.Pod) ([]*corev1.Pod, error) {
	for _, pod := range pods {
		if _, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	ready := make([]*corev1.Pod, len(pods))
	for i, pod := range pods {
		var err error
		if ready[i], err = w.readyPod(ctx, pod.Name, ""); err != nil {
			return nil, err
		}
	}
	return ready, nil
}

// createClaim makes a claim of 10 GiB.
func (w *World) createClaim(ctx context.Context, name, class string, mode corev1.PersistentVolumeMode) error {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: claimSpec(class, mode)}
	_, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Create(ctx, claim, metav1.CreateOptions{})
	return err
}

// volumeOf is the PersistentVolume of a claim.
func (w *World) volumeOf(ctx context.Context, claim string) (*corev1.PersistentVolume, error) {
	c, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	volume, err := w.Kubernetes.CoreV1().PersistentVolumes().Get(ctx, c.Spec.VolumeName, metav1.GetOptions{})
	if err == nil && volume.Spec.CSI == nil {
		err = fmt.Errorf("the volume %s is no CSI volume", volume.Name)
	}
	return volume, err
}

// diskOf finds the disk of a claim in the cloud.
func (w *World) diskOf(ctx context.Context, claim string) (cluster.CloudDisk, error) {
	c, err := w.Kubernetes.CoreV1().PersistentVolumeClaims(w.Namespace).Get(ctx, claim, metav1.GetOptions{})
	if err != nil {
		return cluster.CloudDisk{}, err
	}
	disks, err := w.Disks(ctx)
	if err != nil {
		return cluster.CloudDisk{}, err
	}
	var found []cluster.CloudDisk
	for _, d := range disks {
		if c.Spec.VolumeName != "" && labelled(d.Label, c.Spec.VolumeName) {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return cluster.CloudDisk{}, fmt.Errorf("the cloud has %d disks for the claim %s (volume %q): %v", len(found), claim, c.Spec.VolumeName, found)
	}
	return found[0], nil
}

// writeBulk has a pod fill a part of its volume; it returns the content's sum.
func (w *World) writeBulk(ctx context.Context, pod *corev1.Pod) (string, error) {
	return w.askLong(ctx, http.MethodPost, podURL(pod)+"/bulk")
}

// hasBulk checks what is on a pod's volume, or in the directory of that name beside the pod's, byte for byte.
func (w *World) hasBulk(ctx context.Context, pod *corev1.Pod, of, sum string) error {
	got, err := w.askLong(ctx, http.MethodGet, podURL(pod)+"/bulk?of="+of)
	if err != nil {
		return err
	}
	if got != sum || sum == "" {
		return fmt.Errorf("pod %s reads content with the sum %s, not %s", pod.Name, got, sum)
	}
	return nil
}

// askLong is a request that moves megabytes to or from a disk.
func (w *World) askLong(ctx context.Context, method, url string) (string, error) {
	client := *w.HTTP()
	client.Timeout = 2 * time.Minute
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	return w.sendBy(&client, request)
}

// unharmed checks that a pod is the same as before and was not restarted.
func (w *World) unharmed(ctx context.Context, before *corev1.Pod) error {
	now, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Get(ctx, before.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if restarts := now.Status.ContainerStatuses[0].RestartCount; now.UID != before.UID || restarts != 0 {
		return fmt.Errorf("pod %s is another one, or was restarted %d times", before.Name, restarts)
	}
	return podReady(now, "")
}

// writing is a pod's database that gets one record after the other.
type writing struct {
	pod  *corev1.Pod
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	records []string // that the database has confirmed
	err     error
}

// startWriting writes numbered records to a pod's database until end is called.
func (w *World) startWriting(ctx context.Context, pod *corev1.Pod) *writing {
	ctx, stop := context.WithCancel(ctx)
	writes := &writing{pod: pod, stop: stop}
	writes.done.Go(func() {
		for n := 1; ; n++ {
			record := fmt.Sprint(n)
			// What was begun is finished, so that it is known whether it is there.
			err := w.addRecord(context.WithoutCancel(ctx), pod, record)
			writes.mu.Lock()
			if writes.err = err; err == nil {
				writes.records = append(writes.records, record)
			}
			writes.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond): // the pace
			}
		}
	})
	return writes
}

// confirmed returns the records that are on the volume by now.
func (writes *writing) confirmed() []string {
	writes.mu.Lock()
	defer writes.mu.Unlock()
	return slices.Clip(writes.records)
}

// end ends the writing and returns all that was confirmed; it fails if one record was not.
func (writes *writing) end() ([]string, error) {
	writes.stop()
	writes.done.Wait()
	if writes.err != nil {
		return nil, fmt.Errorf("after %d records pod %s could not write: %w", len(writes.records), writes.pod.Name, writes.err)
	}
	if len(writes.records) == 0 {
		return nil, fmt.Errorf("nothing was written to pod %s", writes.pod.Name)
	}
	return writes.records, nil
}
