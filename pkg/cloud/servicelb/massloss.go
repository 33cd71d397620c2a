package servicelb

import (
	"errors"
	"fmt"

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

// manyLost returns how many load balancers of Services that exist are not in a list, and 0 if these are few.
func (c *Controller) manyLost(list []vultr.LoadBalancer) (int, error) {
	there, err := c.existing()
	if err != nil {
		return 0, err
	}
	recorded, missing := 0, 0
	for uid, entry := range c.ledger.All() {
		if !there[uid] || entry.ID == "" || !entry.Shown || !entry.Deleted.IsZero() {
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
