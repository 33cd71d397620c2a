package vultr

import (
	"context"
	"time"

	"github.com/vultr/govultr/v3"
)

const loadBalancersPath = "/v2/load-balancers"

// LoadBalancer reads one load balancer. Only its IsNotFound proves that it does not exist.
func (c *Client) LoadBalancer(ctx context.Context, id string) (LoadBalancer, error) {
	if err := checkID(opGetLoadBalancer, id); err != nil {
		return LoadBalancer{}, err
	}
	var answer loadBalancerAnswer
	if err := c.do(ctx, opGetLoadBalancer, id, loadBalancersPath+"/"+id, nil, &answer); err != nil {
		return LoadBalancer{}, err
	}
	return answer.loadBalancer(opGetLoadBalancer, id)
}

// LoadBalancers lists all load balancers of the account. The list is shared: its items must not be changed. With maxAge
// 0 it began after the call, else it can be up to maxAge old.
func (c *Client) LoadBalancers(ctx context.Context, maxAge time.Duration) (List[LoadBalancer], error) {
	list, err := c.loadBalancers.within(ctx, maxAge)
	return list, ended(opListLoadBalancers, err)
}

// CreateLoadBalancer asks for a load balancer, which becomes active, and gets its address, a while later. The request
// is sent once, and again only after the API refused it for its rate. With IsOutcomeUnknown it may exist: look for its
// label, and mind SettleGuard.
func (c *Client) CreateLoadBalancer(ctx context.Context, region string, s LoadBalancerSettings) (LoadBalancer, error) {
	label := ""
	if s.Label != nil {
		label = *s.Label
	}
	body := requestOf(s)
	body.Region = region
	var answer loadBalancerAnswer
	if err := c.do(ctx, opCreateLoadBalancer, label, loadBalancersPath, body, &answer); err != nil {
		return LoadBalancer{}, err
	}
	return answer.loadBalancer(opCreateLoadBalancer, label)
}

// UpdateLoadBalancer changes what s names and nothing else.
func (c *Client) UpdateLoadBalancer(ctx context.Context, id string, s LoadBalancerSettings) error {
	if err := checkID(opUpdateLoadBalancer, id); err != nil {
		return err
	}
	return c.do(ctx, opUpdateLoadBalancer, id, loadBalancersPath+"/"+id, requestOf(s), nil)
}

// DeleteLoadBalancer deletes a load balancer. IsNotFound means that it was gone before, IsNotReady that the platform
// does not allow it yet.
func (c *Client) DeleteLoadBalancer(ctx context.Context, id string) error {
	if err := checkID(opDeleteLoadBalancer, id); err != nil {
		return err
	}
	return c.do(ctx, opDeleteLoadBalancer, id, loadBalancersPath+"/"+id, nil, nil)
}

// DeleteCertificate takes the certificate off a load balancer.
func (c *Client) DeleteCertificate(ctx context.Context, loadBalancerID string) error {
	if err := checkID(opDeleteCertificate, loadBalancerID); err != nil {
		return err
	}
	return c.do(ctx, opDeleteCertificate, loadBalancerID, loadBalancersPath+"/"+loadBalancerID+"/ssl", nil, nil)
}

type loadBalancerAnswer struct {
	LoadBalancer *loadBalancer `json:"load_balancer"`
}

func (a loadBalancerAnswer) loadBalancer(op operation, resource string) (LoadBalancer, error) {
	if a.LoadBalancer == nil || a.LoadBalancer.ID == "" {
		return LoadBalancer{}, missing(op, resource)
	}
	return a.LoadBalancer.domain(), nil
}

type loadBalancersAnswer struct {
	LoadBalancers []loadBalancer `json:"load_balancers"`
	Meta          *govultr.Meta  `json:"meta"`
}

func (a *loadBalancersAnswer) page() page[loadBalancer] {
	return page[loadBalancer]{a.LoadBalancers, a.Meta}
}

func (c *Client) listLoadBalancers(ctx context.Context) ([]LoadBalancer, error) {
	wire, err := listAll[loadBalancersAnswer](ctx, c, opListLoadBalancers, loadBalancersPath,
		func(l loadBalancer) string { return l.ID })
	if err != nil {
		return nil, err
	}
	balancers := make([]LoadBalancer, len(wire))
	for i, l := range wire {
		balancers[i] = l.domain()
	}
	return balancers, nil
}
