package servicelb

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// outcome is what a sync came to beside its error.
type outcome struct {
	// next is when it wants to be repeated without any cause from outside, 0 for never; beside an error, when those want it that the
	// error is not about.
	next time.Duration
	// about says it of each Service that it was about; nil if it was the one by whose name it was called, which the error is about.
	about []verdict
}

// verdict is what a sync came to for one Service.
type verdict struct {
	service *v1.Service
	err     error
}

// told is the outcome of a sync that left all to another one, which says what came of it.
func told() outcome { return outcome{about: []verdict{}} }

// sync brings the load balancer of a Service one step nearer to what it should be.
func (c *Controller) sync(ctx context.Context, name key) (outcome, error) {
	c.search(ctx, name)
	service, err := c.services.Services(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		// Nothing to do: its load balancer went before the finalizer did.
		c.refs.want(name)
		c.words.forget(name)
		c.doubts.remove(name)
		c.wakeGuestsOf(name)
		return outcome{}, nil
	}
	if err != nil {
		return outcome{}, fmt.Errorf("reading the Service: %w", err)
	}
	service = service.DeepCopy()
	switch {
	case !c.wanted(service):
		return outcome{}, c.unwanted(ctx, service)
	case !plan.Managed(service):
		c.refs.want(name)
		c.words.forget(name)
		c.doubts.remove(name)
		return outcome{}, c.depart(ctx, service)
	}
	if err := c.regroup(ctx, service); err != nil {
		return outcome{}, err
	}
	t, err := c.teamOf(ctx, service)
	if err != nil {
		return outcome{}, c.failing(service, reason.SyncLoadBalancerFailed, "Error syncing load balancer", err)
	}
	if t.host.UID != service.UID && !c.isGuest(service.UID) && c.full(t.host) {
		c.refs.want(name)
		return outcome{next: lookAgain}, c.failing(service, reason.SyncLoadBalancerFailed, "Error syncing load balancer",
			fmt.Errorf("annotation %s: %d Services share the load balancer with the label %q already, which is as many as may; choose another label",
				settings.Label, mostMembers, shareLabel(service)))
	}
	if t.host.UID != service.UID {
		c.queue.AddAfter(nameOf(t.host), sharePause)
		came := told()
		if !c.isGuest(service.UID) {
			came.next = lookAgain // the other one may not take it, and nothing tells
		}
		return came, nil
	}
	for _, guest := range t.guests {
		if !c.atWork.keeps(name, nameOf(guest)) { // it has come to share it since this sync began, and another one may be busy with it
			return outcome{}, waitFor(claimPause, "Service %s is to share the load balancer, and may be dealt with just now", nameOf(guest))
		}
	}
	return c.ensure(ctx, service, t)
}

// unwanted lets a Service go that is to have no load balancer here.
func (c *Controller) unwanted(ctx context.Context, service *v1.Service) error {
	c.refs.want(nameOf(service))
	c.words.forget(nameOf(service))
	if !servicehelper.HasLBFinalizer(service) {
		if err := c.depart(ctx, service); err != nil {
			return err // somebody took the finalizer off, and others may have the load balancer through this Service
		}
		c.memories.drop(service.UID)
		return nil
	}
	if others, err := c.ofOtherClass(service); others || err != nil {
		return err
	}
	return c.failing(service, reason.DeleteLoadBalancerFailed, "Error deleting load balancer", c.release(ctx, service))
}

// ofOtherClass reports whether a Service belongs to the controller of its class, which may use the same finalizer: nothing
// was made for it here. Once it is deleted it is looked at all the same, as the library does, but for a controller that serves
// its class only: beside it there is one for all others.
func (c *Controller) ofOtherClass(service *v1.Service) (bool, error) {
	left := c.ClassOnly && service.Spec.LoadBalancerClass == nil // also one that has lost its class with its type
	foreign := service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && !plan.OfClass(service, c.ClassOnly)
	if !left && !foreign {
		return false, nil
	}
	entry, err := c.ledger.Get(service.UID)
	return (entry == ledger.Entry{} || entry.Released()) && !c.isGuest(service.UID) && !c.memories.of(service.UID).finalized, err
}

// failing makes a Warning Event of a failure, once for each new text. Waiting is none.
func (c *Controller) failing(service *v1.Service, reason, what string, err error) error {
	if isWait(err) {
		return err // what failed before may fail again
	}
	message := failureText(err)
	if c.memories.of(service.UID).news(aboutFailure, message) {
		c.Recorder.Eventf(service, v1.EventTypeWarning, reason, "%s: %s", what, message)
	}
	return err
}

// greet tells the owner of a Service that work on its load balancer begins, and what has no effect.
func (c *Controller) greet(service *v1.Service, m *memory, reading plan.Reading) {
	if message := strings.Join(reading.Warnings, "; "); m.news(aboutSettings, message) {
		c.Recorder.Event(service, v1.EventTypeWarning, reason.LoadBalancerSettings, message)
	}
	if m.asked != request(service, reading) && !m.ensuring {
		m.ensuring = true
		c.Recorder.Event(service, v1.EventTypeNormal, reason.EnsuringLoadBalancer, "Ensuring load balancer")
	}
}

// ensure makes or changes the load balancer of a team until it is as asked for.
func (c *Controller) ensure(ctx context.Context, service *v1.Service, t team) (outcome, error) {
	defer c.taking.end(service.UID)
	s, err := c.prepare(ctx, service, t)
	if err != nil {
		return outcome{}, c.failing(service, reason.SyncLoadBalancerFailed, "Error syncing load balancer", err)
	}
	whole := both(c.bring(ctx, s), c.flush(ctx, s))
	faults := c.failingGuests(s, whole)
	came := outcome{next: s.next, about: s.verdicts(whole)}
	_ = c.failing(service, reason.SyncLoadBalancerFailed, "Error syncing load balancer", both(toldTo(service, whole), s.faults))
	if err := both(whole, s.faults); err != nil {
		if whole != nil {
			came.next = 0 // it is repeated with growing pauses
		}
		return came, err
	}
	return came, faults // what is wrong with guests apart from everything else
}

// prepare reads what a sync of a team needs to know.
func (c *Controller) prepare(ctx context.Context, service *v1.Service, t team) (*scene, error) {
	reading := c.read(ctx, service)
	c.greet(service, c.memories.of(service.UID), reading)
	// The finalizer comes before anything that would be left behind without it.
	unfinalized := c.addFinalizer(ctx, service)
	if unfinalized != nil && !c.goesOnWithout(service, t, unfinalized) {
		return nil, unfinalized
	}
	s, err := c.observe(ctx, service, reading)
	if err != nil {
		return nil, err
	}
	s.stuck, s.faults = unfinalized, unfinalized
	c.gather(ctx, s, t)
	return s, nil
}

// goesOnWithout reports whether a Service that the API server refuses its finalizer, as a policy of its Namespace may have it, is dealt with
// all the same: if it has a load balancer already, that follows the nodes and those that share it. Else another one makes theirs.
func (c *Controller) goesOnWithout(service *v1.Service, t team, refused error) bool {
	if !refusedForGood(refused) {
		return false
	}
	if entry, err := c.ledger.Get(service.UID); err == nil && entry.ID != "" {
		return true
	}
	c.memories.of(service.UID).unfitUntil = time.Now().Add(heldFor)
	for _, guest := range t.guests {
		c.queue.AddAfter(nameOf(guest), sharePause)
	}
	return false
}

// bring makes or changes the load balancer of a scene.
func (c *Controller) bring(ctx context.Context, s *scene) error {
	c.refs.want(nameOf(s.service), referencesOf(s.service, s.reading)...)
	if current := s.finding.current; current != nil {
		if err := c.servesThisCluster(ctx, s, *current); err != nil {
			return err
		}
	}
	if err := c.settle(ctx, s); err != nil {
		return both(err, s.reading.Err)
	}
	s.lift()
	if s.finding.current == nil {
		c.merge(s, nil)
		forgetNodesOf(s)
		if err := c.letGo(ctx, s); err != nil {
			return err
		}
		return c.createForAll(ctx, s)
	}
	if err := c.servesThisCluster(ctx, s, *s.finding.current); err != nil {
		return both(err, s.reading.Err) // it was just taken over, by the word of what may be a backup
	}
	lb := s.memory.believed(*s.finding.current, s.readAt, overlay)
	c.merge(s, &lb)
	if err := c.admit(ctx, s, lb); err != nil {
		return err
	}
	if left := visibleAfter + listAge - time.Since(s.memory.knownSince); left > 0 {
		s.comeBack(left) // by then a second one, which a request that was delivered twice has made, is shown
	}
	tidyErr := c.tidy(ctx, s) // what is superfluous must not hold up what serves
	err := c.update(ctx, s)
	if s.denied != nil {
		err = c.sift(ctx, s, err)
	}
	marked := c.serveGuests(ctx, s)
	return both(err, both(tidyErr, marked))
}

// settle finds out which load balancer is the Service's, and writes it down.
func (c *Controller) settle(ctx context.Context, s *scene) error {
	f := &s.finding
	if err := c.yield(ctx, s); err != nil {
		return err
	}
	if f.wait > 0 && s.entry.ID != "" {
		return waitFor(f.wait, "%s", f.why)
	}
	if changed, err := c.changeOver(ctx, s); changed || err != nil {
		return err
	}
	switch {
	case f.current != nil && s.entry.Adopted && s.entry.ID == f.current.ID:
		return c.adopt(ctx, s, *f.current)
	case f.current != nil:
		s.entry.Tried = time.Time{} // this is it
		return c.know(ctx, s, *f.current, false)
	case f.wait > 0:
		return waitFor(f.wait, "%s", f.why)
	}
	return nil
}

// changeOver gives the Service the load balancer that it names, if it may have that in the place of its present one.
func (c *Controller) changeOver(ctx context.Context, s *scene) (changed bool, err error) {
	f := &s.finding
	lb, err := c.wished(ctx, s)
	switch {
	case err != nil && f.current == nil:
		return false, err
	case err != nil:
		// What serves goes on serving; the wish for another one is refused.
		if s.memory.news(aboutHint, err.Error()) {
			c.Recorder.Event(s.service, v1.EventTypeWarning, reason.LoadBalancerNotAdopted, err.Error())
		}
		return false, nil
	case lb == nil:
		return false, nil
	}
	if err := c.take(s, lb.ID); err != nil {
		return false, err
	}
	if err := c.leave(ctx, s); err != nil {
		return false, err
	}
	f.current, f.twins, f.strays, f.wait = lb, nil, nil, 0
	if lb.Label == label(s.service) {
		return true, c.know(ctx, s, *lb, false) // back to the one that was made for it
	}
	return true, c.adopt(ctx, s, *lb)
}

// leave gives the load balancer that was made for the Service, and that it has another name for, the label that proves
// whose it is: the ledger will name another one, and this one goes with the Service. One that was not made for it stays as it is.
func (c *Controller) leave(ctx context.Context, s *scene) error {
	own, proof := s.finding.current, label(s.service)
	switch {
	case own == nil || own.ID != s.entry.ID:
		return nil
	case s.entry.Adopted:
		return c.leaveBehind(ctx, s, *own)
	case own.Label == proof:
		return nil
	}
	err := c.API.UpdateLoadBalancer(ctx, own.ID, vultr.LoadBalancerSettings{Label: &proof})
	switch {
	case err == nil, vultr.IsNothingToChange(err):
		s.entry.Tried = ledger.Second(time.Now().Add(time.Second)) // from now on it is found by its label
		return nil
	case vultr.IsNotFound(err): // without the name nobody would know whose it was, should it exist after all
		return waitFor(confirmAfter, "load balancer %s was shown just before and is not found; it is looked for once more", own.ID)
	case vultr.IsConflict(err):
		return waitFor(s.memory.busy(busyWait), "load balancer %s is busy: %v", own.ID, err)
	}
	return fmt.Errorf("naming load balancer %s, which served the Service until now: %w", own.ID, err)
}

// adopt writes down that the Service has a load balancer that was not made for it, unless the administrator has given it
// to the Service for good.
func (c *Controller) adopt(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	given, err := c.handedOver(ctx, s.service, lb.ID)
	if err != nil {
		return err
	}
	fate := "it will be kept when the Service goes"
	if given {
		fate = "it will be deleted with the Service"
	}
	news := s.entry.ID != lb.ID || s.entry.Adopted == given
	s.entry.Unseen = s.entry.Unseen || s.entry.ID != lb.ID
	if err := c.know(ctx, s, lb, !given); err != nil {
		return err
	}
	if news {
		c.Recorder.Eventf(s.service, v1.EventTypeNormal, reason.LoadBalancerAdopted,
			"Load balancer %s (%s) is brought to what this Service asks for; %s", lb.ID, lb.Label, fate)
	}
	return nil
}

// know writes down that the load balancer is the Service's and was seen.
func (c *Controller) know(ctx context.Context, s *scene, lb vultr.LoadBalancer, adopted bool) error {
	entry := s.entry
	entry.Service, entry.ID, entry.Adopted, entry.Shown = nameOf(s.service).String(), lb.ID, adopted, true
	entry.Deleted = time.Time{} // or it would not be shown any more
	if m := s.memory; m.knownID != lb.ID {
		m.knownID, m.knownSince = lb.ID, time.Now()
	}
	if s.entry.ID != "" && s.entry.ID != lb.ID {
		entry.Late = latestOf(entry.Late, entry.Made) // what was made twice for it may show yet
		entry.Made, entry.Certificate, entry.Certifier, entry.Firewall, entry.Regions = time.Time{}, "", "", false, false
		s.memory.applied = false
	}
	if wrote := s.entry; !wrote.Shown {
		if wrote.Shown = true; wrote == entry {
			s.later(entry)
			return nil
		}
	}
	return c.write(ctx, s, entry)
}

// later changes the entry by something that may be written down with whatever comes next: another process would find it
// out again.
func (s *scene) later(entry ledger.Entry) { s.entry, s.unwritten = entry, true }

// flush writes down what is left of that. While the load balancer is being made more is to come: its address.
func (c *Controller) flush(ctx context.Context, s *scene) error {
	if lb := s.finding.current; !s.unwritten || lb == nil || !lb.Active() || lb.IPv4 == "" {
		return nil
	}
	s.unwritten = false
	return c.write(ctx, s, s.entry)
}

// write changes the Service's entry in the ledger.
func (c *Controller) write(ctx context.Context, s *scene, entry ledger.Entry) error {
	if s.unwritten && entry == s.entry {
		return nil // flush does
	}
	s.unwritten = false // also after a failure: the next sync finds it out again
	if entry.ID != "" {
		if err := c.take(s, entry.ID); err != nil {
			return err
		}
	}
	if err := c.vacate(ctx, s); err != nil {
		return err
	}
	if err := c.ledger.Put(ctx, s.service.UID, entry); err != nil {
		return err
	}
	s.entry, s.recorded = entry, entry.ID
	c.mirror(s.service.UID, entry)
	if entry.ID == "" {
		return nil
	}
	return c.takeBack(ctx, entry.ID)
}

// tidy deletes load balancers that a request which was delivered twice made beside the Service's, and tells of others
// that bear its label.
func (c *Controller) tidy(ctx context.Context, s *scene) error {
	for _, twin := range s.finding.twins {
		if s.finding.current.ID != s.entry.ID {
			break // only what serves the Service by proof makes another one superfluous
		}
		foreign, err := c.foreignBackends(ctx, heard(s.nodes), twin)
		if err != nil {
			return err
		}
		if foreign { // a cluster that one of the two was restored from made it, for its Service of the same UID
			s.finding.strays = append(s.finding.strays, twin)
			continue
		}
		err = c.API.DeleteLoadBalancer(ctx, twin.ID)
		switch {
		case vultr.IsNotFound(err):
			continue // somebody else deleted it, or the list shows it though it was deleted and counted before
		case vultr.IsConflict(err):
			s.comeBack(lateWait) // still being made
			continue
		case err != nil:
			return fmt.Errorf("deleting load balancer %s, which was made twice: %w", twin.ID, err)
		}
		if s.memory.dropped[twin.ID] {
			continue // the first request was accepted, and counted
		}
		s.memory.dropped[twin.ID] = true
		duplicates.Inc()
		c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.DuplicateLoadBalancerDeleted,
			"Load balancer %s was made by the same request as %s, which serves the Service, and was deleted", twin.ID, s.entry.ID)
	}
	ids := make([]string, 0, len(s.finding.strays))
	for _, stray := range s.finding.strays {
		ids = append(ids, stray.ID)
	}
	if message := strings.Join(ids, ", "); s.memory.news(aboutStrays, message) {
		c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.DuplicateLoadBalancer,
			"Load balancers with the label of this Service exist beside %s, which serves it: %s. They are deleted with the Service; delete what is not needed",
			s.entry.ID, message)
	}
	return nil
}

// request is everything by which a Service can ask for something, as text.
func request(service *v1.Service, reading plan.Reading) string {
	text, err := json.Marshal([]any{service.Spec, asked(service), reading.Inputs})
	if err != nil {
		return err.Error() // there is no such Service: it came as JSON
	}
	return string(text)
}
