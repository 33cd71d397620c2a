package balancers

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// shared returns the record by which a Service has a load balancer, its own or that of the Service whose guest it is, and all
// that share it, the oldest first. Those are none if nobody does.
func (in Input) shared(service *v1.Service) (ledger.Entry, []*v1.Service) {
	entry, host := in.Entries[service.UID], service.UID
	for uid, other := range in.Entries {
		if entry.ID == "" && other.Guests.Has(service.UID) {
			entry, host = other, uid
			break
		}
	}
	if entry.Guests == "" {
		return entry, nil
	}
	var sharers []*v1.Service
	for _, other := range in.Services {
		if stays(other) && (other.UID == host || entry.Guests.Has(other.UID)) {
			sharers = append(sharers, other)
		}
	}
	slices.SortFunc(sharers, plan.ByAge)
	return entry, sharers
}

// stays reports whether a Service is not about to leave the load balancer that it shares.
func stays(service *v1.Service) bool {
	return service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && plan.Managed(service) && !plan.Disowned(service)
}

// disowned returns the other Services that have given up the load balancer of a record as it is, and whose ports it keeps.
func (in Input) disowned(entry ledger.Entry, but *v1.Service) []plan.Member {
	var members []plan.Member
	for _, other := range in.Services {
		gaveUp := other.DeletionTimestamp == nil && other.Spec.Type == v1.ServiceTypeLoadBalancer && plan.Disowned(other)
		if gaveUp && other.UID != but.UID && entry.Guests.Has(other.UID) {
			members = append(members, plan.Member{Service: other, Reading: in.read(other), Held: true})
		}
	}
	return members
}

// asked is what all that have a load balancer ask of it, and whose nodes are to be behind it.
type asked struct {
	plan.Reading

	selectors []string
	// unjudged is set if what is not read here decides about the backends.
	unjudged bool
	// refused are the ports that the Service in question does not get, overruled the settings.
	refused, overruled []string
}

// asks returns what the Service asks for, or all together that share the load balancer.
func (in Input) asks(service *v1.Service, sharers []*v1.Service, lb vultr.LoadBalancer, entry ledger.Entry) asked {
	a := asked{Reading: in.read(service)}
	if len(sharers) < 2 {
		sharers = []*v1.Service{service}
	}
	members := make([]plan.Member, 0, len(sharers))
	for _, sharer := range sharers {
		reading := in.read(sharer)
		members = append(members, plan.Member{Service: sharer, Reading: reading})
		a.selectors = append(a.selectors, reading.Desired.NodeSelector)
		// Where the pods are that policy Local goes by is not read here.
		a.unjudged = a.unjudged || reading.Desired.KeepNodes || sharer.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
	}
	members = append(members, in.disowned(entry, service)...)
	if len(members) == 1 {
		return a
	}
	merged := plan.Merge(members, lb)
	a.Desired, a.Err = merged.Desired, nil
	a.Desired.Label = entry.Group
	if own := slices.IndexFunc(sharers, func(sharer *v1.Service) bool { return sharer.UID == service.UID }); own >= 0 {
		a.refused, a.overruled = merged.Refused[own], merged.Overruled[own]
	}
	return a
}

// tell says what a Service asks for and does not get of the load balancer that it shares.
func (a asked) tell(b *Balancer) {
	if len(a.refused) > 0 {
		b.Faults = append(b.Faults, "these ports are not served by the load balancer that it shares: "+strings.Join(a.refused, ", "))
	}
	if len(a.overruled) > 0 {
		b.Warnings = append(b.Warnings, "the load balancer has these settings once for all that share it: "+strings.Join(a.overruled, ", "))
	}
}

func namesBesides(sharers []*v1.Service, own *v1.Service) []string {
	var names []string
	for _, service := range sharers {
		if service.UID != own.UID {
			names = append(names, service.Namespace+"/"+service.Name)
		}
	}
	return names
}
