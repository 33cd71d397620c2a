package balancers

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
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
		if other.UID == host || entry.Guests.Has(other.UID) {
			sharers = append(sharers, other)
		}
	}
	slices.SortFunc(sharers, plan.ByAge)
	return entry, sharers
}

// together returns the reading of a Service with what all that share the load balancer ask for.
func together(sharers []*v1.Service, lb vultr.LoadBalancer, entry ledger.Entry, defaults settings.Defaults, own plan.Reading) plan.Reading {
	members := make([]plan.Member, 0, len(sharers))
	for _, service := range sharers {
		members = append(members, plan.Member{Service: service, Reading: plan.Read(service, plan.WithDefaults(defaults))})
	}
	own.Desired, own.Err = plan.Merge(members, lb).Desired, nil
	own.Desired.Label = entry.Group
	return own
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
