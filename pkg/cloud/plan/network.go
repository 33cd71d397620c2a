package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// network reads which nodes are backends, and how the load balancer reaches them. A slip leaves both as they are.
func (r *reader) network() {
	d := &r.out.Desired
	d.NodeSelector = r.Text(settings.NodeSelector)
	d.KeepNodes = d.KeepNodes || r.malformed(settings.NodeSelector)

	if regions, err := settings.ParseRegions(r.Text(settings.GlobalRegions)); err == nil && len(regions) > 0 {
		d.GlobalRegions = &regions
	}

	network := r.Text(settings.VPC)
	old := r.Text(settings.PrivateNetwork)
	says, saysOld := r.Says(settings.VPC), r.Says(settings.PrivateNetwork)
	switch {
	case saysOld && !says:
		network = old // whatever the cluster's default is
	case saysOld && old != network:
		r.Warn("%s and %s say different things: keep the latter", settings.PrivateNetwork, settings.VPC)
		if network == off {
			network = old // who asked for it there may rely on it
		}
	}
	switch {
	case r.keepNetwork || r.malformed(settings.VPC) || r.malformed(settings.PrivateNetwork):
	case network == off:
		d.VPC = new("")
	case vultr.IsID(network):
		d.VPC = &network
	default:
		d.VPCOfNodes = true
	}
}

// off is how a switch says no.
const off = "false"

// Machine is what is known of the networks of a node's instance.
type Machine struct {
	// VPCs are those that it is in.
	VPCs []string
	// Hidden is set if it has no public address.
	Hidden bool
}

// Machines returns what a list says of the networks of instances, by their IDs in lower case.
func Machines(list []vultr.Instance) map[string]Machine {
	machines := make(map[string]Machine, len(list))
	for _, in := range list {
		machines[strings.ToLower(in.ID)] = Machine{VPCs: in.VPCs, Hidden: in.MainIP == "" && in.MainIPv6 == "" && len(in.VPCs) > 0}
	}
	return machines
}

// Select returns the nodes that a label selector chooses; "" chooses all. The selector has been checked.
func Select(nodes []*v1.Node, selector string) []*v1.Node {
	chosen, err := labels.Parse(selector)
	if err != nil {
		return nil // no Reading has such a one
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(node *v1.Node) bool { return !chosen.Matches(labels.Set(node.Labels)) })
}

// SelectForAll returns the nodes that all of the selectors choose together. A selector that would leave none of those that the ones
// before it have left is set apart; its place is returned.
func SelectForAll(nodes []*v1.Node, selectors []string) (chosen []*v1.Node, apart []int) {
	chosen = nodes
	for i, selector := range selectors {
		if fewer := Select(chosen, selector); len(fewer) > 0 {
			chosen = fewer
		} else if len(chosen) > 0 {
			apart = append(apart, i)
		}
	}
	return chosen, apart
}

// VPCOf returns the VPC through which a load balancer is to reach the nodes: the preferred one if a node is in it, else the
// one that it is in already, else the one that all of them are in, else the only one that any is in. The error says why there
// is none.
func VPCOf(nodes []*v1.Node, machines map[string]Machine, present, preferred string) (string, error) {
	counts, known := map[string]int{}, 0
	for _, node := range nodes {
		id, _ := providerid.Parse(node.Spec.ProviderID) // without one it is nobody's
		machine, listed := machines[id]
		if !listed {
			continue
		}
		known++
		for _, vpc := range machine.VPCs {
			counts[vpc]++
		}
	}
	for _, vpc := range []string{preferred, present} {
		if counts[vpc] > 0 {
			return vpc, nil
		}
	}
	all := slices.Sorted(maps.Keys(counts))
	common := slices.DeleteFunc(slices.Clone(all), func(vpc string) bool { return counts[vpc] < known })
	switch {
	case len(common) == 1:
		return common[0], nil
	case len(all) == 1:
		return all[0], nil
	case known == 0:
		return "", errors.New("no node has an instance that could be a backend, so their VPC is not known")
	case len(all) == 0:
		return "", errors.New("no node is in a VPC")
	}
	texts := make([]string, 0, len(all))
	for _, vpc := range all {
		texts = append(texts, fmt.Sprintf("%d in %s", counts[vpc], vpc))
	}
	return "", fmt.Errorf("the nodes (%d) are in several VPCs (%s): name the right one in place of true", known, strings.Join(texts, ", "))
}
