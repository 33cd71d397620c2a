package servicelb

import (
	"context"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// orphanage is what is remembered of load balancers that belong to nobody, from one look to the next.
type orphanage struct {
	told map[string]bool
	// since is when those without a record were seen first, and missed when those that were left as they are were missed first.
	since, missed map[string]time.Time
}

// findUnrecorded returns the load balancers that were made for Services of this cluster, by their labels and backends, of which
// neither the Service nor a record exists: those that another controller left, and those that are kept without their Services.
// What was deleted a moment ago is in lists for a while, and is none of them.
//
// A controller for one class leaves this to the one beside it, which has the records of all others.
func (c *Controller) findUnrecorded(ctx context.Context, known orphanage, there map[types.UID]bool, entries map[types.UID]ledger.Entry, list []vultr.LoadBalancer) ([]lost.Orphan, error) {
	if c.ClassOnly {
		return nil, nil
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Nodes: %w", err)
	}
	now, before := time.Now(), maps.Clone(known.since)
	clear(known.since)
	var found []lost.Orphan
	for _, lb := range lost.Unrecorded(there, entries, instancesOf(nodes), list) {
		if c.gone.has(lb.ID, now) {
			continue
		}
		first, seen := before[lb.ID]
		if !seen {
			first = now
		}
		known.since[lb.ID] = first
		if now.Sub(first) < visibleAfter {
			continue
		}
		found = append(found, lost.Orphan{Entry: ledger.Entry{ID: lb.ID}})
		if !known.told[lb.ID] {
			known.told[lb.ID] = true
			klog.FromContext(ctx).Info("A load balancer has the label of a Service that does not exist, and serves nodes of this cluster; it is paid for until somebody deletes it",
				"loadBalancer", lb.ID, "label", lb.Label)
		}
	}
	return found, nil
}
