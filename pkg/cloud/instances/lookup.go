package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// maxNetworks is how many instances are asked for their networks, one call each, to judge one private address.
const maxNetworks = 50

// lookUp finds the instance of a Node that has no provider ID yet, in a list that began after the Node was first seen:
// an older one may show a machine that had the Node's name before. All Nodes that were seen before a list began share it. One
// that never gets a provider ID, because its kubelet registered without the taint, is looked for in lists as recent as those of
// the others.
func (i *Instances) lookUp(ctx context.Context, node *v1.Node) (vultr.Instance, error) {
	since, err := i.attempts.begin(node.UID)
	if err != nil {
		return vultr.Instance{}, err
	}
	list, err := i.roster.Instances(ctx, min(time.Since(since), metadataAge))
	if err != nil {
		return vultr.Instance{}, fmt.Errorf("looking for the instance of node %s: %w", node.Name, err)
	}
	instance, err := i.match(ctx, node, list.Items)
	if err != nil {
		err = fmt.Errorf("node %s: %w", node.Name, err)
		i.attempts.failed(node.UID, err)
		return vultr.Instance{}, err
	}
	i.attempts.succeeded(node.UID)
	i.settled(node.UID, instanceNotMatched)
	return instance, nil
}

// match decides which of the listed instances is the Node's, and checks it against what the kubelet says of itself.
func (i *Instances) match(ctx context.Context, node *v1.Node, listed []vultr.Instance) (vultr.Instance, error) {
	nodes, err := i.nodes.List(labels.Everything())
	if err != nil {
		return vultr.Instance{}, fmt.Errorf("listing nodes: %w", err)
	}
	within := i.options.Scope.filter(listed)
	view := match.View{Instances: within, Nodes: nodes}
	instance, err := match.Find(node, view)
	if unread, ok := errors.AsType[*match.NetworksError](err); ok && len(unread.IDs) <= maxNetworks {
		if view.Private, err = i.read(ctx, within, unread.IDs); err != nil {
			return vultr.Instance{}, err
		}
		instance, err = match.Find(node, view)
	}
	if outside := len(listed) - len(within); outside > 0 && errors.Is(err, match.ErrUnknown) {
		err = fmt.Errorf("%w (of %d instances %d are outside of %s, and were not looked at)", err, len(listed), outside, i.options.Scope)
	}
	if err == nil {
		err = i.check(ctx, node, instance)
	}
	if err != nil && !isPassing(err) {
		i.tell(node, instanceNotMatched, "The instance of this node cannot be found: "+err.Error())
	}
	return instance, err
}

// isPassing reports whether an error says nothing about which instance is the Node's: that of an API which fails, and what new
// instances in a VPC have for some seconds. Both are told if they last.
func isPassing(err error) bool {
	_, failed := errors.AsType[*vultr.Error](err)
	return errors.Is(err, errNoAddressYet) || failed && !vultr.IsNotFound(err)
}

// read returns the addresses of some of the listed instances in their VPCs.
func (i *Instances) read(ctx context.Context, listed []vultr.Instance, ids []string) (map[string][]string, error) {
	private := make(map[string][]string, len(ids))
	for _, in := range listed {
		if !slices.Contains(ids, in.ID) {
			continue
		}
		found, err := i.networks.of(ctx, in)
		if errors.Is(err, errNoAddressYet) {
			continue // it stays unread, and the address can't be judged
		}
		if err != nil {
			return nil, fmt.Errorf("the addresses of instance %s in its VPCs: %w", in.ID, err)
		}
		private[in.ID] = texts(found)
	}
	return private, nil
}

// check compares an instance that was found by its name with the addresses that the Node reports. They may differ: a
// kubelet without --node-ip guesses. But an instance that has none of them may be one that was destroyed and made again
// under the same name, which a list can still show for a while; so it has to answer to its ID.
func (i *Instances) check(ctx context.Context, node *v1.Node, in vultr.Instance) error {
	private, err := i.private(ctx, node, in)
	if err != nil {
		return err
	}
	reported, own := addresses.Reported(node), addresses.Texts(addresses.Of(in, texts(private)...))
	if len(reported) == 0 || slices.ContainsFunc(reported, func(address string) bool { return slices.Contains(own, address) }) {
		return nil
	}
	if _, err := i.api.Instance(ctx, in.ID); err != nil {
		return fmt.Errorf("instance %s has the node's name, but none of its addresses, and asking for it failed: %w", in.ID, err)
	}
	return nil
}
