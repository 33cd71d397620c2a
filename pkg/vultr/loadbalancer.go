package vultr

import (
	"context"
	"hash/maphash"
	"net/http"
	"slices"
	"time"
)

const loadBalancersPath = "/v2/load-balancers"

var (
	opDeleteCertificate = operation{name: "delete_load_balancer_ssl", words: "delete the certificate of load balancer", method: http.MethodDelete}
	opDeleteAutoSSL     = operation{name: "delete_load_balancer_auto_ssl", words: "end the automatic certificate of load balancer", method: http.MethodDelete}
)

var loadBalancers = resource[loadBalancer, LoadBalancer]{
	path: loadBalancersPath, one: []string{"load_balancer"}, many: "load_balancers",
	ops: operationsOn("load_balancer", "load_balancers", "load balancer", "load balancers"),
	id:  func(l LoadBalancer) string { return l.ID }, domain: loadBalancer.domain,
	firstPage: 100, compact: sharedBackends,
}

// sharedBackends gives load balancers of one list with the same backends one slice of them. In front of thousands of nodes they are
// nearly all that there is of a list, and most Services have all nodes.
func sharedBackends() func(LoadBalancer) LoadBalancer {
	seed, sets, ids := maphash.MakeSeed(), map[uint64][]string{}, map[string]string{}
	return func(lb LoadBalancer) LoadBalancer {
		if len(lb.Instances) == 0 {
			return lb
		}
		var hash maphash.Hash
		hash.SetSeed(seed)
		for _, id := range lb.Instances {
			_, _ = hash.WriteString(id) // which takes everything
		}
		key := hash.Sum64()
		if known, there := sets[key]; there && slices.Equal(known, lb.Instances) {
			lb.Instances = known
			return lb
		}
		own := make([]string, len(lb.Instances))
		for i, id := range lb.Instances {
			if _, there := ids[id]; !there {
				ids[id] = id
			}
			own[i] = ids[id]
		}
		lb.Instances, sets[key] = own, own
		return lb
	}
}

// LoadBalancer reads one load balancer. Only its IsNotFound proves that it does not exist.
func (c *Client) LoadBalancer(ctx context.Context, id string) (LoadBalancer, error) {
	return loadBalancers.read(ctx, c, id)
}

// LoadBalancers lists all load balancers of the account. The list is shared: its items must not be changed. With maxAge
// 0 it began after the call, else it can be up to maxAge old.
func (c *Client) LoadBalancers(ctx context.Context, maxAge time.Duration) (List[LoadBalancer], error) {
	return sharedList(ctx, c.loadBalancers, loadBalancers.ops.list, maxAge)
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
	return loadBalancers.make(ctx, c, label, body)
}

// UpdateLoadBalancer changes what s names and nothing else.
func (c *Client) UpdateLoadBalancer(ctx context.Context, id string, s LoadBalancerSettings) error {
	return loadBalancers.change(ctx, c, loadBalancers.ops.update, id, "", requestOf(s))
}

// DeleteLoadBalancer deletes a load balancer. IsNotFound means that it was gone before, IsNotReady that the platform
// does not allow it yet.
func (c *Client) DeleteLoadBalancer(ctx context.Context, id string) error {
	return loadBalancers.remove(ctx, c, id)
}

// DeleteLoadBalancerIf is DeleteLoadBalancer while the preconditions hold.
func (c *Client) DeleteLoadBalancerIf(ctx context.Context, id string, preconditions ...Precondition) error {
	return loadBalancers.remove(ctx, c, id, preconditions...)
}

// DeleteCertificate takes the certificate off a load balancer.
func (c *Client) DeleteCertificate(ctx context.Context, loadBalancerID string) error {
	return loadBalancers.change(ctx, c, opDeleteCertificate, loadBalancerID, "/ssl", nil)
}

// DeleteAutoSSL ends the automatic certificate of a load balancer.
func (c *Client) DeleteAutoSSL(ctx context.Context, loadBalancerID string) error {
	return loadBalancers.change(ctx, c, opDeleteAutoSSL, loadBalancerID, "/auto_ssl", nil)
}
