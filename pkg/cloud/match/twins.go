package match

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Twins returns the instances that may be the machine behind a Node beside the one that its provider ID names: those
// with its name, its host name or its address. A machine that was destroyed and made again under its old name reports as
// the old Node, whose provider ID can't be changed, so while there is a twin nobody can say that the Node is dead.
func Twins(node *v1.Node, view View) []vultr.Instance {
	own, _ := providerid.Parse(node.Spec.ProviderID) // without one, every instance can be a twin
	names := names(node)
	public, private := split(addresses.Reported(node))
	near, bound := view.networks(), view.bound(node)
	return filter(view.Instances, func(in vultr.Instance) bool {
		id := strings.ToLower(in.ID)
		switch {
		case id == own:
			return false
		case slices.ContainsFunc(names, func(name string) bool { return called(in, name) }):
			return true
		case bound[id]:
			return false // what has this Node's address by now is another Node's machine
		}
		return view.has(in, public) || view.has(in, private) && near.reach(in)
	})
}

// called reports whether an instance has a name as label or host name, in any case, with or without its domain.
func called(in vultr.Instance, name string) bool {
	for _, text := range []string{in.Label, in.Hostname} {
		if strings.EqualFold(text, name) || sameHost(text, name) {
			return true
		}
	}
	return false
}

// names lists the names of a Node and of its host.
func names(node *v1.Node) []string {
	list := []string{node.Name}
	if host := node.Labels[v1.LabelHostname]; host != "" {
		list = append(list, host)
	}
	for _, address := range node.Status.Addresses {
		if address.Type == v1.NodeHostName && address.Address != "" {
			list = append(list, address.Address)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// StaleProviderID is the reason of the Event about a Node whose provider ID names an instance that is gone while a twin
// of it is there.
const StaleProviderID = reason.StaleProviderID

// StaleText tells people about it and what to do.
func StaleText(node *v1.Node, twins []vultr.Instance) string {
	list := make([]string, 0, len(twins))
	for _, in := range twins {
		list = append(list, fmt.Sprintf("%s (label %q, host name %q)", in.ID, in.Label, in.Hostname))
	}
	return fmt.Sprintf("The provider ID %s names an instance that does not exist, but the node's name or address is that of instance %s. "+
		"If that machine runs as this node, drain the node, delete it (kubectl delete node %s) and restart the kubelet there, so that it registers again",
		node.Spec.ProviderID, strings.Join(list, ", "), node.Name)
}
