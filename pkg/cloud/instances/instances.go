// Package instances tells Kubernetes about the machines behind its Nodes.
//
// Its one rule: a Node is said to be gone only after a direct look by that very ID found nothing, twice. A list, an
// error, a name that nobody has, another cloud's provider ID or an instance in an odd state never say so, because
// the answer "gone" deletes the Node and with it every pod on it.
package instances

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what is needed of the cloud.
type API interface {
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
}

// Departures tells whether the instance of a Node is proven gone and the Node may be deleted.
type Departures interface {
	Departed(ctx context.Context, node *v1.Node) (bool, error)
}

// metadataAge is how old the list may be from which a known instance's addresses and labels are taken: it is read
// for every Node in turn, and one list serves them all.
const metadataAge = time.Minute

// Options are the choices that an administrator has.
type Options struct {
	// ZoneFromRegion gives Nodes their region as zone too. The platform has no zones.
	ZoneFromRegion bool
}

// Instances implements cloudprovider.InstancesV2.
type Instances struct {
	api        API
	departures Departures
	recorder   record.EventRecorder
	options    Options

	mu   sync.Mutex
	told map[types.UID]string // what was last said about a Node, so that it is said once
}

var _ cloudprovider.InstancesV2 = (*Instances)(nil)

// New makes one. The recorder receives Events about Nodes that cannot be matched.
func New(api API, departures Departures, recorder record.EventRecorder, options Options) *Instances {
	return &Instances{api: api, departures: departures, recorder: recorder, options: options, told: map[types.UID]string{}}
}

// InstanceExists answers false only for an instance that is proven gone and whose Node may be deleted now.
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

// InstanceShutdown answers true for an instance whose power is off. Every other state, also one that is not known,
// is not that.
func (i *Instances) InstanceShutdown(ctx context.Context, node *v1.Node) (bool, error) {
	instance, err := i.find(ctx, node, 0)
	if vultr.IsNotFound(err) {
		return false, nil // gone is not stopped; InstanceExists deals with it
	}
	if err != nil {
		return false, err
	}
	return strings.EqualFold(instance.PowerStatus, "stopped"), nil
}

// InstanceMetadata describes the Node's instance.
func (i *Instances) InstanceMetadata(ctx context.Context, node *v1.Node) (*cloudprovider.InstanceMetadata, error) {
	instance, err := i.find(ctx, node, metadataAge)
	if err != nil {
		return nil, err
	}
	md := metadata(instance, i.options.ZoneFromRegion)
	if len(md.NodeAddresses) == 0 {
		return nil, fmt.Errorf("instance %s of node %s has no address yet", instance.ID, node.Name)
	}
	return md, nil
}

// find returns the instance of a Node: by its provider ID, or as lookUp does. An answer may be as old as maxAge.
func (i *Instances) find(ctx context.Context, node *v1.Node, maxAge time.Duration) (vultr.Instance, error) {
	id, err := providerid.Parse(node.Spec.ProviderID)
	if errors.Is(err, providerid.ErrUnset) {
		return i.lookUp(ctx, node)
	}
	if err != nil {
		return vultr.Instance{}, i.foreign(node, err)
	}
	if maxAge > 0 {
		list, err := i.api.Instances(ctx, maxAge)
		if err != nil {
			return vultr.Instance{}, fmt.Errorf("instance of node %s: %w", node.Name, err)
		}
		for _, instance := range list.Items {
			if instance.ID == id {
				return i.whole(ctx, instance)
			}
		}
		// Not being in a list proves nothing: ask for it.
	}
	instance, err := i.api.Instance(ctx, id)
	if err != nil {
		return vultr.Instance{}, fmt.Errorf("instance of node %s: %w", node.Name, err)
	}
	return instance, nil
}

// whole returns an instance of a list with all of its addresses: lists do not tell those of bare metal in a VPC.
func (i *Instances) whole(ctx context.Context, listed vultr.Instance) (vultr.Instance, error) {
	if listed.Kind != vultr.KindBareMetal {
		return listed, nil
	}
	return i.api.Instance(ctx, listed.ID)
}

// foreign reports a provider ID of another cloud, once for each Node.
func (i *Instances) foreign(node *v1.Node, err error) error {
	i.tell(node, "ForeignProviderID", "This node is left alone: "+err.Error())
	return fmt.Errorf("node %s: %w", node.Name, err)
}

// tell makes an Event about a Node unless it is what was said last.
func (i *Instances) tell(node *v1.Node, reason, message string) {
	i.mu.Lock()
	said := i.told[node.UID] == message
	i.told[node.UID] = message
	i.mu.Unlock()
	if !said {
		i.recorder.Event(node, v1.EventTypeWarning, reason, message)
	}
}

// Forget drops what was said about a Node, because it is no more or because it is well: the next complaint is new.
func (i *Instances) Forget(uid types.UID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.told, uid)
}
