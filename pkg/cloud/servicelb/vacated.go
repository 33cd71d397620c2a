package servicelb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
)

// vacated returns the entries that give a load balancer to other Services, if all of those are proven gone: the
// administrator's word then counts more than what was written down for them. It returns nil if one may exist.
func (c *Controller) vacated(ctx context.Context, s *scene, id string) (map[types.UID]ledger.Entry, error) {
	entries := map[types.UID]ledger.Entry{}
	for uid, entry := range c.ledger.All() {
		if uid == s.service.UID || entry.ID != id {
			continue
		}
		if c.hasGuests(entry) {
			return nil, nil
		}
		if gone, err := c.vanished(ctx, s, uid, entry); !gone || err != nil {
			return nil, err
		}
		entries[uid] = entry
	}
	return entries, nil
}

// hasGuests reports whether a Service that exists is written down as a guest: it takes the place of a host that has vanished. One that has
// given the load balancer up does not.
func (c *Controller) hasGuests(entry ledger.Entry) bool {
	if entry.Guests == "" {
		return false
	}
	there, err := c.existingByUID()
	return err != nil || slices.ContainsFunc(entry.Guests.List(), func(uid types.UID) bool { return there[uid] != nil && !c.disowns(there[uid]) })
}

// vanished reports whether the Service of an entry is proven not to exist any more, with nothing left under way for it here.
// The order matters: a sync that begins after the informer has lost the Service has nothing to do, so no work for it can
// begin after the look at what is under way.
func (c *Controller) vanished(ctx context.Context, s *scene, uid types.UID, entry ledger.Entry) (bool, error) {
	namespace, service, ok := strings.Cut(entry.Service, "/")
	if !ok || namespace == "" || service == "" {
		return false, nil // it can't be asked for
	}
	name := cache.NewObjectName(namespace, service)
	if !entry.Deleted.IsZero() && time.Since(entry.Deleted) < visibleAfter {
		return false, nil // it is on its way out
	}
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return false, fmt.Errorf("listing Services: %w", err)
	}
	if slices.ContainsFunc(all, func(other *v1.Service) bool { return other.UID == uid }) {
		return false, nil
	}
	if c.atWork.besides(nameOf(s.service), name) {
		return false, nil
	}
	fresh, err := c.Client.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading the Service that had the load balancer: %w", err)
	}
	return fresh.UID != uid, nil
}

// vacate removes the entries of the Services that are gone, right before the load balancer gets its new one. A process that
// dies in between has lost nothing: the Service still names the load balancer, and the administrator still allows it.
func (c *Controller) vacate(ctx context.Context, s *scene) error {
	for uid, seen := range s.vacated {
		entry, err := c.ledger.Get(uid)
		if err != nil {
			return err
		}
		if entry != seen {
			return waitFor(conflictPause, "what is written down of load balancer %s has changed", seen.ID)
		}
		if err := c.ledger.Put(ctx, uid, ledger.Entry{}); err != nil {
			return err
		}
	}
	s.vacated = nil
	return nil
}
