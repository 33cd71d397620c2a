package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// Leases by which the sidecars and the CCM choose who works.
const (
	provisionerLease = "block-csi-vultr-com"
	attacherLease    = "external-attacher-leader-block-csi-vultr-com"
	ccmLease         = "cloud-controller-manager"
)

// Faults are scenarios in which a part of the product is killed at a named point,
// or the cloud's API is away. They need programs built with fault points.
func Faults() []Step {
	return []Step{
		{"the controller is killed while its create is done but not answered", func(ctx context.Context, w *World) (string, error) {
			return w.controllerKilled(ctx, "create-after", "create_block", "hold-after", provisionerLease)
		}},
		{"the controller is killed while its attach is not done yet", func(ctx context.Context, w *World) (string, error) {
			return w.controllerKilled(ctx, "attach-before", "attach_block", "hold-before", attacherLease)
		}},
		{"the controller is killed while its attach is done but not answered", func(ctx context.Context, w *World) (string, error) {
			return w.controllerKilled(ctx, "attach-after", "attach_block", "hold-after", attacherLease)
		}},
		{"a disk that is detached by hand is attached again", detachedByHand},
		{"the node service is killed between the two halves of mkfs", func(ctx context.Context, w *World) (string, error) {
			return w.nodeKilled(ctx, "mkfs-half")
		}},
		{"the node service is killed between mkfs and mount", func(ctx context.Context, w *World) (string, error) {
			return w.nodeKilled(ctx, "mkfs-done")
		}},
		{"the CCM is killed while its load balancer is created but not answered", ccmKilled},
		{"the CCM that works is told to end", ccmHandsOver},
		{"the simulated cloud is killed while it attaches a disk and forwards traffic", cloudKilled},
		{"a minute without API", minuteWithoutAPI},
	}
}

// controllerKilled kills the controller whose request the API holds; the other
// replica finishes, and there is exactly one disk.
func (w *World) controllerKilled(ctx context.Context, namespace, operation, action, lease string) (string, error) {
	return w.within(ctx, namespace, func(ctx context.Context, w *World) (string, error) {
		fault, err := w.AddFault(ctx, cluster.Fault{Operation: operation, Action: action, Times: 1})
		if err != nil {
			return "", err
		}
		if err := w.createDatabasePod(ctx); err != nil {
			return "", err
		}
		if err := w.WaitHeld(ctx, fault); err != nil {
			return "", err
		}
		holder, err := w.leaseHolder(ctx, lease)
		if err != nil {
			return "", err
		}
		if err := w.killPod(ctx, holder, "--mode=controller"); err != nil {
			return "", err
		}
		if err := w.EndFaults(ctx); err != nil {
			return "", err
		}
		detail, err := w.oneDiskWorks(ctx)
		if err != nil {
			return "", err
		}
		after, err := w.leaseHolder(ctx, lease)
		if err == nil && after == holder {
			err = fmt.Errorf("the lease %s is still held by the killed %s", lease, holder)
		}
		return detail + "; " + after + " finished for " + holder, err
	})
}

// leaseHolder is the pod (or, on the host's network, node) that a lease names.
func (w *World) leaseHolder(ctx context.Context, name string) (string, error) {
	lease, err := w.Kubernetes.CoordinationV1().Leases(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", fmt.Errorf("nobody holds the lease %s", name)
	}
	holder, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return holder, nil
}

// killPod kills a program of a pod and then the pod, so that it is not the same one that goes on.
func (w *World) killPod(ctx context.Context, name, argument string) error {
	pod, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	killed, err := w.KillInPod(pod, argument)
	if err != nil {
		return err
	}
	if killed != 1 {
		return fmt.Errorf("%d processes with %s in pod %s, not 1", killed, argument, name)
	}
	return w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
}

// nodeKilled kills the node service before a step of the first mount.
func (w *World) nodeKilled(ctx context.Context, step string) (string, error) {
	return w.within(ctx, step, func(ctx context.Context, w *World) (string, error) {
		if err := w.StopAt(ctx, step); err != nil {
			return "", err
		}
		if err := w.createDatabasePod(ctx); err != nil {
			return "", err
		}
		var node string
		err := w.wait(ctx, "a node service stands before "+step, func(ctx context.Context) error {
			stopped, err := w.Stopped(ctx, step)
			if err != nil {
				return err
			}
			if len(stopped) != 1 {
				return fmt.Errorf("%d stand there", len(stopped))
			}
			node = stopped[0]
			return nil
		})
		if err != nil {
			return "", err
		}
		if err := w.killNodeService(ctx, node); err != nil {
			return "", err
		}
		if err := w.GoOn(ctx); err != nil {
			return "", err
		}
		first, err := w.oneDiskWorks(ctx)
		if err != nil {
			return "", err
		}
		second, err := w.dataFollows(ctx, node)
		return first + "; " + second, err
	})
}

// killNodeService kills the driver's node service on a node; the kubelet starts it again.
func (w *World) killNodeService(ctx context.Context, node string) error {
	pod, err := w.podOn(ctx, "app=csi-vultr-node", node)
	if err != nil {
		return err
	}
	killed, err := w.KillInPod(pod, "--mode=node")
	if err == nil && killed != 1 {
		err = fmt.Errorf("%d node services in pod %s, not 1", killed, pod.Name)
	}
	return err
}

// podOn finds the product's pod with that label on a node.
func (w *World) podOn(ctx context.Context, selector, node string) (*corev1.Pod, error) {
	pods, err := w.Kubernetes.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		if pods.Items[i].Spec.NodeName == node && pods.Items[i].DeletionTimestamp == nil {
			return &pods.Items[i], nil
		}
	}
	return nil, errors.New("no pod " + selector + " on node " + node)
}
