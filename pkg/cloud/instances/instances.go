// Package instances tells Kubernetes about the machines behind its Nodes.
//
// Its one rule: a Node is said to be gone only after direct looks by that very ID found nothing, with pauses. A list, an
// error, a name that nobody has, another cloud's provider ID or an instance in an odd state never say so, because
// the answer "gone" deletes the Node and with it every pod on it.
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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
	cloudprovider "k8s.io/cloud-provider"
	cloudproviderapi "k8s.io/cloud-provider/api"
	"k8s.io/cloud-provider/node/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/addresses"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what is needed of the cloud.
type API interface {
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	Networks(ctx context.Context, in vultr.Instance) ([]vultr.Network, error)
}

// Departures reports whether the instance of a Node is proven gone and the Node may be deleted.
type Departures interface {
	Departed(ctx context.Context, node *v1.Node) (bool, error)
}

// metadataAge is how old the list may be from which a known instance is read: one list serves all Nodes of a round.
const metadataAge = time.Minute

// familiesFlag is the flag of Choice.Families.
const familiesFlag = "vultr-address-families"

// Reasons of Events.
const (
	nodeIPNotFound     = reason.NodeIPNotFound
	instanceNotMatched = reason.InstanceNotMatched
	foreignProviderID  = reason.ForeignProviderID
)

// Options are the choices that an administrator has.
type Options struct {
	// ZoneFromRegion gives Nodes their region as zone too. The platform has no zones.
	ZoneFromRegion bool
	// Choice is which addresses Nodes get.
	Choice addresses.Choice
	// Scope is where the instances of new Nodes are looked for.
	Scope Scope
	// Label changes labels of a Node, those with the value nil by removing them. Without it Nodes get no labels but Kubernetes'
	// own.
	Label func(ctx context.Context, node *v1.Node, changes map[string]any) error
	// Tag is given to the instances of Nodes, by SetTags, which replaces all tags of one; "" is none.
	Tag     string
	SetTags func(ctx context.Context, in vultr.Instance, tags []string) error
}

// Instances implements cloudprovider.InstancesV2.
type Instances struct {
	api        API
	roster     *roster.Roster
	nodes      corelisters.NodeLister
	departures Departures
	recorder   record.EventRecorder
	options    Options
	networks   networks
	attempts   attempts
	waiting    waiting
	tagged     tagged

	mu   sync.Mutex
	told map[types.UID]map[string]string // what was last said about a Node for each reason, so that it is said once
}

var _ cloudprovider.InstancesV2 = (*Instances)(nil)

// New returns Instances. The recorder receives Events about Nodes that cannot be matched.
func New(api API, roster *roster.Roster, nodes corelisters.NodeLister, departures Departures, recorder record.EventRecorder, options Options) *Instances {
	return &Instances{
		api: api, roster: roster, nodes: nodes, departures: departures, recorder: recorder, options: options,
		networks: networks{api: api}, attempts: attempts{nodes: map[types.UID]attempt{}},
		told: map[types.UID]map[string]string{},
	}
}

// Seen notes that a Node exists. The sooner it is told, the more Nodes share a list when they are initialised.
func (i *Instances) Seen(node *v1.Node) {
	if node.Spec.ProviderID == "" {
		i.attempts.seen(node.UID)
	}
}

// InstanceExists returns false only for an instance that is proven gone and whose Node may be deleted now.
func (i *Instances) InstanceExists(ctx context.Context, node *v1.Node) (bool, error) {
	_, err := providerid.Parse(node.Spec.ProviderID)
	if errors.Is(err, providerid.ErrUnset) {
		// Without an ID nothing can be proven: found is "exists", anything else is an error.
		_, err := i.lookUp(ctx, node)
		return err == nil, err
	}
	if err != nil {
		return false, i.foreign(node, err)
	}
	departed, err := i.departures.Departed(ctx, node)
	if err != nil {
		return false, fmt.Errorf("whether the instance of node %s exists: %w", node.Name, err)
	}
	return !departed, nil
}

// InstanceShutdown returns true for an instance whose power is off. Every other state, also one that is not known, is
// not that, and an instance that is not listed is not stopped: InstanceExists deals with it.
func (i *Instances) InstanceShutdown(ctx context.Context, node *v1.Node) (bool, error) {
	id, err := providerid.Parse(node.Spec.ProviderID)
	switch {
	case errors.Is(err, providerid.ErrUnset):
		instance, err := i.lookUp(ctx, node)
		return stopped(instance), err
	case err != nil:
		return false, i.foreign(node, err)
	}
	list, err := i.roster.Instances(ctx, roster.Patience(node))
	if err != nil {
		return false, fmt.Errorf("whether the instance of node %s is stopped: %w", node.Name, err)
	}
	instance, _ := listed(list.Items, id)
	return stopped(instance), nil
}

func stopped(in vultr.Instance) bool { return strings.EqualFold(in.PowerStatus, "stopped") }

// InstanceMetadata describes the Node's instance.
func (i *Instances) InstanceMetadata(ctx context.Context, node *v1.Node) (*cloudprovider.InstanceMetadata, error) {
	md, err := i.describe(ctx, node)
	i.tellWaiting(ctx, node, err)
	return md, err
}

func (i *Instances) describe(ctx context.Context, node *v1.Node) (*cloudprovider.InstanceMetadata, error) {
	instance, err := i.find(ctx, node)
	if err != nil {
		return nil, err
	}
	private, err := i.private(ctx, node, instance)
	if err != nil {
		return nil, err
	}
	own := i.options.Choice.Of(instance, private, addresses.Provided(node))
	if len(own.List) == 0 {
		return nil, fmt.Errorf("instance %s of node %s has no address yet, or none of the families that nodes are to have", instance.ID, node.Name)
	}
	i.compare(node, instance, own.List, addresses.Texts(addresses.Of(instance, texts(private)...)))
	i.tellMissed(node, instance, own)
	md := metadata(instance, own, i.options)
	i.relabel(ctx, node, md.AdditionalLabels)
	i.tag(ctx, node, instance)
	return md, nil
}

// tellMissed makes an Event of an instance that is not in the network that was chosen for Nodes.
func (i *Instances) tellMissed(node *v1.Node, in vultr.Instance, own addresses.Addresses) {
	if !own.Missed {
		i.settled(node.UID, reason.NodeVPCNotFound)
		return
	}
	network := i.options.Choice.VPC
	if network == "" {
		network = i.options.Choice.Range.String()
	}
	i.tell(node, reason.NodeVPCNotFound, fmt.Sprintf("Instance %s is not in the network that nodes are to use, %s (--vultr-vpc). The node has the addresses %s instead",
		in.ID, network, strings.Join(addresses.Texts(own.List), ", ")))
}

// compare makes an Event of a --node-ip that the instance does not have, that is none of the addresses which nodes are to have, or
// that can't be read: the library leaves such a Node uninitialised and says so in its log alone. all are the instance's addresses,
// also those that its Node does not get.
func (i *Instances) compare(node *v1.Node, in vultr.Instance, own []v1.NodeAddress, all []string) {
	text, given := node.Annotations[cloudproviderapi.AnnotationAlphaProvidedIPAddr]
	_, err := helpers.GetNodeAddressesFromNodeIP(text, own)
	if !given || err == nil {
		i.settled(node.UID, nodeIPNotFound)
		return
	}
	has := addresses.Texts(own)
	lacking := slices.DeleteFunc(addresses.Provided(node), func(address string) bool { return slices.Contains(has, address) })
	list := strings.Join(has, ", ")
	switch {
	case len(lacking) == 0:
		i.tell(node, nodeIPNotFound, fmt.Sprintf("The node's annotation %s can't be used: %v. It is the kubelet's --node-ip, as the kubelet writes it, "+
			"and the node can't be initialised with another text. Instance %s has %s",
			cloudproviderapi.AnnotationAlphaProvidedIPAddr, err, in.ID, list))
	case !slices.ContainsFunc(lacking, func(address string) bool { return !slices.Contains(all, address) }):
		i.tell(node, nodeIPNotFound, fmt.Sprintf("The kubelet's --node-ip %s is an address of instance %s, but of a family that --%s leaves out: "+
			"nodes are to have %s. The node can't be initialised until the kubelet uses one of these or the flag has that family",
			strings.Join(lacking, ","), in.ID, familiesFlag, list))
	default:
		i.tell(node, nodeIPNotFound, fmt.Sprintf("The kubelet's --node-ip %s is not an address of instance %s, which has %s. "+
			"The node can't be initialised until the kubelet uses one of these or the instance is attached to the VPC of that address",
			strings.Join(lacking, ","), in.ID, list))
	}
}

// find returns the instance of a Node: by its provider ID, or as lookUp does.
func (i *Instances) find(ctx context.Context, node *v1.Node) (vultr.Instance, error) {
	id, err := providerid.Parse(node.Spec.ProviderID)
	if errors.Is(err, providerid.ErrUnset) {
		return i.lookUp(ctx, node)
	}
	if err != nil {
		return vultr.Instance{}, i.foreign(node, err)
	}
	list, err := i.roster.Instances(ctx, metadataAge)
	if err != nil {
		return vultr.Instance{}, fmt.Errorf("instance of node %s: %w", node.Name, err)
	}
	if instance, ok := listed(list.Items, id); ok {
		i.attempts.forget(node.UID)
		return instance, nil
	}
	return i.ask(ctx, node, id, list.Items)
}

// ask reads an instance that is not in the list, which proves nothing: it may be newer.
func (i *Instances) ask(ctx context.Context, node *v1.Node, id string, list []vultr.Instance) (vultr.Instance, error) {
	if _, err := i.attempts.begin(node.UID); err != nil {
		return vultr.Instance{}, err
	}
	nodes, err := i.nodes.List(labels.Everything())
	if err != nil {
		return vultr.Instance{}, fmt.Errorf("listing nodes: %w", err)
	}
	var instance vultr.Instance
	census := witness.Count(nodes, list, id)
	if err = census.Doubt(); err == nil || census.Total == 1 {
		// An account that shows nothing of this cluster is not asked for one instance after the other.
		instance, err = i.api.Instance(ctx, id)
	}
	if err == nil {
		i.attempts.forget(node.UID)
		return instance, nil
	}
	if vultr.IsNotFound(err) && !time.Now().Before(roster.MatureAt(node)) {
		i.stale(node, match.Twins(node, match.View{Instances: list, Nodes: nodes}))
	}
	err = fmt.Errorf("instance of node %s: %w", node.Name, err)
	i.attempts.failed(node.UID, err)
	return vultr.Instance{}, err
}

// stale makes an Event of a Node that reports while its provider ID names no instance, but another instance has its
// name: a machine that was made again. Its provider ID can't be changed, and load balancers and disks would look for a
// machine that is gone.
func (i *Instances) stale(node *v1.Node, twins []vultr.Instance) {
	if len(twins) == 0 {
		return
	}
	i.tell(node, match.StaleProviderID, match.StaleText(node, twins))
}

func listed(list []vultr.Instance, id string) (vultr.Instance, bool) {
	for i := range list {
		if strings.EqualFold(list[i].ID, id) {
			return list[i], true
		}
	}
	return vultr.Instance{}, false
}

// foreign reports a provider ID of another cloud, once for each Node.
func (i *Instances) foreign(node *v1.Node, err error) error {
	i.tell(node, foreignProviderID, "This node is left alone: "+err.Error())
	return fmt.Errorf("node %s: %w", node.Name, err)
}

// tell makes an Event about a Node unless it is what was last said for that reason.
func (i *Instances) tell(node *v1.Node, reason, message string) {
	i.mu.Lock()
	said := i.told[node.UID][reason] == message
	if i.told[node.UID] == nil {
		i.told[node.UID] = map[string]string{}
	}
	i.told[node.UID][reason] = message
	i.mu.Unlock()
	if !said {
		i.recorder.Event(node, v1.EventTypeWarning, reason, message)
	}
}

// settled drops what was said about a Node for a reason that is no more: the next complaint is new.
func (i *Instances) settled(uid types.UID, reason string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.told[uid], reason)
}

// Forget drops what is remembered of a Node because it is no more.
func (i *Instances) Forget(uid types.UID) {
	i.attempts.forget(uid)
	i.waiting.forget(uid)
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.told, uid)
}
