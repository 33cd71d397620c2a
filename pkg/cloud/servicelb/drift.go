package servicelb

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// watchDrift adds every load balancer once a period, so that what was changed or deleted on the platform is mended. All
// of them share one list. It finds orphans on the way.
func (c *Controller) watchDrift(ctx context.Context) {
	if c.DriftPeriod <= 0 {
		return
	}
	told := map[string]bool{}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := c.ledger.Mend(ctx); err != nil {
			klog.FromContext(ctx).Error(err, "The record of load balancers was changed by somebody and could not be mended")
		}
		if err := c.findOrphans(ctx, told); err != nil {
			klog.FromContext(ctx).Error(err, "Looking for orphaned load balancers failed")
		}
		c.enqueueAll()
	}, wait.Jitter(c.DriftPeriod, 0.05))
}

// findOrphans counts the load balancers that the ledger gives to Services which do not exist: a finalizer was taken off by
// hand, and they are paid for. They are told, not deleted.
func (c *Controller) findOrphans(ctx context.Context, told map[string]bool) error {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	there := make(map[types.UID]bool, len(all))
	for _, service := range all {
		there[service.UID] = true
	}
	c.memories.keep(there)
	list, err := c.API.LoadBalancers(ctx, c.DriftPeriod/2)
	if err != nil {
		return fmt.Errorf("listing load balancers: %w", err)
	}
	lost := c.lost(there, list.Items)
	orphans.Set(float64(len(lost)))
	for _, entry := range lost {
		if told[entry.ID] {
			continue
		}
		told[entry.ID] = true
		message := fmt.Sprintf("Load balancer %s was made for Service %s, which does not exist any more; it is paid for until somebody deletes it", entry.ID, entry.Service)
		klog.FromContext(ctx).Info(message, "loadBalancer", entry.ID)
		c.Recorder.Event(&v1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: ledger.Namespace, Name: ledger.Name(entry.uid)},
			v1.EventTypeWarning, "LoadBalancerOrphaned", message)
	}
	return nil
}

// orphan is the entry of a Service that does not exist.
type orphan struct {
	ledger.Entry
	uid types.UID
}

// lost returns what was made for Services that do not exist and is still there: what the ledger names, else, where the
// answer to an attempt was lost, what has the Service's label.
func (c *Controller) lost(there map[types.UID]bool, all []vultr.LoadBalancer) []orphan {
	var lost []orphan
	for uid, entry := range c.ledger.All() {
		if there[uid] || entry.Adopted {
			continue
		}
		if byID(all, entry.ID) != nil {
			lost = append(lost, orphan{entry, uid})
			continue
		}
		name := label(&v1.Service{ObjectMeta: metav1.ObjectMeta{UID: uid}})
		for _, lb := range labelled(all, name, nil) {
			entry.ID = lb.ID
			lost = append(lost, orphan{entry, uid})
		}
	}
	return lost
}
