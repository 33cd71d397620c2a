package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// manyVolumes is how many volumes are asked for at once: nearly all that two nodes can have.
const manyVolumes = 20

// manyAtOnce asks for many volumes at once, each for a pod of its own, and reads in each what was written to it.
func manyAtOnce(ctx context.Context, w *World) (string, error) {
	start := time.Now()
	var pods []*corev1.Pod
	for n := range manyVolumes {
		name := fmt.Sprintf("many-%d", n)
		if err := w.createClaim(ctx, name, ext4Class, corev1.PersistentVolumeFilesystem); err != nil {
			return "", err
		}
		pods = append(pods, podOnClaim(name, name, ""))
	}
	patient := *w
	patient.Limit = 2 * w.Limit
	pods, err := patient.startPods(ctx, pods...)
	if err != nil {
		return "", err
	}
	running := time.Since(start)
	for _, pod := range pods {
		if err := w.addRecord(ctx, pod, "in "+pod.Name); err != nil {
			return "", err
		}
	}
	if err := w.eachItsOwn(ctx, pods); err != nil {
		return "", err
	}
	counted, err := w.callsSince(ctx, start, "csi")
	if err != nil {
		return "", err
	}
	w.Report.Add("%d volumes at once: all of their pods ran after %.0f s, %.1f API calls for each", manyVolumes, running.Seconds(), float64(counted.total)/manyVolumes)
	return fmt.Sprintf("after %.0f s; %s", running.Seconds(), &counted), nil
}

// eachItsOwn checks that each pod has a disk of its own, attached where it runs, with what it has written and nothing else.
func (w *World) eachItsOwn(ctx context.Context, pods []*corev1.Pod) error {
	disks, err := w.Disks(ctx)
	if err != nil {
		return err
	}
	instances, err := w.Instances(ctx)
	if err != nil {
		return err
	}
	volumes, err := w.volumesOf(ctx)
	if err != nil {
		return err
	}
	if len(volumes) != len(pods) || len(disks) < len(pods) {
		return fmt.Errorf("%d volumes and %d disks for %d pods", len(volumes), len(disks), len(pods))
	}
	for _, pod := range pods {
		disk, err := w.diskOf(ctx, pod.Name)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(instances, func(i cluster.CloudInstance) bool { return i.ID == disk.AttachedTo })
		if i < 0 || instances[i].Label != pod.Spec.NodeName {
			return fmt.Errorf("pod %s runs on %s, its disk is %+v", pod.Name, pod.Spec.NodeName, disk)
		}
		if err := w.hasRecords(ctx, pod, "in "+pod.Name); err != nil {
			return err
		}
	}
	return nil
}
