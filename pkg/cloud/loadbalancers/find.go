package loadbalancers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/quiet"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// found is the load balancer of a Service.
type found struct {
	lb vultr.LoadBalancer
	// owned tells that it was made for this Service: it is deleted with it, and keeps nothing that the Service does
	// not ask for. The proof is its label, which holds the Service's UID, or our annotation with its ID.
	owned bool
}

// ManyError is returned when several load balancers could be the Service's. Taking any of them would be a guess.
type ManyError struct {
	// Label is what all of them have.
	Label string
	// IDs are the load balancers.
	IDs []string
}

// Error lists the load balancers and says what to do.
func (e *ManyError) Error() string {
	return fmt.Sprintf("%d load balancers have the label %q: %s; delete those that are not needed, or name the right one by %s",
		len(e.IDs), e.Label, strings.Join(e.IDs, ", "), settings.ID)
}

// find returns the load balancer of the Service, nil when it is proven that there is none. An API failure is never
// read as absence.
func (b *Balancers) find(ctx context.Context, service *v1.Service) (*found, error) {
	f, err := b.byID(ctx, service)
	if err == nil && f == nil {
		f, err = b.byLabel(ctx, service)
	}
	if err != nil || f == nil {
		return nil, err
	}
	if err := b.taken(service, f.lb); err != nil {
		return nil, err
	}
	return f, nil
}

// byID takes the ID that was written down as a hint and asks for it; nil means that it leads nowhere.
func (b *Balancers) byID(ctx context.Context, service *v1.Service) (*found, error) {
	m := b.memories.of(service)
	id := value(service, settings.ID)
	if id == "" {
		id = m.id
	}
	if id == "" {
		return nil, nil
	}
	if !vultr.IsID(id) && !wanted(service) {
		// A slip of the pen must not keep a Service from being deleted; the note of what was made for it remains.
		id = value(service, settings.Owned)
		if !vultr.IsID(id) {
			return nil, nil
		}
	}
	if !vultr.IsID(id) {
		return nil, &settings.ValueError{Key: settings.ID, Value: id, Problem: "must be the UUID of a load balancer"}
	}
	lb, err := b.API.LoadBalancer(ctx, id)
	if vultr.IsNotFound(err) {
		m.id, m.lost = "", id
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load balancer %s: %w", id, err)
	}
	m.lost = ""
	return &found{lb: lb, owned: b.owns(service, lb)}, nil
}

// byLabel looks through a complete list that began now.
func (b *Balancers) byLabel(ctx context.Context, service *v1.Service) (*found, error) {
	name := cloudprovider.DefaultLoadBalancerName(service)
	list, err := b.API.LoadBalancers(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("looking for the load balancer: %w", err)
	}
	lb, err := labelled(list.Items, name)
	if err != nil {
		return nil, err
	}
	if lb != nil {
		b.Guard.Seen(name)
		return &found{lb: *lb, owned: true}, nil
	}
	if label := strings.TrimSpace(value(service, settings.Label)); label != "" && label != name {
		lb, err := labelled(list.Items, label)
		if err != nil {
			return nil, err
		}
		if lb != nil {
			return &found{lb: *lb, owned: b.owns(service, *lb)}, b.harmless(service, *lb)
		}
	}
	err = b.Guard.Absent(name, list.Began)
	if settling, ok := errors.AsType[*vultr.SettlingError](err); ok {
		return nil, quiet.Wait(max(settling.Wait, shortestWait/3), err.Error())
	}
	return nil, err
}

// labelled returns the one load balancer with the label, nil if there is none.
func labelled(all []vultr.LoadBalancer, label string) (*vultr.LoadBalancer, error) {
	var match *vultr.LoadBalancer
	var ids []string
	for i := range all {
		if all[i].Label == label {
			match = &all[i]
			ids = append(ids, all[i].ID)
		}
	}
	if len(ids) > 1 {
		slices.Sort(ids)
		return nil, &ManyError{Label: label, IDs: ids}
	}
	return match, nil
}

// owns tells whether the load balancer was made for this Service.
func (b *Balancers) owns(service *v1.Service, lb vultr.LoadBalancer) bool {
	return lb.Label == cloudprovider.DefaultLoadBalancerName(service) || value(service, settings.Owned) == lb.ID
}

// harmless makes sure that a load balancer that only its label leads to serves nobody else: labels are not unique,
// and another cluster or somebody's virtual machines may be behind it.
func (b *Balancers) harmless(service *v1.Service, lb vultr.LoadBalancer) error {
	if b.owns(service, lb) {
		return nil
	}
	nodes, err := b.Nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	ours := make(map[string]bool, len(nodes))
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			ours[id] = true
		}
	}
	var foreign []string
	for _, id := range lb.Instances {
		if !ours[id] {
			foreign = append(foreign, id)
		}
	}
	if len(foreign) > 0 {
		return fmt.Errorf("load balancer %s has the label %q, but serves instances that are not of this cluster (%s), so it is left alone; to take it over nonetheless set %s to its ID",
			lb.ID, lb.Label, strings.Join(foreign, ", "), settings.ID)
	}
	return nil
}
