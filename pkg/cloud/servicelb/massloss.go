package servicelb

import (
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// When it is more likely that reads of load balancers show something else than what there is (a replica that was restored
// from an old copy, an outage) than that so many were deleted: each would get a successor with another address.
const (
	// fewestLost is how many have to be missing, whatever their share.
	fewestLost = 3
	// lostShare is the share that may be missing.
	lostShare = 0.5
	// allLost is how many have to be missing if the list shows none of them.
	allLost = 2
	// blankAfter is how long they have to be missing until one that is not wanted any more is released all the same:
	// nothing is made in its place.
	blankAfter = time.Hour
)

var errManyLost = errors.New("most load balancers that were made for this cluster are in no list, so it is not believed that they were deleted and " +
	"none is made in their place until they are shown again. If they were: set the type of each such Service to ClusterIP and back, which makes a new one")

// plausible returns an error if so many load balancers of Services that exist are missing that this is no proof of a loss.
// Time alone does not make it one.
func (c *Controller) plausible(s *scene) error {
	missing, err := c.manyLost(s.listed)
	switch {
	case err != nil:
		return fmt.Errorf("whether the load balancer was deleted is not known: %w", err)
	case missing > 0:
		return errManyLost
	}
	return nil
}

// unseen returns nil when a load balancer that is not wanted any more, and that this process never saw, is believed to be
// deleted. It takes longer while so many are missing that this is no proof.
func (c *Controller) unseen(s *scene) error {
	id, absent := s.entry.ID, time.Since(s.memory.absentSince)
	if left := visibleAfter - absent; left > 0 {
		return waitFor(left, "load balancer %s is not found; it is looked for once more", id)
	}
	err := c.plausible(s)
	if err == nil {
		return nil
	}
	if left := blankAfter - absent; left > 0 {
		return waitFor(min(left, lookAgain), "load balancer %s is not found, which proves little: %v", id, err)
	}
	c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.LoadBalancerNotFound,
		"Load balancer %s, which was made for this Service, is in no list of the account and is taken for deleted; if it is shown again, it is paid for until somebody deletes it", id)
	return nil
}

// manyLost returns how many load balancers of Services that want one are not in a list, and 0 if these are few. One
// that its Service gave up, or that is being deleted, is missed by nobody.
func (c *Controller) manyLost(list []vultr.LoadBalancer) (int, error) {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return 0, fmt.Errorf("listing Services: %w", err)
	}
	entries := c.ledger.All()
	recorded, missing := 0, 0
	for _, service := range all {
		entry := entries[service.UID]
		if !c.wanted(service) || !plan.Managed(service) || entry.ID == "" || !entry.Shown || !entry.Deleted.IsZero() {
			continue
		}
		recorded++
		if byID(list, entry.ID) == nil {
			missing++
		}
	}
	if missing >= allLost && missing == recorded || missing >= fewestLost && float64(missing) > lostShare*float64(recorded) {
		notShown.Set(float64(missing))
		return missing, nil
	}
	notShown.Set(0)
	return 0, nil
}
