package servicelb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The waits of a deletion.
const (
	deleteLook = 2 * time.Second // until the next look whether it is gone, which reads show late
	deleteBusy = 5 * time.Second // until it is asked for again
)

// release gives up a Service that is deleted or is no longer of type LoadBalancer: what was made for it is deleted,
// and the finalizer goes when the platform says that nothing is left. What was not made for it is kept.
func (c *Controller) release(ctx context.Context, service *v1.Service) error {
	if err := c.depart(ctx, service); err != nil {
		return err
	}
	s, err := c.observe(ctx, service, c.read(ctx, service))
	if err != nil {
		return err
	}
	if why := c.keeps(s); why != "" {
		if s.finding.wait > 0 {
			return waitFor(s.finding.wait, "%s", s.finding.why) // whatever there is has to be told
		}
		s.givesUp, s.left = true, s.finding.current
		c.kept(s, cmp.Or(s.entry.ID, c.sharedID(service.UID)), why)
		return c.finish(ctx, s)
	}
	if err := c.protect(s); err != nil {
		return err
	}
	list, err := c.deleteOurs(ctx, s)
	if err != nil {
		return err
	}
	adopted := s.entry.ID
	if s.entry.Adopted {
		s.entry.ID = ""
	}
	if wait, why := s.unprovenAbsence(list, c.doubtful(service)); wait > 0 {
		return waitFor(wait, "%s", why)
	}
	switch {
	case s.entry.Adopted:
		s.left = s.finding.current
		c.kept(s, adopted, "because it was not made for this Service")
	case adopted == "" && !s.memory.deleting:
		c.tellLeft(ctx, s, list.Items)
	}
	return c.finish(ctx, s)
}

// sharedID returns the load balancer that a Service has as a guest, "" if it is none.
func (c *Controller) sharedID(uid types.UID) string {
	host, _ := c.hosts.of(uid)
	return c.ledger.All()[host.uid].ID
}

// tellLeft tells of a load balancer that the Service names, by its ID or a label of its own, and that it would have had: another
// controller has made it, and nothing here proves that it goes with the Service. Nobody else may ever hear of it.
func (c *Controller) tellLeft(ctx context.Context, s *scene, list []vultr.LoadBalancer) {
	lb, err := s.hint().choose(list, nil)
	if err != nil || lb == nil {
		return // there is none, or several, which nobody could tell apart
	}
	claims, err := c.claims(ctx, s, lb.ID)
	c.words.forget(nameOf(s.service)) // nothing depends on what the administrator says any more
	if err == nil {
		err = claims.mayAdopt(*lb)
	}
	if err != nil {
		return
	}
	if s.left = lb; s.memory.news(aboutHint, lb.ID) {
		c.kept(s, lb.ID, "because it was not made for this Service by this controller, and is paid for until somebody deletes it")
	}
}

// protect holds up the Service while its load balancer must not be deleted. One that was not made for it is not deleted anyway.
func (c *Controller) protect(s *scene) error {
	message := ""
	if there := s.entry.ID != "" || s.finding.current != nil; there && s.reading.Protected && !s.entry.Adopted {
		message = fmt.Sprintf("Load balancer %s is not deleted, and the Service keeps its finalizer, as long as %s protects it. "+
			"Set that to false to have it deleted, or set %s to true to keep it without the Service", s.there(), settings.DeletionProtection, settings.Retain)
	}
	if s.memory.news(aboutProtection, message) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.DeletionProtected, message)
	}
	if message != "" {
		return waitFor(lookAgain, "load balancer %s is protected", s.there())
	}
	return nil
}

// there returns the ID of the load balancer that the Service has.
func (s *scene) there() string {
	if s.entry.ID == "" && s.finding.current != nil {
		return s.finding.current.ID
	}
	return s.entry.ID
}

// keeps says why the load balancer is left as it is when its Service goes, "" if it is not.
func (c *Controller) keeps(s *scene) string {
	switch {
	case plan.Disowned(s.service) && c.isGuest(s.service.UID):
		return fmt.Sprintf("because %s says so: it keeps the ports of this Service, as long as that exists and others have the load balancer", settings.Disown)
	case plan.Disowned(s.service):
		return fmt.Sprintf("because %s says that it belongs to no Service any more, and is paid for until somebody deletes it", settings.Disown)
	case !plan.Managed(s.service):
		return fmt.Sprintf("because %s is false", settings.Create)
	case s.reading.Retain:
		return fmt.Sprintf("because %s says so, and is paid for until somebody deletes it. Another Service gets it, with its address, by the annotation %s, "+
			"if the annotation %s of its Namespace names it too", settings.Retain, settings.ID, settings.AllowAdoption)
	}
	return ""
}

// deleteOurs deletes what was made for the Service and returns the list in which it was looked for. An error, also one that
// means to wait, says that something may be left.
func (c *Controller) deleteOurs(ctx context.Context, s *scene) (list vultr.List[vultr.LoadBalancer], err error) {
	if !s.entry.Adopted && s.entry.ID != "" && s.finding.current == nil {
		if err := c.concludeAbsence(ctx, s); err != nil {
			return list, err
		}
	}
	if list, err = c.list(ctx, s.memory.lastWrite()); err != nil {
		return list, err
	}
	ours := c.ours(s, list.Items)
	for _, lb := range ours {
		if err := c.servesThisCluster(ctx, s, lb); err != nil {
			return list, err
		}
	}
	for _, lb := range ours {
		if err := c.delete(ctx, s, lb); err != nil {
			return list, err
		}
	}
	if s.entry.ID == "" && len(ours) == 0 && !s.memory.finalized {
		// That nothing is there is the word of this account alone.
		return list, c.witness(ctx, s)
	}
	return list, nil
}

// ours returns the load balancers that were made for the Service.
func (c *Controller) ours(s *scene, list []vultr.LoadBalancer) []vultr.LoadBalancer {
	others := c.heldBesides(s.service.UID)
	if s.entry.Adopted {
		others[s.entry.ID] = true // its label proves nothing then
	}
	ours := labelled(list, label(s.service), others)
	if whole := s.finding.current; whole != nil {
		ours = slices.DeleteFunc(ours, func(lb vultr.LoadBalancer) bool { return isPart(lb, *whole) })
	}
	if current := s.finding.current; current != nil && !s.entry.Adopted && byID(ours, current.ID) == nil {
		ours = append(ours, *current)
	}
	return ours
}

// concludeAbsence returns nil when the load balancer that the ledger names is proven not to exist.
func (c *Controller) concludeAbsence(ctx context.Context, s *scene) error {
	if !s.entry.Deleted.IsZero() {
		return nil // its deletion was accepted, and now it is not found
	}
	if s.finding.wait > 0 {
		return waitFor(s.finding.wait, "%s", s.finding.why)
	}
	if !s.memory.trusted[s.entry.ID] {
		// Nothing that this process saw says that it is this cluster's, so it is not deleted unseen.
		if err := c.unseen(s); err != nil {
			return err
		}
		return c.witness(ctx, s)
	}
	// Reads that show nothing may be wrong, for one load balancer as for all; the request itself is what has to be answered.
	if err := c.requestDeletion(ctx, s, s.entry.ID); !vultr.IsNotFound(err) {
		if err == nil {
			return waitFor(deleteLook, "load balancer %s is being deleted", s.entry.ID)
		}
		return err
	}
	if s.memory.knownID == s.entry.ID && c.API.KeySince().Before(s.memory.knownSince) {
		return nil // this very key has shown it, so the answer is its account's
	}
	return c.witness(ctx, s)
}

// requestDeletion asks for the deletion, and writes down that it was accepted. That it is not found is an error like others.
func (c *Controller) requestDeletion(ctx context.Context, s *scene, id string) error {
	err := c.API.DeleteLoadBalancer(ctx, id)
	switch {
	case vultr.IsConflict(err):
		return waitFor(s.memory.busy(deleteBusy), "load balancer %s is busy: %v", id, err)
	case err != nil:
		return fmt.Errorf("deleting load balancer %s: %w", id, err)
	}
	s.memory.dropped[id] = true
	if id != s.entry.ID || !s.entry.Deleted.IsZero() {
		return nil
	}
	entry := s.entry
	entry.Deleted = ledger.Second(time.Now())
	return c.write(ctx, s, entry)
}

// unprovenAbsence returns how long it takes until a list can prove that no attempt left a load balancer behind.
func (s *scene) unprovenAbsence(list vultr.List[vultr.LoadBalancer], doubtful time.Time) (time.Duration, string) {
	if s.entry.ID != "" {
		doubtful = time.Time{} // the ledger knows the one that there is
	}
	e := evidence{entry: ledger.Entry{Tried: s.entry.Tried}, list: list, doubtful: doubtful, now: time.Now()}
	return e.unproven()
}

// delete asks for the deletion and returns nil when the load balancer does not exist any more. That a request for what was
// just shown is answered "not found" is no proof, unless one was accepted before: it may have met a bad moment. Then later
// reads have to agree.
func (c *Controller) delete(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	if !s.memory.deleting {
		s.memory.deleting = true
		c.Recorder.Event(s.service, v1.EventTypeNormal, reason.DeletingLoadBalancer, "Deleting load balancer")
	}
	err := c.requestDeletion(ctx, s, lb.ID)
	if err != nil && !vultr.IsNotFound(err) {
		return err
	}
	if accepted := s.memory.dropped[lb.ID] || lb.ID == s.entry.ID && !s.entry.Deleted.IsZero(); !accepted {
		return waitFor(s.memory.busy(deleteBusy), "load balancer %s was shown just before and is not found; it is looked for once more", lb.ID)
	}
	left, err := c.byDirectLook(ctx, lb.ID)
	if err != nil {
		return err
	}
	if left != nil {
		return waitFor(s.memory.busy(deleteLook), "load balancer %s is being deleted", lb.ID)
	}
	c.gone.add([]string{lb.ID}, time.Now())
	return nil
}

// finish clears what was written about the load balancer, the finalizer last. What reads may be late to show is looked for
// without the Service.
func (c *Controller) finish(ctx context.Context, s *scene) error {
	service := s.service
	rest := afterRelease(s.entry, time.Now())
	if s.givesUp {
		rest = ledger.Entry{}
	}
	if rest == s.entry {
		// Nothing is written that could meet what another controller, which worked at the same time for a moment, has written.
		if err := c.ledger.Confirm(ctx, service.UID); err != nil {
			return err
		}
	}
	if s.left != nil {
		if err := c.leaveBehind(ctx, s, *s.left); err != nil {
			return err
		}
	}
	// What is disowned goes on to serve by the address in the Service's status.
	if serves := s.givesUp && plan.Disowned(service); service.DeletionTimestamp == nil && !serves {
		if vanished, err := c.clear(ctx, s); err != nil {
			return err
		} else if vanished {
			return c.ledger.Put(ctx, service.UID, rest)
		}
	}
	deleted := s.memory.deleting
	if err := c.ledger.Put(ctx, service.UID, rest); err != nil {
		return err
	}
	if err := c.removeFinalizer(ctx, service); err != nil {
		return err
	}
	if deleted {
		c.Recorder.Event(service, v1.EventTypeNormal, reason.DeletedLoadBalancer, "Deleted load balancer")
	}
	c.memories.drop(service.UID)
	c.doubts.remove(nameOf(service))
	return nil
}

// clear takes status and note from a Service that stays. It reports whether the Service has vanished meanwhile.
func (c *Controller) clear(ctx context.Context, s *scene) (vanished bool, err error) {
	service := s.service
	// What was written into the Service a moment ago may not be in the copy of it that this sync began with.
	fresh, err := c.Client.CoreV1().Services(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && fresh.UID != service.UID:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading the Service: %w", err)
	}
	if err := c.publish(ctx, fresh, s.memory, &v1.LoadBalancerStatus{}); err != nil {
		return false, err
	}
	notes := map[settings.Key]string{}
	if id := text(fresh, settings.ID); !s.entry.Adopted && (id == s.entry.Noted || id == s.entry.ID) {
		notes[settings.ID] = "" // it would send a later load balancer after this one
	}
	if err := c.annotate(ctx, fresh, notes); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return false, err
	}
	service.ResourceVersion, service.Finalizers = fresh.ResourceVersion, fresh.Finalizers
	return false, nil
}

// kept tells of a load balancer that is left as it is.
func (c *Controller) kept(s *scene, id, why string) {
	if id == "" && s.finding.current != nil {
		id = s.finding.current.ID
	}
	if id != "" {
		c.Recorder.Eventf(s.service, v1.EventTypeNormal, reason.LoadBalancerKept, "Load balancer %s is left as it is, %s", id, why)
	}
}
