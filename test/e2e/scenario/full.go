package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// The annotations of a Node by which the driver's controller tells its node plugin how many volumes the platform attaches.
const (
	provenMaxVolumes   = "block.csi.vultr.com/proven-max-volumes"
	provenMaxVolumesAt = provenMaxVolumes + "-at"
)

// nodeIsFull has the platform refuse one more volume to a node: its CSINode says so soon, its pod is ended by the kubelet, and the
// scheduler brings the volume to another node. Once the administrator has that forgotten the node can have as many as before.
func nodeIsFull(ctx context.Context, w *World) (detail string, err error) {
	const taken, refused = "taken", "refused"
	for _, name := range []string{taken, refused} {
		if err := w.createClaim(ctx, name, ext4Class, corev1.PersistentVolumeFilesystem); err != nil {
			return "", err
		}
	}
	pods, err := w.startPods(ctx, podOnClaim(taken, taken, ""))
	if err != nil {
		return "", err
	}
	node := pods[0].Spec.NodeName
	before, err := w.volumeLimit(ctx, node)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.forgetLimit(context.WithoutCancel(ctx), node, before)) }()
	if _, err := w.AddFault(ctx, cluster.Fault{
		Operation: "attach_block", Action: "status", Status: http.StatusBadRequest,
		Body: `{"error":"This server has the maximum number of block storage volumes","status":400}`,
	}); err != nil {
		return "", err
	}
	if _, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, podOnClaim(refused, refused, node), metav1.CreateOptions{}); err != nil {
		return "", err
	}
	if err := w.limitProven(ctx, node, 1); err != nil {
		return "", err
	}
	if err := w.endedByLimit(ctx, refused); err != nil {
		return "", err
	}
	if err := w.EndFaults(ctx); err != nil {
		return "", err
	}
	if _, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Create(ctx, podOnClaim("elsewhere", refused, ""), metav1.CreateOptions{}); err != nil {
		return "", err
	}
	elsewhere, err := w.readyPod(ctx, "elsewhere", node)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, which could have %d volumes, can have 1; the kubelet ended the pod whose volume was refused, the next one is on %s",
		node, before, elsewhere.Spec.NodeName), nil
}

// limitProven waits until the refusal has reached the Node, and its CSINode, by which the scheduler counts.
func (w *World) limitProven(ctx context.Context, node string, limit int32) error {
	return w.wait(ctx, fmt.Sprintf("node %s can have %d volumes, by a refusal", node, limit), func(ctx context.Context) error {
		now, err := w.Kubernetes.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if said := now.Annotations[provenMaxVolumes]; said != fmt.Sprint(limit) {
			return fmt.Errorf("the Node's annotation %s is %q", provenMaxVolumes, said)
		}
		got, err := w.volumeLimit(ctx, node)
		if err == nil && got != limit {
			err = fmt.Errorf("the Node says so, and its CSINode %d", got)
		}
		return err
	})
}

// endedByLimit waits until the kubelet has ended a pod because its node can have no more volumes. It does that when it has waited for
// the volume for two minutes.
func (w *World) endedByLimit(ctx context.Context, name string) error {
	patient := *w
	patient.Limit = 2 * w.Limit
	return patient.wait(ctx, "the kubelet ends the pod "+name, func(ctx context.Context) error {
		pod, err := w.Kubernetes.CoreV1().Pods(w.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && (pod.Status.Phase != corev1.PodFailed || pod.Status.Reason != "VolumeAttachmentLimitExceeded") {
			err = fmt.Errorf("it is %s, reason %q: %s", pod.Status.Phase, pod.Status.Reason, pod.Status.Message)
		}
		return err
	})
}

// forgetLimit does what an administrator does who knows better, and waits until the node can have as many volumes as before.
func (w *World) forgetLimit(ctx context.Context, node string, before int32) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null,%q:null}}}`, provenMaxVolumes, provenMaxVolumesAt)
	if _, err := w.Kubernetes.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	return w.wait(ctx, fmt.Sprintf("node %s can have %d volumes again", node, before), func(ctx context.Context) error {
		got, err := w.volumeLimit(ctx, node)
		if err == nil && got != before {
			err = fmt.Errorf("it can have %d", got)
		}
		return err
	})
}
