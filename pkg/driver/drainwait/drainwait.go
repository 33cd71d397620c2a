// Package drainwait holds the node plugin on a node that is to go until the node's volumes are detached.
//
// The kubelet can unmount volumes only while the plugin runs. What is not unmounted when a machine ends is detached by
// Kubernetes only after six minutes, and its pods wait that long for their volumes elsewhere.
package drainwait

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const (
	defaultPause = 2 * time.Second
	// nodePatience is how long the Node is asked for before the wait is given up: who does not know whether the node is
	// to go must not hold up a rollout.
	nodePatience = 10 * time.Second
	attachments  = "/apis/storage.k8s.io/v1/volumeattachments"
	// pageSize is how many VolumeAttachments of the cluster are read at once.
	pageSize = 500
)

// Waiter waits for the volumes of one node.
type Waiter struct {
	Kube     *kubeapi.Client
	NodeName string
	Driver   string
	// Pause is between two looks; 0 is 2 seconds.
	Pause time.Duration
}

// attachment has the fields of storage/v1's VolumeAttachment that are used.
type attachment struct {
	Metadata struct {
		Name string `json:"name"`
		UID  string `json:"uid"`
	} `json:"metadata"`
	Spec struct {
		Attacher string `json:"attacher"`
		NodeName string `json:"nodeName"`
	} `json:"spec"`
}

// Wait returns at once when the node is to stay, and otherwise when no volume is attached to it any more or it is to stay
// after all. When the context ends first the error names what is left.
//
// VolumeAttachments cannot be listed by node. So they are listed once, each that is the node's is looked at by itself
// until it is gone, and only then the list is read again.
func (w *Waiter) Wait(ctx context.Context) error {
	if w.Pause == 0 {
		w.Pause = defaultPause
	}
	log := klog.FromContext(ctx).WithValues("node", w.NodeName)
	reason, err := w.firstLook(ctx)
	if err != nil {
		return fmt.Errorf("it is not known whether node %s is to go, so its volumes are not waited for: %w", w.NodeName, err)
	}
	var left []attachment
	for reason != "" {
		now, err := w.left(ctx, left)
		if err == nil {
			if left = now; len(left) == 0 {
				log.Info("The node is to go, and no volume is attached to it", "because", reason)
				return nil
			}
		}
		log.Info("Waiting for volumes to be detached", "because", reason, "left", names(left), "err", err)
		if !w.pause(ctx) {
			return fmt.Errorf("node %s is to go (%s) and still has the VolumeAttachments %q: %w", w.NodeName, reason, names(left), ctx.Err())
		}
		if again, err := w.leaving(ctx); err == nil {
			reason = again
		}
	}
	log.Info("The node is to stay, nothing is waited for")
	return nil
}

// pause waits, and reports whether the context goes on.
func (w *Waiter) pause(ctx context.Context) bool {
	timer := time.NewTimer(w.Pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// firstLook is leaving, tried again for a while.
func (w *Waiter) firstLook(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	var before error
	for {
		reason, err := w.leaving(ctx)
		if before != nil && err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w; the look before: %w", err, before) // it was cut off
		}
		if err == nil || kubeapi.IsRefused(err) || !w.pause(ctx) {
			return reason, err
		}
		before = err
	}
}

// leaving returns why the node is to go, "" if it is to stay.
func (w *Waiter) leaving(ctx context.Context) (string, error) {
	var n node
	err := w.Kube.Get(ctx, "/api/v1/nodes/"+url.PathEscape(w.NodeName), &n)
	if kubeapi.IsNotFound(err) {
		return "the Node is deleted", nil
	}
	if err != nil {
		return "", err
	}
	return n.leaving(), nil
}

// left returns what is left of the node's attachments that were known, and when nothing is, the node's attachments.
func (w *Waiter) left(ctx context.Context, known []attachment) ([]attachment, error) {
	still := slices.Clone(known)
	for i, a := range known {
		var now attachment
		err := w.Kube.Get(ctx, attachments+"/"+url.PathEscape(a.Metadata.Name), &now)
		switch {
		case kubeapi.IsNotFound(err), err == nil && now.Metadata.UID != a.Metadata.UID:
			still[i].Metadata.Name = ""
		case err != nil:
			return known, err
		}
	}
	still = slices.DeleteFunc(still, func(a attachment) bool { return a.Metadata.Name == "" })
	if len(still) > 0 {
		return still, nil
	}
	_, err := kubeapi.List(ctx, w.Kube, attachments, pageSize, func(a attachment) error {
		if a.Spec.Attacher == w.Driver && a.Spec.NodeName == w.NodeName {
			still = append(still, a)
		}
		return nil
	})
	return still, err
}

func names(all []attachment) []string {
	var some []string
	for _, a := range all {
		some = append(some, a.Metadata.Name)
	}
	return some
}

// node has the fields of core/v1's Node that are used.
type node struct {
	Metadata struct {
		DeletionTimestamp string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Taints []struct {
			Key string `json:"key"`
		} `json:"taints"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

// leavingTaints say that pods are to leave a node: kubectl drain or cordon, the cluster autoscaler, Karpenter.
var leavingTaints = []string{
	"node.kubernetes.io/unschedulable", "ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption",
}

// shuttingDown is what the kubelet says in the condition Ready while the machine waits for it to end its pods.
const shuttingDown = "node is shutting down"

func (n *node) leaving() string {
	if n.Metadata.DeletionTimestamp != "" {
		return "the Node is being deleted"
	}
	for _, t := range n.Spec.Taints {
		if slices.Contains(leavingTaints, t.Key) {
			return "taint " + t.Key
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" && c.Status != "True" && strings.Contains(c.Message, shuttingDown) {
			return "the machine is shutting down"
		}
	}
	return ""
}
