// Package match decides which instance is the machine of a Node that has no provider ID yet, and which instances might
// be the machine behind a Node whose provider ID names one that is gone. It decides over plain values.
//
// Neither labels nor host names nor private addresses are unique on the platform, and a provider ID can never be
// changed, so every ambiguity is an error and never a guess.
package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// ErrUnknown is returned when no instance matches a Node without a provider ID. It says nothing about any machine.
var ErrUnknown = errors.New("no instance has the node's name as label or host name, or its address")

// AmbiguousError is returned when several instances match a Node, and none is taken.
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

// TakenError is returned when the only instance that matches is another Node's machine.
type TakenError struct {
	// By and Value are what matched; ID is the instance.
	By, Value, ID string
	// Node is the name of the Node whose machine it is.
	Node string
}

// Error names the other Node.
func (e *TakenError) Error() string {
	return fmt.Sprintf("instance %s has the %s %q, but it is the machine of node %s; delete that node if it no longer exists, or set --provider-id on the kubelet",
		e.ID, e.By, e.Value, e.Node)
}

// NetworksError is returned when a private address can only be judged with the addresses of further instances, which
// lists do not tell.
type NetworksError struct {
	// IDs are the instances whose networks have to be read.
	IDs []string
}

// Error says what is missing.
func (e *NetworksError) Error() string {
	return fmt.Sprintf("the node's private address may also be that of %d instances whose addresses in their VPCs are not known: %s; "+
		"give the node's instance the node's name as label", len(e.IDs), strings.Join(e.IDs, ", "))
}

// View is what is known of the account and the cluster when a Node is looked at.
type View struct {
	// Instances are those of the account.
	Instances []vultr.Instance
	// Nodes are those of the cluster.
	Nodes []*v1.Node
	// Private are addresses in VPCs that were read for single instances, by ID. Lists lack those of bare metal, and all
	// but the first of an instance in several VPCs.
	Private map[string][]string
}

// kind orders the ways of a match by what they are worth.
type kind int

const (
	byName     kind = iota // what people and the official controller rely on
	byLikeness             // a name that is nearly the same
	byUnique               // a public address
	byPrivate              // an address that others may have too
)

// way is one way to recognise a Node's instance.
type way struct {
	kind      kind
	by, value string
	is        func(vultr.Instance) bool
}

// Find returns the Node's instance: by label, as the official controller does, else by host name, else by address. The
// first way that finds anything decides.
func Find(node *v1.Node, view View) (vultr.Instance, error) {
	for _, w := range ways(node, view) {
		if w.kind == byPrivate {
			if unknown := view.unread(node); len(unknown) > 0 {
				return vultr.Instance{}, &NetworksError{IDs: unknown}
			}
		}
		found := filter(view.Instances, w.is)
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], view.free(node, found[0], w)
		}
		ids := make([]string, 0, len(found))
		for _, instance := range found {
			ids = append(ids, instance.ID)
		}
		slices.Sort(ids)
		return vultr.Instance{}, &AmbiguousError{By: w.by, Value: w.value, IDs: ids}
	}
	looked := append([]string{node.Name}, addresses.Reported(node)...)
	return vultr.Instance{}, fmt.Errorf("%w: %s", ErrUnknown, strings.Join(looked, ", "))
}

// ways lists the ways of recognising a Node's instance in the order in which they are tried.
func ways(node *v1.Node, view View) []way {
	name := node.Name
	list := []way{
		{byName, "label", name, func(in vultr.Instance) bool { return in.Label == name }},
		// A Node's name is in lower case always, whatever its host name or label is in.
		{byName, "label", name, func(in vultr.Instance) bool { return strings.EqualFold(in.Label, name) }},
		{byName, "host name", name, func(in vultr.Instance) bool { return strings.EqualFold(in.Hostname, name) }},
		{byLikeness, "label", name, func(in vultr.Instance) bool { return sameHost(in.Label, name) }},
		{byLikeness, "host name", name, func(in vultr.Instance) bool { return sameHost(in.Hostname, name) }},
	}
	public, private := split(addresses.Reported(node))
	if len(public) > 0 {
		list = append(list, way{byUnique, "address", strings.Join(public, ", "), func(in vultr.Instance) bool { return view.has(in, public) }})
	}
	if len(private) > 0 {
		near := sync.OnceValue(view.networks) // most Nodes are found by their names
		list = append(list, way{byPrivate, "address", strings.Join(private, ", "), func(in vultr.Instance) bool {
			return view.has(in, private) && near().reach(in)
		}})
	}
	return list
}

// free returns a *TakenError if the instance is another Node's machine. A Node that does not report may be what the
// machine was called before; that excuses an equal name, but nothing weaker.
func (v View) free(node *v1.Node, found vultr.Instance, w way) error {
	bound := providerid.Format(found.ID)
	for _, other := range v.Nodes {
		if other.UID == node.UID || !strings.EqualFold(other.Spec.ProviderID, bound) {
			continue
		}
		if w.kind != byName || readiness.IsReady(other) {
			return &TakenError{By: w.by, Value: w.value, ID: found.ID, Node: other.Name}
		}
	}
	return nil
}

// unread lists the instances whose addresses in their VPCs a list does not tell and nobody has read, without those that
// are other Nodes' machines.
func (v View) unread(node *v1.Node) []string {
	bound := v.bound(node)
	var ids []string
	for _, in := range v.Instances {
		if _, known := v.Private[in.ID]; known || bound[strings.ToLower(in.ID)] {
			continue
		}
		if in.InternalIP == "" && len(in.VPCs) > 0 || len(in.VPCs) > 1 {
			ids = append(ids, in.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// bound returns the instances that are other Nodes' machines.
func (v View) bound(node *v1.Node) map[string]bool {
	bound := map[string]bool{}
	for _, other := range v.Nodes {
		if id, err := providerid.Parse(other.Spec.ProviderID); err == nil && other.UID != node.UID {
			bound[id] = true
		}
	}
	return bound
}

// has reports whether an instance has one of the addresses.
func (v View) has(in vultr.Instance, wanted []string) bool {
	return slices.ContainsFunc(addresses.Texts(addresses.Of(in, v.Private[in.ID]...)), func(address string) bool {
		return slices.Contains(wanted, address)
	})
}

// networks are the VPCs in which the cluster's machines are.
type networks map[string]bool

func (v View) networks() networks {
	bound := v.bound(&v1.Node{})
	near := networks{}
	for _, in := range v.Instances {
		if bound[strings.ToLower(in.ID)] {
			for _, id := range in.VPCs {
				near[id] = true
			}
		}
	}
	return near
}

// reach reports whether an instance can be in the cluster's network: an equal private address in another one means
// nothing. Of a cluster of which no network is known yet it can be any.
func (n networks) reach(in vultr.Instance) bool {
	return len(n) == 0 || slices.ContainsFunc(in.VPCs, func(id string) bool { return n[id] })
}

// sameHost reports whether two names are one host's, one of them with its domain and one without.
func sameHost(a, b string) bool {
	shortA, _, longA := strings.Cut(a, ".")
	shortB, _, longB := strings.Cut(b, ".")
	return longA != longB && shortA != "" && strings.EqualFold(shortA, shortB)
}

func split(list []string) (public, private []string) {
	for _, address := range list {
		if addresses.Unique(address) {
			public = append(public, address)
		} else {
			private = append(private, address)
		}
	}
	return public, private
}

func filter(list []vultr.Instance, is func(vultr.Instance) bool) []vultr.Instance {
	var found []vultr.Instance
	for _, in := range list {
		if is(in) {
			found = append(found, in)
		}
	}
	return found
}
