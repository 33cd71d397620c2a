package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// maxVolumesLabel is the label by which an administrator says how many volumes a node can have.
const maxVolumesLabel = "block.csi.vultr.com/max-volumes"

// nodeComesAndGoes adds a node and drains it: no pod comes before the driver can say how many volumes the node can have, it
// gets no more than its label allows, and while it is drained the node plugin stays until the last volume is detached.
func nodeComesAndGoes(ctx context.Context, w *World) (detail string, err error) {
	node := fmt.Sprintf("worker-%d", time.Now().Unix()%100000)
	if err := w.createClaim(ctx, slowPod, ext4Class, corev1.PersistentVolumeFilesystem); err != nil {
		return "", err
	}
	// It waits for the node.
	if _, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, endingSlowly(node), metav1.CreateOptions{}); err != nil {
		return "", err
	}
	instance, err := w.CreateInstance(ctx, node)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.removeNode(context.WithoutCancel(ctx), instance)) }()
	if err := w.taintedUntilRegistered(ctx, node); err != nil {
		return "", err
	}
	pod, err := w.readyPod(ctx, slowPod, "")
	if err != nil {
		return "", err
	}
	sum, err := w.writeBulk(ctx, pod)
	if err != nil {
		return "", err
	}
	if err := w.limitedByLabel(ctx, node); err != nil {
		return "", err
	}
	stayed, err := w.drained(ctx, node)
	if err != nil {
		return "", err
	}
	again, err := w.startPods(ctx, podOnClaim("elsewhere", slowPod, ""))
	if err != nil {
		return "", err
	}
	if err := w.hasBulk(ctx, again[0], "", sum); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s joined tainted, had as many volumes as its label said; the node plugin stayed %.0f s until they were detached; the data is on %s",
		node, stayed.Seconds(), again[0].Spec.NodeName), nil
}

// slowPod is a pod that takes its time to end.
const slowPod = "slow"

func endingSlowly(node string) *corev1.Pod {
	pod := podOnClaim(slowPod, slowPod, node)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(60))
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 15}}}
	return pod
}

// taintedUntilRegistered watches a node come: it has to have the start-up taint from its first moment until its CSINode shows
// the driver, and no pod of ours before.
func (w *World) taintedUntilRegistered(ctx context.Context, node string) error {
	seen := false
	patient := *w
	patient.Limit = 2 * w.Limit
	var fault error
	err := patient.wait(ctx, "the start-up taint of "+node+" is gone", func(ctx context.Context) error {
		now, err := w.Kubernetes.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if tainted(now, cluster.StartUpTaint) {
			seen = true
			return errors.New("it is there")
		}
		fault = w.limitKnown(ctx, node)
		return nil
	})
	switch {
	case err != nil:
		return err
	case !seen:
		return fmt.Errorf("node %s came without the taint %s", node, cluster.StartUpTaint)
	case fault != nil:
		return fmt.Errorf("the start-up taint is gone too early: %w", fault)
	}
	return w.wait(ctx, "the pod that waited goes to the node", func(ctx context.Context) error {
		pod, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Get(ctx, slowPod, metav1.GetOptions{})
		if err == nil && pod.Spec.NodeName != node {
			err = fmt.Errorf("it is on node %q", pod.Spec.NodeName)
		}
		return err
	})
}

// limitKnown says that a node's CSINode does not tell how many volumes the node can have.
func (w *World) limitKnown(ctx context.Context, node string) error {
	limit, err := w.volumeLimit(ctx, node)
	if err == nil && limit < 1 {
		err = fmt.Errorf("the limit of node %s is %d", node, limit)
	}
	return err
}

// volumeLimit is how many volumes the scheduler brings to a node.
func (w *World) volumeLimit(ctx context.Context, node string) (int32, error) {
	csiNode, err := w.Kubernetes.StorageV1().CSINodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	for _, driver := range csiNode.Spec.Drivers {
		if driver.Name == driverName && driver.Allocatable != nil && driver.Allocatable.Count != nil {
			return *driver.Allocatable.Count, nil
		}
	}
	return 0, fmt.Errorf("the CSINode %s does not show the driver with a limit", node)
}

// limitedByLabel brings one volume more to a node, which has one, than its label allows, and then allows it.
func (w *World) limitedByLabel(ctx context.Context, node string) error {
	const first, second = "within-limit", "beyond-limit"
	if err := w.setLimit(ctx, node, 2); err != nil {
		return err
	}
	for _, name := range []string{first, second} {
		if err := w.createClaim(ctx, name, ext4Class, corev1.PersistentVolumeFilesystem); err != nil {
			return err
		}
	}
	if _, err := w.startPods(ctx, podOnClaim(first, first, node)); err != nil {
		return err
	}
	pods := w.Kubernetes.CoreV1().Pods(w.Namespace)
	if _, err := pods.Create(ctx, podOnClaim(second, second, node), metav1.CreateOptions{}); err != nil {
		return err
	}
	err := w.wait(ctx, "the scheduler says that the node can have no more volumes", func(ctx context.Context) error {
		pod, err := pods.Get(ctx, second, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, "exceed max volume count") {
				return nil
			}
		}
		return fmt.Errorf("the pod is on node %q; its conditions are %+v", pod.Spec.NodeName, pod.Status.Conditions)
	})
	if err != nil {
		return err
	}
	if err := w.setLimit(ctx, node, 3); err != nil {
		return err
	}
	_, err = w.readyPod(ctx, second, "")
	return err
}

// setLimit labels a node and waits until the scheduler can know it.
func (w *World) setLimit(ctx context.Context, node string, limit int32) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:"%d"}}}`, maxVolumesLabel, limit)
	if _, err := w.Kubernetes.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, fmt.Sprintf("the limit of node %s is %d", node, limit), func(ctx context.Context) error {
		got, err := w.volumeLimit(ctx, node)
		if err == nil && got != limit {
			err = fmt.Errorf("it is %d", got)
		}
		return err
	})
}

// drained drains a node as an administrator does, and deletes its node plugin's pod meanwhile, as whatever takes the node away
// may do. It returns how long that stayed.
func (w *World) drained(ctx context.Context, node string) (time.Duration, error) {
	drain := make(chan error, 1)
	go func() {
		_, err := w.Kubectl(ctx, "", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=3m")
		drain <- err
	}()
	plugin, err := w.deletePluginOf(ctx, node)
	if err != nil {
		return 0, errors.Join(err, <-drain)
	}
	start := time.Now()
	var early error
	err = w.wait(ctx, "the node plugin of "+node+" has ended", func(ctx context.Context) error {
		_, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Get(ctx, plugin, metav1.GetOptions{})
		switch {
		case err == nil:
			return errors.New("it is there")
		case !apierrors.IsNotFound(err):
			return err
		}
		// Read after the pod was gone: what is attached now was attached when it ended.
		early = w.nothingAttachedTo(ctx, node)
		return nil
	})
	stayed := time.Since(start)
	if early != nil {
		early = fmt.Errorf("the node plugin ended too early: %w", early)
	}
	return stayed, errors.Join(err, early, <-drain)
}

// deletePluginOf deletes the node plugin's pod on a node as soon as the node is cordoned, while volumes are attached to it.
func (w *World) deletePluginOf(ctx context.Context, node string) (string, error) {
	err := w.wait(ctx, "node "+node+" is cordoned", func(ctx context.Context) error {
		now, err := w.Kubernetes.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err == nil && !tainted(now, corev1.TaintNodeUnschedulable) {
			err = errors.New("it is not")
		}
		return err
	})
	if err != nil {
		return "", err
	}
	plugin, err := w.podOn(ctx, "app="+nodePlugin, node)
	if err != nil {
		return "", err
	}
	if err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Delete(ctx, plugin.Name, metav1.DeleteOptions{}); err != nil {
		return "", err
	}
	if w.nothingAttachedTo(ctx, node) == nil {
		return "", errors.New("the node was drained before its plugin was deleted: nothing can be seen")
	}
	return plugin.Name, nil
}

// nothingAttachedTo says what is attached to a node.
func (w *World) nothingAttachedTo(ctx context.Context, node string) error {
	list, err := w.Kubernetes.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, a := range list.Items {
		if a.Spec.NodeName == node {
			return fmt.Errorf("%s is attached to node %s: %+v", *a.Spec.Source.PersistentVolumeName, node, a.Status)
		}
	}
	return nil
}

// removeNode deletes an instance and its Node.
func (w *World) removeNode(ctx context.Context, instance cluster.CloudInstance) error {
	if err := w.Cloud.Do(ctx, http.MethodDelete, "/v2/instances/"+instance.ID, nil, nil); err != nil {
		return err
	}
	err := w.wait(ctx, "the instance "+instance.Label+" is gone", func(ctx context.Context) error {
		all, err := w.Instances(ctx)
		if err == nil && slices.ContainsFunc(all, func(i cluster.CloudInstance) bool { return i.ID == instance.ID }) {
			err = errors.New("it is there")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Kubernetes.CoreV1().Nodes().Delete(ctx, instance.Label, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return w.nodeGone(ctx, instance.Label)
}
