package servicelb

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

const (
	// housePeriod is how often is looked after what this process and its ledger remember. It costs no call of the platform.
	housePeriod = 5 * time.Minute
	// orphanPeriod is how often orphans are looked for, by one list, when nobody wants to know of drift.
	orphanPeriod = time.Hour
)

// keepHouse restores what somebody changed in the ledger, and forgets Services that are no more.
func (c *Controller) keepHouse(ctx context.Context) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := c.ledger.Mend(ctx); err != nil {
			klog.FromContext(ctx).Error(err, "The record of load balancers was changed by somebody and could not be mended")
		}
		c.wake(c.hosts.learn(c.ledger.All)) // they may not have been looked at by their own names
		if there, err := c.existing(); err == nil {
			c.memories.keep(there)
		}
	}, wait.Jitter(housePeriod, 0.05))
}

// watchDrift adds every load balancer once a period, so that what was changed or deleted on the platform is mended. All
// of them share one list. It finds orphans on the way, and those alone if drift is not to be looked for.
func (c *Controller) watchDrift(ctx context.Context) {
	known := orphanage{told: map[string]bool{}, since: map[string]time.Time{}, missed: map[string]time.Time{}}
	period := c.DriftPeriod
	if period <= 0 {
		period = orphanPeriod
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := c.findOrphans(ctx, known, period); err != nil {
			klog.FromContext(ctx).Error(err, "Looking for orphaned load balancers failed")
		}
		// Whatever looks at a load balancer gives it the Nodes of the moment: in the middle of a wave that would be one more
		// write to each, and the end of the wave looks at all of them anyway.
		if c.DriftPeriod > 0 && !c.waves.pending() {
			c.enqueueAll()
		}
	}, wait.Jitter(period, 0.05))
}

// existing returns the Services that there are.
func (c *Controller) existing() (map[types.UID]bool, error) {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	there := make(map[types.UID]bool, len(all))
	for _, service := range all {
		there[service.UID] = true
	}
	return there, nil
}

// findOrphans counts the load balancers that the ledger gives to Services which do not exist: a finalizer was taken off by
// hand, and they are paid for. They are told, not deleted, and so is what was made for such Services without a record.
func (c *Controller) findOrphans(ctx context.Context, known orphanage, period time.Duration) error {
	there, err := c.existing()
	if err != nil {
		return err
	}
	list, err := c.API.LoadBalancers(ctx, period/2)
	if err != nil {
		return fmt.Errorf("listing load balancers: %w", err)
	}
	if missing, err := c.manyLost(list.Items); err == nil && missing > 0 {
		klog.FromContext(ctx).Info("Most load balancers that were made for this cluster are not shown; none is made in their place", "missing", missing)
	}
	entries := c.ledger.All()
	c.expect(entries, list)
	c.expectAttempts(entries, there, list)
	if err := c.forgetLeft(ctx, known, entries, list); err != nil {
		klog.FromContext(ctx).Error(err, "The record of a load balancer that was left as it is stays")
	}
	unrecorded, err := c.findUnrecorded(ctx, known, there, entries, list.Items)
	if err != nil {
		return err
	}
	if err := c.withoutReleased(there, entries); err != nil {
		return err
	}
	missing := lost.Find(there, settledEntries(entries, period, time.Now()), list.Items)
	watchOrphans(slices.Concat(missing, unrecorded))
	for _, entry := range missing {
		if known.told[entry.ID] {
			continue
		}
		known.told[entry.ID] = true
		message := fmt.Sprintf("Load balancer %s was made for Service %s, which does not exist any more, or needs none; it is paid for until somebody deletes it", entry.ID, entry.Service)
		klog.FromContext(ctx).Info(message, "loadBalancer", entry.ID)
		c.Recorder.Event(c.recordOf(entry.UID), v1.EventTypeWarning, reason.LoadBalancerOrphaned, message)
	}
	return nil
}
