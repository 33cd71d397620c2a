package recovery

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
)

// HoldLimit is how long the deletion of a Node is held back at most after its instance is proven gone.
const HoldLimit = 2 * time.Minute

// Departures tells when the Node of an instance that is gone may be deleted.
type Departures struct {
	prober *Prober
	client kubernetes.Interface
	// hold is off when nobody marks Nodes: there is nothing to wait for then.
	hold bool
}

// NewDepartures makes one. With hold, a Node stays until its pods and volume attachments are gone, for at most HoldLimit.
func NewDepartures(prober *Prober, client kubernetes.Interface, hold bool) *Departures {
	return &Departures{prober: prober, client: client, hold: hold}
}

// Departed answers true when the Node's instance is proven gone and nothing speaks against deleting the Node. Every
// doubt is an error or false.
func (d *Departures) Departed(ctx context.Context, node *v1.Node) (bool, error) {
	presence, proven, err := d.prober.Look(ctx, node)
	if err != nil || presence != Gone {
		return false, err
	}
	if !d.hold || time.Since(since(node, proven)) >= HoldLimit {
		return true, nil
	}
	if !outofservice.Marked(node) {
		return false, nil // not marked yet; without the mark nothing would leave early
	}
	what, err := d.holding(ctx, node)
	if err != nil {
		return false, fmt.Errorf("what still belongs to node %s: %w", node.Name, err)
	}
	if what != "" {
		klog.FromContext(ctx).V(2).Info("Node of a deleted instance is kept", "node", klog.KObj(node), "because", what)
		return false, nil
	}
	return true, nil
}

// since is when the instance was first proven gone, by this process or by the one that marked the Node.
func since(node *v1.Node, proven time.Time) time.Time {
	for _, taint := range node.Spec.Taints {
		if outofservice.Is(taint) && taint.TimeAdded != nil && taint.TimeAdded.Time.Before(proven) {
			return taint.TimeAdded.Time
		}
	}
	return proven
}

// holding names one thing that still has to leave the Node, "" if there is none.
func (d *Departures) holding(ctx context.Context, node *v1.Node) (string, error) {
	pods, err := d.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node.Name).String(),
	})
	if err != nil {
		return "", fmt.Errorf("listing its pods: %w", err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Spec.NodeName == node.Name && leaves(pod) {
			return "pod " + klog.KObj(pod).String(), nil
		}
	}
	attachments, err := d.client.StorageV1().VolumeAttachments().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("listing volume attachments: %w", err)
	}
	for i := range attachments.Items {
		if attachment := &attachments.Items[i]; attachment.Spec.NodeName == node.Name {
			return "volume attachment " + attachment.Name, nil
		}
	}
	return "", nil
}

// leaves tells whether the mark makes Kubernetes remove the pod, so that it is worth waiting for. Pods of
// DaemonSets, static pods and whatever tolerates the mark go with the Node.
func leaves(pod *v1.Pod) bool {
	if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		return false
	}
	if _, static := pod.Annotations[v1.MirrorPodAnnotationKey]; static {
		return false
	}
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "DaemonSet" {
		return false
	}
	for i := range pod.Spec.Tolerations {
		if tolerates(&pod.Spec.Tolerations[i]) {
			return false
		}
	}
	return true
}

// tolerates tells whether a toleration makes a pod stay for ever despite the mark.
func tolerates(t *v1.Toleration) bool {
	if t.TolerationSeconds != nil || t.Effect != "" && t.Effect != v1.TaintEffectNoExecute {
		return false
	}
	if t.Operator == v1.TolerationOpExists {
		return t.Key == "" || t.Key == v1.TaintNodeOutOfService
	}
	equal := t.Operator == v1.TolerationOpEqual || t.Operator == ""
	return equal && t.Key == v1.TaintNodeOutOfService && t.Value == outofservice.Value
}
