// Package scenario is the product's main job, step by step, on a running
// cluster. Each step does what a user would do and checks what a user would see,
// through the Kubernetes API, plain HTTP and the simulated cloud's own API; the
// demo shows the steps and the end-to-end test asserts them.
package scenario

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cluster"
)

// World is a cluster and what the steps so far have made on it.
type World struct {
	*cluster.Cluster
	// Namespace takes what the steps make.
	Namespace string
	// Limit is how long a step waits for one thing to become so.
	Limit time.Duration
	// Report takes the figures that steps measure.
	Report *Report

	// amongBalancers is set while another step has load balancers of its own.
	amongBalancers bool
}

// NewWorld is the world before the first step.
func NewWorld(c *cluster.Cluster) *World {
	return &World{Cluster: c, Namespace: "demo", Limit: 3 * time.Minute, Report: &Report{}}
}

// Step is one thing to show. Its detail tells what was seen.
type Step struct {
	Name string
	Do   func(ctx context.Context, w *World) (detail string, err error)
}

// MainJob are the steps of the product's main job, in order.
func MainJob() []Step {
	return []Step{
		{"the product is installed from deploy/manifests", install},
		{"nodes are initialised", nodesInitialised},
		{"two web pods answer through a load balancer; meanwhile a volume lives and dies", webAndVolume},
		{"a database gets a disk and writes to it", databaseStarts},
		{"the database moves to the other node with its data", databaseMoves},
		{"its disk grows while in use", diskGrows},
		{"an ext4 disk grows while in use", ext4GrowsIfItCan},
		{"a pod writes to a raw block device", rawBlock},
		{"an instance is destroyed: pod and data come back on the other node", instanceDestroyed},
		{"everything is deleted: the cloud has no disk and no load balancer left", mainJobEnds},
	}
}

// wait asks until the answer is nil.
func (w *World) wait(ctx context.Context, what string, ask func(context.Context) error) error {
	return w.Eventually(ctx, what, w.Limit, ask)
}

// install applies the manifests and waits until all of the product's pods are ready.
func install(ctx context.Context, w *World) (string, error) {
	if err := w.createNamespace(ctx); err != nil {
		return "", err
	}
	if err := w.Install(ctx); err != nil {
		return "", err
	}
	return "2 CCM replicas, 2 CSI controllers, a CSI driver on each node", w.wait(ctx, "the product runs", w.productRuns)
}

func (w *World) productRuns(ctx context.Context) error {
	for _, name := range []string{"vultr-ccm", "csi-vultr-controller"} {
		d, err := w.Kubernetes.AppsV1().Deployments(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.ReadyReplicas != *d.Spec.Replicas || d.Status.UpdatedReplicas != *d.Spec.Replicas {
			return fmt.Errorf("%d of %d replicas of %s are ready", d.Status.ReadyReplicas, *d.Spec.Replicas, name)
		}
	}
	nodes, err := w.Kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		if err := w.driverRegistered(ctx, nodes.Items[i].Name); err != nil {
			return err
		}
		if tainted(&nodes.Items[i], cluster.StartUpTaint) {
			return fmt.Errorf("node %s still has the start-up taint", nodes.Items[i].Name)
		}
	}
	return nil
}

// driverRegistered asks whether the node's kubelet knows our driver.
func (w *World) driverRegistered(ctx context.Context, node string) error {
	csiNode, err := w.Kubernetes.StorageV1().CSINodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, driver := range csiNode.Spec.Drivers {
		if driver.Name == driverName {
			return nil
		}
	}
	return fmt.Errorf("the driver is not registered on node %s", node)
}

const driverName = "block.csi.vultr.com"
