package servicelb

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A load balancer that is left as it is leads to node ports of a Service that goes. They are free then, so whoever asks for them first would
// prove by them that it was made for his Service. It stays written down for whom it was kept, under its own ID in the place of a UID: no
// other Service gets it without the administrator's word. One with a label that is a proof needs no record, the label does the same.

// leaveBehind writes down that a Service leaves a load balancer as it is.
func (c *Controller) leaveBehind(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	if proof.MatchString(s.memory.believed(lb, s.readAt, overlay).Label) {
		return nil
	}
	uid := types.UID(lb.ID)
	if _, err := c.ledger.Get(uid); err != nil {
		return err
	}
	return c.ledger.Put(ctx, uid, ledger.Entry{Service: nameOf(s.service).String(), ID: lb.ID, Adopted: true, Left: s.service.UID})
}

// takeBack removes that record when a Service has the load balancer again.
func (c *Controller) takeBack(ctx context.Context, id string) error {
	uid := types.UID(id)
	entry, err := c.ledger.Get(uid)
	if err != nil || entry.Left == "" {
		return err
	}
	return c.ledger.Put(ctx, uid, ledger.Entry{})
}

// leftByOthers returns the load balancers that other Services have left than this one and those that share with it.
func (c *Controller) leftByOthers(s *scene) map[string]bool {
	left := map[string]bool{}
	for _, entry := range c.ledger.All() {
		if entry.Left != "" && entry.Left != s.service.UID && !s.includes(entry.Left) {
			left[entry.ID] = true
		}
	}
	return left
}

// forgetLeft removes the records of load balancers that were left and do not exist any more: they have been in no list for as long as
// it takes to believe that, they can't be read, and the account is this cluster's.
func (c *Controller) forgetLeft(ctx context.Context, known orphanage, entries map[types.UID]ledger.Entry, list vultr.List[vultr.LoadBalancer]) error {
	for _, entry := range entries {
		if entry.Left == "" {
			continue
		}
		if byID(list.Items, entry.ID) != nil {
			delete(known.missed, entry.ID)
			continue
		}
		first, missed := known.missed[entry.ID]
		if !missed {
			known.missed[entry.ID] = time.Now()
		}
		if !missed || time.Since(first) < blankAfter {
			continue
		}
		there, err := c.byDirectLook(ctx, entry.ID)
		if err != nil {
			return err
		}
		delete(known.missed, entry.ID)
		if there != nil {
			continue
		}
		if err := c.account.Check(ctx, list.Began); err != nil {
			return fmt.Errorf("whether load balancer %s, which was left as it is, still exists is not known: %w", entry.ID, err)
		}
		if err := c.takeBack(ctx, entry.ID); err != nil {
			return err
		}
	}
	return nil
}
