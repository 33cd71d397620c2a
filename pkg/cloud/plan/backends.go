package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// Skip is a Node that cannot be a backend.
type Skip struct {
	Node   string
	Reason string
	// Passing is set if the reason resolves itself.
	Passing bool
}

// String says which Node is left out and why.
func (s Skip) String() string { return s.Node + " (" + s.Reason + ")" }

// BackendRules say which nodes a load balancer can reach.
type BackendRules struct {
	// Region is where it is.
	Region string
	// VPC is the network through which it reaches them, "" for the public one.
	VPC string
	// Machines are what is known of the nodes' instances; nil if that does not matter.
	Machines map[string]Machine
}

// Backends returns the instances behind the nodes, sorted, and the nodes that have to be left out.
func Backends(nodes []*v1.Node, rules BackendRules) (instances []string, skipped []Skip) {
	fit, skipped := Fit(nodes, rules)
	return Instances(fit), skipped
}

// Fit returns the nodes that can be backends, and those that have to be left out, sorted. One such node never stops the
// others.
func Fit(nodes []*v1.Node, rules BackendRules) (fit []*v1.Node, skipped []Skip) {
	for _, node := range nodes {
		if skip := unfit(node, rules); skip != nil {
			skipped = append(skipped, *skip)
			continue
		}
		fit = append(fit, node)
	}
	slices.SortFunc(skipped, func(a, b Skip) int { return cmp.Compare(a.Node, b.Node) })
	return fit, skipped
}

// Instances returns the instances behind the nodes, sorted, each once.
func Instances(nodes []*v1.Node) []string {
	var instances []string
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			instances = append(instances, id)
		}
	}
	slices.Sort(instances)
	return slices.Compact(instances)
}

func unfit(node *v1.Node, rules BackendRules) *Skip {
	id, err := providerid.Parse(node.Spec.ProviderID)
	there := node.Labels[v1.LabelTopologyRegion]
	switch {
	case errors.Is(err, providerid.ErrUnset):
		return &Skip{Node: node.Name, Reason: "not initialised yet: no provider ID", Passing: true}
	case err != nil:
		return &Skip{Node: node.Name, Reason: fmt.Sprintf("not an instance of this cloud: %v", err)}
	case outofservice.Marked(node):
		return &Skip{Node: node.Name, Reason: "its instance was deleted", Passing: true}
	case rules.Region != "" && there != "" && !strings.EqualFold(there, rules.Region):
		return &Skip{Node: node.Name, Reason: fmt.Sprintf("in region %s, the load balancer is in %s", there, rules.Region)}
	}
	return unreached(node.Name, id, rules)
}

// unreached returns why the load balancer does not reach an instance, nil if it does.
func unreached(name, id string, rules BackendRules) *Skip {
	machine, listed := rules.Machines[id]
	switch {
	case rules.VPC == "" && machine.Hidden:
		return &Skip{Node: name, Reason: fmt.Sprintf("without a public address, so %s: \"true\" is needed", settings.VPC)}
	case rules.VPC == "" || slices.Contains(machine.VPCs, rules.VPC):
		return nil
	case !listed:
		return &Skip{Node: name, Reason: "its instance is in no list yet", Passing: true}
	}
	return &Skip{Node: name, Reason: fmt.Sprintf("not in VPC %s, through which the load balancer reaches its nodes", rules.VPC)}
}

// Regions returns the regions that the nodes of this cloud are in, as far as they are known, sorted.
func Regions(nodes []*v1.Node) []string {
	var regions []string
	for _, node := range nodes {
		if _, err := providerid.Parse(node.Spec.ProviderID); err != nil {
			continue
		}
		if region := node.Labels[v1.LabelTopologyRegion]; region != "" {
			regions = append(regions, region)
		}
	}
	slices.Sort(regions)
	return slices.Compact(regions)
}
