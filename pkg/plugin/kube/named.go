package kube

import (
	"context"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
)

// Named reads the objects that Services name for their load balancers, and returns what they say, by the Services' UIDs. What the
// caller may not read is not known then, which is not a fault of the Service: hidden says for each what was refused.
func (c *Cluster) Named(ctx context.Context, services []*v1.Service) (named map[types.UID][]plan.Option, hidden []error, err error) {
	named = map[types.UID][]plan.Option{}
	for _, service := range services {
		if service.Spec.Type != v1.ServiceTypeLoadBalancer || service.Spec.LoadBalancerClass != nil {
			continue
		}
		options, err := servicelb.Named(ctx, c.Client, service)
		what := "what Service " + service.Namespace + "/" + service.Name + " names"
		switch {
		case apierrors.IsForbidden(err):
			hidden = append(hidden, failed(what, err))
		case err != nil:
			return nil, nil, failed(what, err)
		default:
			named[service.UID] = options
		}
	}
	return named, hidden, nil
}
