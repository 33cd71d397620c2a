package servicelb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// A request that makes a load balancer may be delivered twice, and reads may be late to show the second one. While the
// Service exists its sync finds it. If the Service is released before, nobody would: its entry stays in the ledger, with the
// time of the request and nothing else, and whoever looks for orphans looks for it. No Service waits for that.

// afterRelease returns what stays written down of a Service that is released, the zero Entry if nothing can show any more.
func afterRelease(entry ledger.Entry, now time.Time) ledger.Entry {
	last := latestOf(entry.Late, entry.Made, entry.Tried)
	if last.IsZero() || now.Sub(last) >= visibleAfter {
		return ledger.Entry{}
	}
	return ledger.Entry{Service: entry.Service, Late: last}
}

func latestOf(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// searches are the released Services for which there is something to look for, by the key whose worker does it: nobody else
// may write their entries.
type searches struct {
	mu   sync.Mutex
	open map[key]map[types.UID]bool
}

func (s *searches) add(name key, uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[key]map[types.UID]bool{}
	}
	if s.open[name] == nil {
		s.open[name] = map[types.UID]bool{}
	}
	s.open[name][uid] = true
}

func (s *searches) take(name key) map[types.UID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.open[name]
	delete(s.open, name)
	return open
}

// expect has the released Services looked at for which a list shows something, or proves that nothing is to come.
func (c *Controller) expect(entries map[types.UID]ledger.Entry, list vultr.List[vultr.LoadBalancer]) {
	now := time.Now()
	for uid, entry := range entries {
		name, ok := serviceOf(entry)
		if !ok || !entry.Released() {
			continue
		}
		proven := !list.Began.Before(entry.Late.Add(visibleAfter)) || entry.Late.After(now.Add(ledger.MaxAhead)) // a wrong clock's
		shown := slices.ContainsFunc(labelled(list.Items, lost.Label(uid), nil), func(lb vultr.LoadBalancer) bool { return !c.gone.has(lb.ID, now) })
		if proven || shown {
			c.searches.add(name, uid)
			c.queue.Add(name) // by its own name, even if it shares another one's load balancer by now
		}
	}
}

// serviceOf returns the name of the Service that an entry is about.
func serviceOf(entry ledger.Entry) (key, bool) {
	namespace, name, ok := strings.Cut(entry.Service, "/")
	return cache.NewObjectName(namespace, name), ok && namespace != "" && name != ""
}

// search looks for what shows late of released Services of this name. That it fails holds up no other work: the next look for
// orphans asks for it again.
func (c *Controller) search(ctx context.Context, name key) {
	for uid := range c.searches.take(name) {
		if err := c.searchFor(ctx, name, uid); err != nil {
			klog.FromContext(ctx).Error(err, "Looking for a load balancer that was made twice failed; it is repeated when orphans are looked for", "uid", uid)
		}
	}
}

func (c *Controller) searchFor(ctx context.Context, name key, uid types.UID) error {
	entry, err := c.ledger.Get(uid)
	switch {
	case err != nil || entry == (ledger.Entry{}) || entry.ID != "":
		return err
	case !entry.Released():
		return c.forgetAttempt(ctx, name, uid, entry)
	}
	service, err := c.ifThere(ctx, name, uid)
	switch {
	case err != nil:
		return err
	case service != nil && service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && !c.isGuest(uid):
		return nil // whoever serves it, here or for its class, finds by the label what is its own
	}
	proven := entry.Late.Add(visibleAfter)
	list, err := c.API.LoadBalancers(ctx, max(listAge, time.Since(proven)))
	if err != nil {
		return fmt.Errorf("listing load balancers: %w", err)
	}
	found := slices.DeleteFunc(labelled(list.Items, lost.Label(uid), c.heldBesides(uid)), func(lb vultr.LoadBalancer) bool { return c.gone.has(lb.ID, time.Now()) })
	for _, lb := range found {
		if err := c.deleteLate(ctx, service, uid, entry, lb); err != nil {
			return err
		}
	}
	if len(found) > 0 || list.Began.Before(proven) {
		return nil
	}
	return c.ledger.Put(ctx, uid, ledger.Entry{})
}

// ifThere reads a Service from the API server; nil without an error if there is none with this UID.
func (c *Controller) ifThere(ctx context.Context, name key, uid types.UID) (*v1.Service, error) {
	service, err := c.Client.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && service.UID != uid:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the Service: %w", err)
	}
	return service, nil
}

// deleteLate deletes a load balancer that the last request for a released Service has made. That it did is proven by the label,
// which no other Service can have, and by the time; and it must not serve another cluster, as after a restore. What is
// not proven is an orphan, and told.
func (c *Controller) deleteLate(ctx context.Context, service *v1.Service, uid types.UID, entry ledger.Entry, lb vultr.LoadBalancer) error {
	if lb.Created.Sub(entry.Late).Abs() > twinWindow {
		return nil
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing Nodes: %w", err)
	}
	if foreign, err := c.foreignBackends(ctx, nodes, lb); foreign || err != nil {
		return err
	}
	err = c.API.DeleteLoadBalancer(ctx, lb.ID)
	switch {
	case vultr.IsNotFound(err):
		return nil // it was deleted before, and reads are late to show that; or else it is shown again next time
	case vultr.IsConflict(err):
		return nil // it is still being made, and shown again next time
	case err != nil:
		return fmt.Errorf("deleting load balancer %s, which was made twice: %w", lb.ID, err)
	}
	c.gone.add([]string{lb.ID}, time.Now())
	duplicates.Inc()
	var about runtime.Object = c.recordOf(uid)
	if service != nil {
		about = service
	}
	c.Recorder.Eventf(about, v1.EventTypeWarning, reason.DuplicateLoadBalancerDeleted,
		"Load balancer %s was made by a request for Service %s that was delivered twice, or outlived the Service; it was shown when the Service did not need one any more, and was deleted",
		lb.ID, entry.Service)
	return nil
}

// recordOf returns the ConfigMap that has the entry of a Service, for Events when the Service does not exist any more.
func (c *Controller) recordOf(uid types.UID) *v1.ObjectReference {
	return &v1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: ledger.Namespace, Name: c.ledger.Name(uid)}
}

// settledEntries returns the entries whose load balancers are orphans if their Services do not need them. Those of Services that were
// released a short time ago are not among them: what they left is still being deleted, or looked for.
func settledEntries(entries map[types.UID]ledger.Entry, period time.Duration, now time.Time) map[types.UID]ledger.Entry {
	settled := map[types.UID]ledger.Entry{}
	for uid, entry := range entries {
		if !entry.Released() || now.Sub(entry.Late) >= 2*visibleAfter+period {
			settled[uid] = entry
		}
	}
	return settled
}

// withoutReleased takes Services that exist and need no load balancer any more out of a set of those that exist.
func (c *Controller) withoutReleased(there map[types.UID]bool, entries map[types.UID]ledger.Entry) error {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	for _, service := range all {
		needed := service.Spec.Type == v1.ServiceTypeLoadBalancer && service.DeletionTimestamp == nil
		if entries[service.UID].Released() && !needed {
			delete(there, service.UID)
		}
	}
	return nil
}
