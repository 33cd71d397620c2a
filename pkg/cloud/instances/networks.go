package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// networksAge is how long the addresses in VPCs are remembered that only a call for each instance tells. They change when
// the instance joins or leaves a VPC, which its entry in lists shows.
const networksAge = time.Hour

// networks remembers addresses in VPCs.
type networks struct {
	api API

	mu    sync.Mutex
	known map[string]joined
}

// joined is what one instance had when it was asked about.
type joined struct {
	vpcs     string // of its entry in the list
	networks []vultr.Network
	at       time.Time
}

// errNoAddressYet says that an instance is in a VPC but has no address there.
var errNoAddressYet = errors.New("it is in a VPC, but the platform has given it no address there yet")

// of returns the places of an instance in its VPCs, the first one first. It is an error if an address is not known there,
// because one that is left out would look like one that was taken away.
func (n *networks) of(ctx context.Context, in vultr.Instance) ([]vultr.Network, error) {
	vpcs := strings.Join(in.VPCs, ",")
	n.mu.Lock()
	known, ok := n.known[in.ID]
	n.mu.Unlock()
	if ok && known.vpcs == vpcs && len(in.VPCs) > 0 && time.Since(known.at) < networksAge {
		return known.networks, nil
	}
	list, err := n.api.Networks(ctx, in)
	if vultr.IsNotFound(err) {
		// Parts of a server can be missing while the server is there.
		list, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(list) < len(in.VPCs) || slices.ContainsFunc(list, func(network vultr.Network) bool { return network.IP == "" }) {
		return nil, errNoAddressYet
	}
	found := make([]vultr.Network, 0, len(list))
	for _, network := range list {
		if len(in.VPCs) > 0 && network.VPC == in.VPCs[0] {
			found = slices.Insert(found, 0, network)
			continue
		}
		found = append(found, network)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil || len(n.known) > maxKnown {
		n.known = map[string]joined{}
	}
	n.known[in.ID] = joined{vpcs: vpcs, networks: found, at: time.Now()}
	return found, nil
}

// maxKnown bounds the memory for instances of long ago.
const maxKnown = 10000

// private returns the places in VPCs that a Node's instance has beside that of its entry in the list, which lacks those of
// bare metal, all but the first of a virtual machine in several VPCs, and now and then one that is there.
func (i *Instances) private(ctx context.Context, node *v1.Node, in vultr.Instance) ([]vultr.Network, error) {
	if !incomplete(node, in) && !i.options.Choice.Unread(in) {
		return nil, nil
	}
	found, err := i.networks.of(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("the addresses of instance %s of node %s in its VPCs: %w", in.ID, node.Name, err)
	}
	return found, nil
}

// texts returns the addresses in networks.
func texts(networks []vultr.Network) []string {
	list := make([]string, 0, len(networks))
	for _, network := range networks {
		list = append(list, network.IP)
	}
	return list
}

// incomplete reports whether an instance may have addresses that its entry in the list does not show and that matter to
// the Node.
func incomplete(node *v1.Node, in vultr.Instance) bool {
	if in.InternalIP == "" && len(in.VPCs) > 0 {
		return true
	}
	listed := addresses.Texts(addresses.Of(in))
	lacks := func(address string) bool { return !slices.Contains(listed, address) }
	if len(in.VPCs) > 1 && slices.ContainsFunc(addresses.Provided(node), lacks) {
		return true
	}
	// An answer without the address that the Node has would turn its InternalIP into the public one.
	return in.InternalIP == "" && slices.ContainsFunc(node.Status.Addresses, func(a v1.NodeAddress) bool {
		return a.Type == v1.NodeInternalIP && lacks(addresses.Normalise(a.Address))
	})
}
