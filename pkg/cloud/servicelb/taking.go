package servicelb

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

// A load balancer is written down for one Service. Services that share nothing are synced side by side, and two of them may both be
// allowed to take the same one over: what is judged for one of them holds only as long as the other one can't get it.

// taking are the load balancers that syncs are about to write down for Services that do not have them yet, each with the Service. Its
// zero value is empty.
type taking struct {
	mu  sync.Mutex
	all map[string]types.UID
}

// begin keeps a load balancer for a Service, and reports whether no other one is about to get it.
func (t *taking) begin(id string, uid types.UID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if by, taken := t.all[id]; taken {
		return by == uid
	}
	if t.all == nil {
		t.all = map[string]types.UID{}
	}
	t.all[id] = uid
	return true
}

// end gives back what is kept for a Service.
func (t *taking) end(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.all, func(_ string, by types.UID) bool { return by == uid })
}

// take keeps a load balancer for the Service until its sync ends. It returns an error if another one has come to have it, or is about
// to, since it was judged to whom it may belong.
func (c *Controller) take(s *scene, id string) error {
	if id == s.recorded {
		return nil
	}
	free := c.taking.begin(id, s.service.UID)
	for uid, entry := range c.ledger.All() {
		_, vacated := s.vacated[uid]
		free = free && (entry.ID != id || uid == s.service.UID || vacated || entry.Left != "")
	}
	if !free {
		s.memory.refused = "" // it is judged again
		return waitFor(conflictPause, "load balancer %s is being given to another Service, or was a moment ago", id)
	}
	return nil
}

// yield gives a load balancer up that is written down for another Service, too, with which this one does not share it: two controllers
// that worked at the same time may each have given it to one. Both would bring it to what they ask for, in turn, for ever. It stays
// with the one for which it was made, else with the older one.
func (c *Controller) yield(ctx context.Context, s *scene) error {
	if s.entry.ID == "" || !s.held[s.entry.ID] {
		return nil
	}
	n, err := c.census()
	if err != nil {
		return err
	}
	for uid, other := range n.entries {
		owner := n.services[uid]
		if uid == s.service.UID || owner == nil || other.ID != s.entry.ID || s.entry.Guests.Has(uid) || other.Guests.Has(s.service.UID) {
			continue // it is handed over from one of those that share it to another one, or nobody else needs it
		}
		if c.comesFirst(owner, other, s.service, s.entry) {
			return c.giveUp(ctx, n, s)
		}
	}
	return nil
}

// comesFirst reports which of two Services that share nothing keeps the one load balancer that is written down for both.
func (c *Controller) comesFirst(a *v1.Service, ofA ledger.Entry, b *v1.Service, ofB ledger.Entry) bool {
	rank := func(service *v1.Service, entry ledger.Entry) int {
		switch {
		case !entry.Adopted:
			return 0
		case c.wanted(service):
			return 1
		}
		return 2 // it goes, and leaves it as it is
	}
	return cmp.Or(rank(a, ofA)-rank(b, ofB), plan.ByAge(a, b)) < 0
}

// giveUp takes from a Service what is written down of its load balancer, which is another one's, and from those that have it through
// this one.
func (c *Controller) giveUp(ctx context.Context, n *census, s *scene) error {
	id, guests := s.entry.ID, s.entry.Guests.List()
	for _, guest := range guests {
		if err := c.dismiss(ctx, n, guest, id); err != nil {
			return err
		}
	}
	if err := c.publish(ctx, s.service, s.memory, &v1.LoadBalancerStatus{}); err != nil {
		return err
	}
	if err := c.write(ctx, s, afterRelease(s.entry, time.Now())); err != nil {
		return err
	}
	c.wake(guests)
	c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.LoadBalancerNotAdopted,
		"Load balancer %s was written down for this Service and for another one, with which it shares none; it stays with the other one", id)
	return waitFor(conflictPause, "load balancer %s is another Service's", id)
}
