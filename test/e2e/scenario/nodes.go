package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// uninitialized is the taint with which a node waits for its cloud provider.
const uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"

// nodesInitialised checks every instance's node against the cloud.
func nodesInitialised(ctx context.Context, w *World) (string, error) {
	instances, err := w.Instances(ctx)
	if err != nil {
		return "", err
	}
	err = w.wait(ctx, "every node is initialised", func(ctx context.Context) error {
		nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(nodes.Items) != len(instances) {
			return fmt.Errorf("%d nodes of %d instances", len(nodes.Items), len(instances))
		}
		for i := range nodes.Items {
			if err := initialised(&nodes.Items[i], instances); err != nil {
				return fmt.Errorf("node %s: %w", nodes.Items[i].Name, err)
			}
		}
		return nil
	})
	return fmt.Sprintf("%d nodes: taint gone; provider ID, addresses and region set", len(instances)), err
}

// initialised tells what a node lacks.
func initialised(node *corev1.Node, instances []cluster.CloudInstance) error {
	var instance *cluster.CloudInstance
	for i := range instances {
		if instances[i].Label == node.Name {
			instance = &instances[i]
		}
	}
	if instance == nil {
		return errors.New("no instance has that label")
	}
	if tainted(node, uninitialized) {
		return errors.New("still tainted as uninitialised")
	}
	if want := "vultr://" + instance.ID; node.Spec.ProviderID != want {
		return fmt.Errorf("provider ID %q, not %q", node.Spec.ProviderID, want)
	}
	if region := node.Labels[corev1.LabelTopologyRegion]; region != instance.Region {
		return fmt.Errorf("region %q, not %q", region, instance.Region)
	}
	for _, address := range node.Status.Addresses {
		if address.Address == instance.MainIP {
			return nil
		}
	}
	return fmt.Errorf("addresses %v without %s", node.Status.Addresses, instance.MainIP)
}

// tainted reports whether a node has a taint with that key.
func tainted(node *corev1.Node, key string) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == key })
}

// readyNodes lists the nodes that pods can go to.
func (w *World) readyNodes(ctx context.Context) ([]string, error) {
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var ready []string
	for i := range nodes.Items {
		if cluster.NodeReady(&nodes.Items[i]) == nil {
			ready = append(ready, nodes.Items[i].Name)
		}
	}
	return ready, nil
}
