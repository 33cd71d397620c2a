package servicelb

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// depart lets a Service go that shares a load balancer and does not want to, or must not, any more. It returns nil when nothing
// is shared: what is left is the Service's own. Until then it waits for the host, whose next change takes the Service's ports
// away, and which then wakes it up. A host becomes a guest first, and the oldest guest the host.
func (c *Controller) depart(ctx context.Context, service *v1.Service) error {
	if !c.shares(service.UID) {
		return nil
	}
	n, err := c.census()
	if err != nil {
		return err
	}
	if n.hosts(service.UID) {
		return c.handOver(ctx, n, service)
	}
	uid, guest := c.hostOf(n, service.UID)
	switch {
	case !guest, c.disowns(service): // whose ports stay as they are
		return nil
	case n.services[uid] == nil:
		if err := c.inherit(ctx, n, service, uid); err != nil {
			return err
		}
		return c.handOver(ctx, n, service) // the host has vanished
	}
	c.queue.AddAfter(nameOf(n.services[uid]), sharePause)
	return waitFor(lookAgain, "load balancer %s is to serve the Service no more", n.entries[uid].ID)
}

// shares reports whether a Service is written down as host or guest of others. What another controller has written down since this one
// read the ledger is there before it is among the hosts.
func (c *Controller) shares(uid types.UID) bool {
	entry, err := c.ledger.Get(uid)
	return len(c.hosts.company(uid)) > 1 || err == nil && entry.Guests != ""
}

// regroup hands the load balancer of a Service over that has left its guests by taking another label.
func (c *Controller) regroup(ctx context.Context, service *v1.Service) error {
	if !c.shares(service.UID) {
		return nil
	}
	entry, err := c.ledger.Get(service.UID)
	if err != nil || entry.Guests == "" || entry.Group == shareLabel(service) {
		return err
	}
	renamed, err := c.renamed(service, entry)
	if err != nil {
		return err
	}
	if !renamed {
		return c.depart(ctx, service)
	}
	entry.Group = shareLabel(service)
	if err := c.ledger.Put(ctx, service.UID, entry); err != nil {
		return err
	}
	c.mirror(service.UID, entry)
	return nil
}

// renamed reports whether all that share a load balancer have taken the new label of its host: they go on sharing it.
func (c *Controller) renamed(service *v1.Service, entry ledger.Entry) (bool, error) {
	all, err := c.existingByUID()
	if err != nil {
		return false, err
	}
	label := shareLabel(service)
	return label != "" && !slices.ContainsFunc(entry.Guests.List(), func(uid types.UID) bool {
		guest := all[uid]
		return guest != nil && c.mayShare(guest) && shareLabel(guest) != label
	}), nil
}

// handOver gives the load balancer of a host to the oldest of its guests that goes on. If none does, the host has it for itself.
//
// The new record is written before the old one goes, so that a process that dies in between has forgotten nothing. Whoever finds
// both takes the second step.
func (c *Controller) handOver(ctx context.Context, n *census, service *v1.Service) error {
	entry := n.entries[service.UID]
	if entry.Guests == "" {
		return nil
	}
	for uid, other := range n.entries {
		if uid != service.UID && entry.ID != "" && other.ID == entry.ID && entry.Guests.Has(uid) {
			if err := c.forgetHost(ctx, n, service.UID); err != nil {
				return err
			}
			return c.depart(ctx, service)
		}
	}
	heir, err := c.heir(ctx, n, entry)
	if err != nil {
		return err
	}
	if heir == nil || entry.ID == "" || !entry.Deleted.IsZero() {
		return c.dissolve(ctx, n, service)
	}
	moved := entry
	moved.Guests = entry.Guests.Without(heir.UID).With(service.UID)
	if err := c.passOn(ctx, n, service.UID, heir, moved); err != nil {
		return err
	}
	c.queue.Add(nameOf(heir))
	if c.disowns(service) {
		return waitFor(sharePause, "load balancer %s is another Service's from now on", entry.ID)
	}
	return waitFor(lookAgain, "load balancer %s is to serve the Service no more", entry.ID)
}

// inherit makes a guest the host if the host has vanished without its finalizer's work. It returns nil when this Service is the
// host now.
func (c *Controller) inherit(ctx context.Context, n *census, service *v1.Service, uid types.UID) error {
	entry := n.entries[uid]
	gone, err := c.vanished(ctx, &scene{service: service}, uid, entry)
	if err != nil {
		return err
	}
	if !gone {
		return waitFor(conflictPause, "whether Service %s, which had the load balancer, is gone is not known yet", entry.Service)
	}
	if n.recordedBesides(uid) {
		// A process that died had passed it on already, and this Service may have left since.
		if err := c.forgetHost(ctx, n, uid); err != nil {
			return err
		}
		return waitFor(conflictPause, "load balancer %s was handed over before", entry.ID)
	}
	heir, err := c.heir(ctx, n, entry)
	if err != nil {
		return err
	}
	if heir != nil && heir.UID != service.UID {
		c.queue.Add(nameOf(heir))
		return waitFor(lookAgain, "load balancer %s is being handed over", entry.ID)
	}
	moved := entry
	moved.Guests = entry.Guests.Without(service.UID)
	return c.passOn(ctx, n, uid, service, moved)
}

// settleHandover returns who has the load balancer that is written down under a Service's UID: another one, if a handover was cut off
// between its two records. Each of them would take the other for one that leaves, and the load balancer would follow both in
// turn. Of two that stay the older one has it.
func (c *Controller) settleHandover(ctx context.Context, n *census, service *v1.Service) (*v1.Service, error) {
	entry := n.entries[service.UID]
	for uid, other := range n.entries {
		if uid == service.UID || entry.ID == "" || other.ID != entry.ID || !other.Guests.Has(service.UID) {
			continue
		}
		host, guest := service, uid
		there := n.services[uid]
		if there == nil {
			if gone, err := c.vanished(ctx, &scene{service: service}, uid, other); !gone || err != nil {
				return service, err
			}
		} else if c.mayShare(there) && shareLabel(there) == entry.Group && older(there, service) {
			host, guest = there, service.UID
		}
		return host, c.forgetHost(ctx, n, guest)
	}
	return service, nil
}

// heir returns the oldest guest that goes on sharing, nil if there is none.
func (c *Controller) heir(ctx context.Context, n *census, entry ledger.Entry) (*v1.Service, error) {
	var heir *v1.Service
	for _, uid := range entry.Guests.List() {
		guest := n.services[uid]
		if guest == nil || !c.mayShare(guest) || shareLabel(guest) != entry.Group || n.entries[uid].ID != "" || heir != nil && older(heir, guest) {
			continue
		}
		may, err := c.mayInherit(ctx, guest, entry)
		if err != nil {
			return nil, err
		}
		if may {
			heir = guest
		}
	}
	return heir, nil
}

// mayInherit reports whether a guest still shares the load balancer of this entry, as far as administrators decide it. One that must not
// any more, and was not released yet, would keep it, and all others would lose their address.
func (c *Controller) mayInherit(ctx context.Context, guest *v1.Service, entry ledger.Entry) (bool, error) {
	host, ok := serviceOf(entry)
	if !ok || host.Namespace == guest.Namespace {
		return true, nil
	}
	namespace, err := c.namespace(ctx, host.Namespace)
	switch {
	case apierrors.IsNotFound(err): // it has vanished with all its Services, and nobody takes back what it allowed
	case err != nil:
		return false, err
	case !letsShare(namespace, entry.Group):
		return false, nil
	}
	return c.allowsSharing(ctx, guest, entry.Group)
}

// passOn writes a load balancer down under another UID, and then no more under the first.
func (c *Controller) passOn(ctx context.Context, n *census, from types.UID, heir *v1.Service, moved ledger.Entry) error {
	if err := errors.Join(c.asInCensus(n, heir.UID), c.asInCensus(n, from)); err != nil {
		return err
	}
	moved.Service, moved.Noted, moved.Late = nameOf(heir).String(), "", latestOf(n.entries[heir.UID].Late, n.entries[heir.UID].Tried)
	if named(heir) == moved.ID {
		moved.Noted = moved.ID
	}
	if moved.Guests == "" {
		moved.Group = ""
	}
	if moved.Adopted && time.Since(c.memories.of(from).previewed) < previewPause {
		moved.Unseen = true // what was told the one is not what is changed for the other
	}
	if moved.Certificate != "" {
		moved.Certifier = cmp.Or(moved.Certifier, from)
	}
	if moved.Certifier == heir.UID {
		moved.Certifier = ""
	}
	if err := c.ledger.Put(ctx, heir.UID, moved); err != nil {
		return err
	}
	n.set(heir.UID, moved)
	c.memories.pass(from, heir.UID)
	if err := c.forgetHost(ctx, n, from); err != nil {
		return err
	}
	c.mirror(heir.UID, moved)
	return nil
}

// asInCensus returns an error if another record than the one of the census is there, which another controller wrote.
func (c *Controller) asInCensus(n *census, uid types.UID) error {
	entry, err := c.ledger.Get(uid)
	if err == nil && entry != n.entries[uid] {
		return waitFor(conflictPause, "what is written down of load balancer %s has changed", entry.ID)
	}
	return err
}

// forgetHost leaves of a record that was handed over what reads may be late to show.
func (c *Controller) forgetHost(ctx context.Context, n *census, uid types.UID) error {
	if err := c.asInCensus(n, uid); err != nil {
		return err
	}
	id, rest := n.entries[uid].ID, afterRelease(n.entries[uid], time.Now())
	if err := c.ledger.Put(ctx, uid, rest); err != nil {
		return err
	}
	n.set(uid, rest)
	for at, entry := range n.entries {
		if id != "" && entry.ID == id {
			c.mirror(at, entry) // the guests are another one's
		}
	}
	c.mirror(uid, rest)
	return nil
}

// dissolve ends the sharing where nobody goes on: what is left is the host's own.
func (c *Controller) dissolve(ctx context.Context, n *census, service *v1.Service) error {
	if err := c.asInCensus(n, service.UID); err != nil {
		return err
	}
	entry := n.entries[service.UID]
	guests := entry.Guests.List()
	for _, uid := range guests {
		if guest := n.services[uid]; guest != nil && c.disowns(guest) && c.disowns(service) {
			continue // it stays as it is for both
		}
		if err := c.dismiss(ctx, n, uid, entry.ID); err != nil {
			return err
		}
	}
	entry.Guests, entry.Group = "", ""
	if err := c.ledger.Put(ctx, service.UID, entry); err != nil {
		return err
	}
	c.mirror(service.UID, entry)
	c.wake(guests)
	return nil
}

// dismiss takes address and note of a load balancer from a guest that leaves: it would ask for it by the latter. One that has
// another load balancer by now has its address from there, and is to name that one.
func (c *Controller) dismiss(ctx context.Context, n *census, uid types.UID, id string) error {
	service, own := n.services[uid].DeepCopy(), n.entries[uid].ID // what is written gets another version, the cache does not
	if service == nil {
		return nil
	}
	if own != "" && own != id {
		return c.noteInstead(ctx, service, id, own)
	}
	forgetExpiry(nameOf(service)) // whatever certificate it has from now on is another load balancer's
	rulesOf.Delete(labelsOf(nameOf(service)))
	forgetNodes(nameOf(service))
	c.memories.of(service.UID).finalized = true // the finalizer is of this controller, and nothing was made for the Service
	if service.DeletionTimestamp != nil {
		return nil
	}
	err := c.publish(ctx, service, c.memories.of(service.UID), &v1.LoadBalancerStatus{})
	if err == nil {
		err = c.noteInstead(ctx, service, id, "")
	}
	if refusedForGood(err) {
		klog.FromContext(ctx).Error(err, "What a Service that leaves a load balancer says of it stays there", "guest", nameOf(service))
		return nil // the others are not to wait for it
	}
	return err
}

// refusedForGood reports whether the API server refuses a write for what it is, as a policy of somebody's Namespace may have it.
func refusedForGood(err error) bool {
	status, is := errors.AsType[*apierrors.StatusError](err)
	return is && slices.Contains([]int32{http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity}, status.ErrStatus.Code)
}

// noteInstead writes another ID into a Service that names the load balancer of which it is no guest any more; "" takes the note
// away.
func (c *Controller) noteInstead(ctx context.Context, service *v1.Service, id, another string) error {
	if id == "" || named(service) != id {
		return nil
	}
	if another != "" {
		c.memories.of(service.UID).noted.Store(&another)
	}
	err := c.annotate(ctx, service, map[settings.Key]string{settings.ID: another})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// wake has Services looked at that are no guests any more.
func (c *Controller) wake(uids []types.UID) {
	all, err := c.existingByUID()
	if err != nil {
		return // a lister over an informer has no errors
	}
	for _, uid := range uids {
		if service := all[uid]; service != nil {
			c.queue.AddAfter(c.keyOf(service), sharePause) // by then informers show what was just taken from it
		}
	}
}

func (c *Controller) existingByUID() (map[types.UID]*v1.Service, error) {
	n, err := c.census()
	if err != nil {
		return nil, err
	}
	return n.services, nil
}

// wakeGuestsOf has the guests of a Service looked at that does not exist any more.
func (c *Controller) wakeGuestsOf(name key) {
	for uid, entry := range c.ledger.All() {
		if entry.Guests == "" || entry.Service != name.String() {
			continue
		}
		if there, err := c.services.Services(name.Namespace).Get(name.Name); err == nil && there.UID == uid {
			continue
		}
		c.wake(entry.Guests.List())
	}
}
