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
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
)

// HoldLimit is how long the deletion of a Node is held back at most after its instance is proven gone.
const HoldLimit = 2 * time.Minute

// Departures decides when the Node of an instance that is gone may be deleted.
type Departures struct {
	prober *Prober
	client kubernetes.Interface
	// marking reports whether Nodes are being marked. Where nobody marks them there is nothing to wait for.
	marking func() bool
}

// NewDepartures returns Departures. While marking, a Node stays until its pods and volume attachments are gone, for at
// most HoldLimit.
func NewDepartures(prober *Prober, client kubernetes.Interface, marking func() bool) *Departures {
	return &Departures{prober: prober, client: client, marking: marking}
}

// Departed returns true when the Node's instance is proven gone and nothing speaks against deleting the Node. Every
// doubt is an error or false.
func (d *Departures) Departed(ctx context.Context, node *v1.Node) (bool, error) {
	verdict, err := d.prober.Look(ctx, node)
	if err != nil || !deletable(verdict) {
		return false, err
	}
	held, err := d.held(ctx, node, verdict)
	if err != nil || held {
		return false, err
	}
	return d.confirm(ctx, node)
}

// deletable reports whether a verdict allows a Node to be deleted. One that another machine may run as does not.
func deletable(verdict Verdict) bool {
	return verdict.Presence == Gone || verdict.Presence == Replaced && verdict.Unvisited
}

// held reports whether the Node has to stay for a while for the sake of its pods and disks. One that has a twin goes at
// once, so that the new machine registers as a Node of its own.
func (d *Departures) held(ctx context.Context, node *v1.Node, verdict Verdict) (bool, error) {
	if !d.marking() || verdict.Presence == Replaced || time.Since(since(node, verdict.Proven)) >= HoldLimit {
		return false, nil
	}
	taint, effective := outofservice.Effective(node)
	if !effective {
		return true, nil // not marked yet; without the mark nothing would leave early
	}
	what, err := d.holding(ctx, node, taint)
	if err != nil {
		return true, fmt.Errorf("what still belongs to node %s: %w", node.Name, err)
	}
	if what != "" {
		klog.FromContext(ctx).V(2).Info("Node of a deleted instance is kept", "node", klog.KObj(node), "because", what)
	}
	return what != "", nil
}

// confirm checks everything once more: the Node that was decided about may be a copy of before, and whoever deletes it
// does so by its name.
func (d *Departures) confirm(ctx context.Context, node *v1.Node) (bool, error) {
	fresh, err := live(ctx, d.client, node)
	if err != nil {
		return false, fmt.Errorf("looking at node %s before it is deleted: %w", node.Name, err)
	}
	if fresh == nil || readiness.IsReady(fresh) || readiness.IsReporting(fresh) {
		return false, nil
	}
	verdict, err := d.prober.Confirm(ctx, fresh)
	return err == nil && deletable(verdict), err
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
func (d *Departures) holding(ctx context.Context, node *v1.Node, taint v1.Taint) (string, error) {
	pods, err := d.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node.Name).String(),
	})
	if err != nil {
		return "", fmt.Errorf("listing its pods: %w", err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Spec.NodeName == node.Name && leaves(pod, &taint) {
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

// leaves reports whether the taint makes Kubernetes remove the pod, so that it is worth waiting for. Pods of
// DaemonSets, static pods and whatever tolerates it go with the Node.
func leaves(pod *v1.Pod, taint *v1.Taint) bool {
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
		if tolerates(&pod.Spec.Tolerations[i], taint) {
			return false
		}
	}
	return true
}

// tolerates reports whether a toleration makes a pod stay for ever despite the taint.
func tolerates(t *v1.Toleration, taint *v1.Taint) bool {
	if t.TolerationSeconds != nil || t.Effect != "" && t.Effect != v1.TaintEffectNoExecute {
		return false
	}
	if t.Operator == v1.TolerationOpExists {
		return t.Key == "" || t.Key == v1.TaintNodeOutOfService
	}
	equal := t.Operator == v1.TolerationOpEqual || t.Operator == ""
	return equal && t.Key == v1.TaintNodeOutOfService && t.Value == taint.Value
}
