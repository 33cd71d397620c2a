package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/ownership"
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
		all = append(all, Workload{"Deployment", d.Name, replicas(d.Spec.Replicas), d.Status.ReadyReplicas, d.Spec.Template.Spec.Containers})
	}
	for i := range daemons.Items {
		d := &daemons.Items[i]
		all = append(all, Workload{"DaemonSet", d.Name, d.Status.DesiredNumberScheduled, d.Status.NumberReady, d.Spec.Template.Spec.Containers})
	}
	for i := range sets.Items {
		s := &sets.Items[i]
		all = append(all, statefulSet(s))
	}
	names := []string{CCM, CSIController, CSINode}
	return slices.DeleteFunc(all, func(w Workload) bool { return !slices.Contains(names, w.Name) }), nil
}

func statefulSet(s *appsv1.StatefulSet) Workload {
	return Workload{"StatefulSet", s.Name, replicas(s.Spec.Replicas), s.Status.ReadyReplicas, s.Spec.Template.Spec.Containers}
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

// Settings are what the flags of the running controllers say.
type Settings struct {
	// Cluster is the ID in the labels of new volumes, "" for none.
	Cluster ownership.Cluster
	// Defaults are the values of annotations that Services do not state.
	Defaults settings.Defaults
}

// SettingsOf reads the flags of the controllers. One that does not run says nothing.
func SettingsOf(all []Workload) (Settings, error) {
	var s Settings
	var faults []error
	if w := Find(all, "Deployment", CSIController); w != nil {
		for _, id := range flags(w.Container("csi-controller"), "cluster-id") {
			s.Cluster = ownership.Cluster(id)
		}
		if err := s.Cluster.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("--cluster-id of %s: %w", w, err))
		}
	}
	if w := Find(all, "Deployment", CCM); w != nil {
		values := map[string]string{}
		for _, text := range flags(w.Container(CCM), "vultr-load-balancer-default") {
			name, value, _ := strings.Cut(text, "=")
			values[name] = value
		}
		defaults, err := settings.ParseDefaults(values)
		if err != nil {
			faults = append(faults, fmt.Errorf("--vultr-load-balancer-default of %s: %w", w, err))
		}
		s.Defaults = defaults
	}
	return s, errors.Join(faults...)
}

// flags returns the values that a container's arguments have for a flag, in either of its two forms. The last one counts
// where one is meant.
func flags(c *v1.Container, name string) []string {
	if c == nil {
		return nil
	}
	var values []string
	args := slices.Concat(c.Command, c.Args)
	for i, arg := range args {
		value, is := strings.CutPrefix(arg, "--"+name+"=")
		if !is && arg == "--"+name && i+1 < len(args) {
			value, is = args[i+1], true
		}
		if is {
			values = append(values, value)
		}
	}
	return values
}
