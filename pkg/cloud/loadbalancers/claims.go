package loadbalancers

import (
	"cmp"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// TakenError is returned when a load balancer belongs to another Service. Two Services that write to one load
// balancer would undo each other's work for ever.
type TakenError struct {
	// ID is the load balancer.
	ID string
	// Holder is the Service that has it, as namespace/name.
	Holder string
}

// Error says who has it and what to do.
func (e *TakenError) Error() string {
	return fmt.Sprintf("load balancer %s is used by Service %s; several Services on one load balancer are not supported, so remove or change %s, %s and %s here",
		e.ID, e.Holder, settings.ID, settings.Owned, settings.Label)
}

// taken returns a TakenError when another Service has the better claim on the load balancer.
func (b *Balancers) taken(service *v1.Service, lb vultr.LoadBalancer) error {
	others, err := b.others(service)
	if err != nil {
		return err
	}
	for _, other := range others {
		if better(other, service, lb) {
			return &TakenError{ID: lb.ID, Holder: klog.KObj(other).String()}
		}
	}
	return nil
}

// The claims that a Service can have on a load balancer, weakest first.
const (
	noClaim     = iota
	namedClaim  // it names the label or the ID
	ownersClaim // the label holds its UID
)

func claim(service *v1.Service, lb vultr.LoadBalancer) int {
	switch {
	case lb.Label == cloudprovider.DefaultLoadBalancerName(service):
		return ownersClaim
	case value(service, settings.ID) == lb.ID:
		return namedClaim
	case lb.Label != "" && strings.TrimSpace(value(service, settings.Label)) == lb.Label && value(service, settings.ID) == "":
		return namedClaim
	}
	return noClaim
}

// better tells whether a has a better claim than b: a stronger one, else an older one.
func better(a, b *v1.Service, lb vultr.LoadBalancer) bool {
	strength := claim(a, lb)
	if strength == noClaim {
		return false
	}
	return cmp.Or(cmp.Compare(claim(b, lb), strength), older(a, b)) < 0
}

// labelTaken returns an error when an older Service has the same label: the load balancer with that label, which may
// not have got it yet, is that one's.
func (b *Balancers) labelTaken(service *v1.Service, label string) error {
	if label == "" {
		return nil
	}
	others, err := b.others(service)
	if err != nil {
		return err
	}
	for _, other := range others {
		if strings.TrimSpace(value(other, settings.Label)) == label && older(other, service) < 0 {
			return fmt.Errorf("annotation %s: Service %s has the label %q too; several Services on one load balancer are not supported, so each needs a label of its own",
				settings.Label, klog.KObj(other), label)
		}
	}
	return nil
}

func older(a, b *v1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}
