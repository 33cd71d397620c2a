package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// ErrUnknown is returned when no instance matches a Node without a provider ID. It says nothing about any machine.
var ErrUnknown = errors.New("no instance has the node's name as label or host name, or its address")

// AmbiguousError is returned when several instances match a Node: labels are not unique on the platform, and a wrong
// guess would bind the Node to a machine of somebody else for ever.
type AmbiguousError struct {
	// By is what matched: "label", "host name" or "address".
	By string
	// Value is what was looked for.
	Value string
	// IDs are the instances.
	IDs []string
}

// Error lists the instances.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d instances have the %s %q: %s; only one may have it, or set --provider-id on the kubelet",
		len(e.IDs), e.By, e.Value, strings.Join(e.IDs, ", "))
}

// lookUp finds the instance of a Node that has no provider ID yet, in a list that began now.
func (i *Instances) lookUp(ctx context.Context, node *v1.Node) (vultr.Instance, error) {
	list, err := i.api.Instances(ctx, 0)
	if err != nil {
		return vultr.Instance{}, fmt.Errorf("looking for the instance of node %s: %w", node.Name, err)
	}
	instance, err := match(node, list.Items)
	if err != nil {
		i.tell(node, "InstanceNotMatched", "The instance of this node cannot be found: "+err.Error())
		return vultr.Instance{}, fmt.Errorf("node %s: %w", node.Name, err)
	}
	i.Forget(node.UID)
	return i.whole(ctx, instance)
}

// match decides which instance is the Node's: by label, as the official controller does, else by host name, else by
// address. The first way that finds anything decides.
func match(node *v1.Node, instances []vultr.Instance) (vultr.Instance, error) {
	own := nodeAddresses(node)
	ways := []struct {
		by, value string
		is        func(vultr.Instance) bool
	}{
		{"label", node.Name, func(in vultr.Instance) bool { return in.Label == node.Name }},
		// The kubelet writes the host name in lower case.
		{"host name", node.Name, func(in vultr.Instance) bool { return strings.EqualFold(in.Hostname, node.Name) }},
		{"address", strings.Join(own, ", "), func(in vultr.Instance) bool {
			return slices.ContainsFunc(addresses(in), func(a v1.NodeAddress) bool { return slices.Contains(own, a.Address) })
		}},
	}
	for _, way := range ways {
		var found []vultr.Instance
		for _, instance := range instances {
			if way.is(instance) {
				found = append(found, instance)
			}
		}
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], nil
		}
		ids := make([]string, 0, len(found))
		for _, instance := range found {
			ids = append(ids, instance.ID)
		}
		slices.Sort(ids)
		return vultr.Instance{}, &AmbiguousError{By: way.by, Value: way.value, IDs: ids}
	}
	return vultr.Instance{}, fmt.Errorf("%w: %s", ErrUnknown, strings.Join(append([]string{node.Name}, own...), ", "))
}

// nodeAddresses returns the addresses that the kubelet knows of.
func nodeAddresses(node *v1.Node) []string {
	var list []string
	add := func(text string) {
		if address := normalise(text); address != "" && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	for text := range strings.SplitSeq(node.Annotations[cloudproviderapi.AnnotationAlphaProvidedIPAddr], ",") {
		add(text)
	}
	for _, address := range node.Status.Addresses {
		if address.Type == v1.NodeInternalIP || address.Type == v1.NodeExternalIP {
			add(address.Address)
		}
	}
	return list
}
