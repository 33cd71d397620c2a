package kube

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The workloads of the manifests. The official programs have objects of the same names, some of another kind.
const (
	CCM           = "vultr-ccm"
	CSIController = "csi-vultr-controller"
	CSINode       = "csi-vultr-node"
)

// Workload is a Deployment, a DaemonSet or a StatefulSet of the controllers' namespace.
type Workload struct {
	Kind, Name string
	// Wanted and Ready count its pods.
	Wanted, Ready int32
	Containers    []v1.Container
	Volumes       []v1.Volume
}

// String names it.
func (w Workload) String() string { return fmt.Sprintf("%s %s/%s", w.Kind, System, w.Name) }

// Container returns one of its containers, nil if there is none of the name.
func (w Workload) Container(name string) *v1.Container {
	i := slices.IndexFunc(w.Containers, func(c v1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &w.Containers[i]
}

// Workloads lists those that have a name of ours or of the official programs.
func (c *Cluster) Workloads(ctx context.Context) ([]Workload, error) {
	apps := c.Client.AppsV1()
	deployments, err := apps.Deployments(System).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the Deployments of "+System, err)
	}
	daemons, err := apps.DaemonSets(System).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the DaemonSets of "+System, err)
	}
	sets, err := apps.StatefulSets(System).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, failed("the StatefulSets of "+System, err)
	}
	var all []Workload
	for i := range deployments.Items {
		d := &deployments.Items[i]
		all = append(all, workload("Deployment", d.Name, replicas(d.Spec.Replicas), d.Status.ReadyReplicas, d.Spec.Template.Spec))
	}
	for i := range daemons.Items {
		d := &daemons.Items[i]
		all = append(all, workload("DaemonSet", d.Name, d.Status.DesiredNumberScheduled, d.Status.NumberReady, d.Spec.Template.Spec))
	}
	for i := range sets.Items {
		s := &sets.Items[i]
		all = append(all, workload("StatefulSet", s.Name, replicas(s.Spec.Replicas), s.Status.ReadyReplicas, s.Spec.Template.Spec))
	}
	names := []string{CCM, CSIController, CSINode}
	return slices.DeleteFunc(all, func(w Workload) bool { return !slices.Contains(names, w.Name) }), nil
}

func workload(kind, name string, wanted, ready int32, pod v1.PodSpec) Workload {
	return Workload{Kind: kind, Name: name, Wanted: wanted, Ready: ready, Containers: pod.Containers, Volumes: pod.Volumes}
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// Find returns a workload, nil if there is none.
func Find(all []Workload, kind, name string) *Workload {
	i := slices.IndexFunc(all, func(w Workload) bool { return w.Kind == kind && w.Name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}
