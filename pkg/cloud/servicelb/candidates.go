package servicelb

import (
	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
)

// Selected returns the Nodes that are to get traffic out of those that a Service chooses by its selector, or that all choose
// together who share a load balancer, the oldest first. apart are the places of the selectors that would leave none. It is also for
// those who show what this controller does: a Node that was ready only now and then waits longer than is seen here.
func Selected(nodes []*v1.Node, selectors []string) (chosen []*v1.Node, apart []int) {
	if len(selectors) == 1 {
		return candidates(plan.Select(nodes, selectors[0])), nil
	}
	if chosen, apart = plan.SelectForAll(candidates(nodes), selectors); len(apart) < len(selectors) {
		return chosen, apart
	}
	// Nobody has chosen those that are ready. As for one Service alone, those that are chosen stay though none of them is ready.
	chosen, apart = plan.SelectForAll(eligible(nodes), selectors)
	return candidates(chosen), apart
}
