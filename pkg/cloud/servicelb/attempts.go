package servicelb

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	servicehelper "k8s.io/cloud-provider/service/helpers"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A controller that does not know yet that it is replaced releases a Service at the same time as another one makes a load
// balancer for it. The record of the attempt decides between them: whoever releases the Service compares the record with the API
// server's right before the finalizer goes, and whoever makes a load balancer asks for the Service right after the record is there.
// Where a Service goes in spite of that, what was made for it is given back, and its record does not outlive it for ever.

// abandoned reports whether a Service for which a load balancer was just made can't release it: it does not exist any more, or it
// wants none and has lost the finalizer.
func (c *Controller) abandoned(ctx context.Context, service *v1.Service) bool {
	now, err := c.Client.CoreV1().Services(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	if err != nil {
		return apierrors.IsNotFound(err) // any other failure proves nothing, and the record is what others go by
	}
	return now.UID != service.UID || !c.wanted(now) && !servicehelper.HasLBFinalizer(now)
}

// giveBack deletes a load balancer that was just made for a Service which is gone. What can't be deleted yet, because it is still
// being made, or is not found yet, is found by its label later, as what a request has made twice.
func (c *Controller) giveBack(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	recorded := c.write(ctx, s, afterRelease(s.entry, time.Now()))
	err := c.API.DeleteLoadBalancer(ctx, lb.ID)
	switch {
	case err == nil:
		c.gone.add([]string{lb.ID}, time.Now())
	case !vultr.IsConflict(err) && !vultr.IsNotFound(err):
		return errors.Join(fmt.Errorf("deleting load balancer %s, whose Service went while it was made: %w", lb.ID, err), recorded)
	}
	if recorded != nil {
		return recorded
	}
	klog.FromContext(ctx).Info("The Service went while its load balancer was made, which is deleted", "loadBalancer", lb.ID)
	return waitFor(createPause, "load balancer %s was made for a Service that is gone", lb.ID)
}

// joinsInstead drops the record of an attempt that has come to nothing if the Service is to share another one's load balancer by now.
// With a record it would have to make its own one, and an older Service has the label already.
func (c *Controller) joinsInstead(ctx context.Context, s *scene) error {
	if s.entry.Tried.IsZero() || s.entry.ID != "" || s.entry.Guests != "" || shareLabel(s.service) == "" {
		return nil
	}
	n, err := c.census()
	if err != nil {
		return err
	}
	delete(n.entries, s.service.UID)
	mates, err := c.mates(ctx, n, s.service)
	if err != nil || c.choose(ctx, n, s.service, c.sharersOf(n, s.service, mates)).UID == s.service.UID {
		return err
	}
	if err := c.write(ctx, s, afterRelease(s.entry, time.Now())); err != nil {
		return err
	}
	return waitFor(createPause, "it shares the load balancer of another Service")
}

// expectAttempts has the attempts looked at whose Services do not exist any more, where a list shows that nothing has come of them.
func (c *Controller) expectAttempts(entries map[types.UID]ledger.Entry, there map[types.UID]bool, list vultr.List[vultr.LoadBalancer]) {
	for uid, entry := range entries {
		name, ok := serviceOf(entry)
		if !ok || there[uid] || entry.ID != "" || entry.Released() || c.hasGuests(entry) {
			continue
		}
		from := proves(entry)
		ahead := from.After(time.Now().Add(ledger.MaxAhead + visibleAfter)) // a wrong clock's: it is capped when it is read
		if (ahead || !list.Began.Before(from)) && len(labelled(list.Items, lost.Label(uid), c.heldBesides(uid))) == 0 {
			c.searches.add(name, uid)
			c.queue.Add(name)
		}
	}
}

// proves returns from when on a list has to show what the requests of an entry have made.
func proves(entry ledger.Entry) time.Time {
	return latestOf(entry.Tried, entry.Late).Add(visibleAfter)
}

// forgetAttempt removes the record of an attempt when it is proven that its Service is gone, and that nothing was made. What was
// made is an orphan: it is told, and keeps its record.
func (c *Controller) forgetAttempt(ctx context.Context, name key, uid types.UID, entry ledger.Entry) error {
	service, err := c.Client.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	switch {
	case err == nil && service.UID == uid:
		return nil // its own sync finds out
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("reading the Service: %w", err)
	}
	from := proves(entry)
	list, err := c.API.LoadBalancers(ctx, max(listAge, time.Since(from)))
	if err != nil {
		return fmt.Errorf("listing load balancers: %w", err)
	}
	if list.Began.Before(from) || len(labelled(list.Items, lost.Label(uid), c.heldBesides(uid))) > 0 {
		return nil
	}
	// That nothing is there is the word of this account alone.
	if err := c.witness(ctx, &scene{readAt: list.Began, listed: list.Items, entry: entry}); err != nil {
		return err
	}
	if err := c.ledger.Put(ctx, uid, ledger.Entry{}); err != nil {
		return err
	}
	c.mirror(uid, ledger.Entry{})
	return nil
}
