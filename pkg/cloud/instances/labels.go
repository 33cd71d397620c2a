package instances

import (
	"context"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The labels that Nodes have beside Kubernetes' own.
const (
	// PlanLabel is the plan of the instance, KindLabel one of the kinds below, and VPCLabel the network of its InternalIP.
	PlanLabel = "vultr.com/plan"
	KindLabel = "vultr.com/kind"
	VPCLabel  = "vultr.com/vpc"
)

// The values of KindLabel.
const (
	kindVM    = "vm"
	kindMetal = "metal"
	kindGPU   = "gpu"
)

// gpuPlans begin the names of plans of virtual machines with a graphics processor.
const gpuPlans = "vcg-"

// labelsOf returns the labels of an instance's Node. What is not known has none.
func labelsOf(in vultr.Instance, vpc string) map[string]string {
	kind := kindVM
	switch {
	case in.Kind == vultr.KindBareMetal:
		kind = kindMetal
	case strings.HasPrefix(in.Plan, gpuPlans):
		kind = kindGPU
	}
	labels := map[string]string{KindLabel: kind}
	if plan := LabelValue(in.Plan); plan != "" {
		labels[PlanLabel] = plan
	}
	if vpc = LabelValue(vpc); vpc != "" {
		labels[VPCLabel] = vpc
	}
	return labels
}

// relabel brings the labels of a Node up to date, which the library gives to new ones only: one that was there before, or whose
// instance has changed. It is tried again when the Node's addresses are compared next.
func (i *Instances) relabel(ctx context.Context, node *v1.Node, wanted map[string]string) {
	if i.options.Label == nil || node.Spec.ProviderID == "" {
		return
	}
	changes := map[string]any{}
	for _, name := range []string{PlanLabel, KindLabel, VPCLabel} {
		is, there := node.Labels[name]
		switch want, asked := wanted[name]; {
		case asked && is != want:
			changes[name] = want
		case !asked && there:
			changes[name] = nil
		}
	}
	if len(changes) == 0 {
		return
	}
	if err := i.options.Label(ctx, node, changes); err != nil {
		klog.FromContext(ctx).Error(err, "The labels of a node could not be brought up to date", "node", klog.KObj(node))
	}
}
