package servicelb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// busyWait is when a change is tried again that the platform refused for now.
const busyWait = 5 * time.Second

// update brings a load balancer that exists to what the Service asks for, with one change at most, and reports it.
func (c *Controller) update(ctx context.Context, s *scene) error {
	lb := s.memory.believed(*s.finding.current, s.readAt, overlay)
	watchRulesOf(s, len(lb.Rules))
	watchNodesOf(s, lb.Nodes)
	noted := c.note(ctx, s, lb.ID) // for people: it holds up nothing
	return both(c.adapt(ctx, s, lb), noted)
}

// adapt is update without what only people read.
func (c *Controller) adapt(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	if !lb.Active() {
		return both(c.pending(s, lb), s.reading.Err)
	}
	want := c.adjusted(s, lb)
	c.spread(s, lb.Region, &want)
	if err := c.setBackends(ctx, s, lb, &want); err != nil {
		return err
	}
	if s.reading.Err != nil {
		// The backends have nothing to do with the faults: what serves goes on serving.
		return both(c.serve(ctx, s, lb, plan.DiffBackends(lb, want)), s.reading.Err)
	}
	is := c.seal(ctx, s, lb, want)
	if is.idle {
		return both(c.serve(ctx, s, lb, is.diff), is.waits)
	}
	if is.waits == nil || is.remove {
		if err := c.endAutoSSL(ctx, s, lb, is.want); err != nil {
			return both(err, is.waits)
		}
	}
	if err := c.change(ctx, s, lb, is.want, is.diff); err != nil {
		return both(err, is.waits)
	}
	if err := c.keepCertificate(ctx, s, lb, is); err != nil {
		return both(err, is.waits)
	}
	c.tellBackends(s)
	return c.conclude(ctx, s, lb, is.want, is.waits)
}

// conclude reports what has become of a load balancer, and lets those go whom it does not serve any more. waits says what is not as asked
// for with regard to its certificate.
func (c *Controller) conclude(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired, waits error) error {
	if !s.sifting {
		c.tellMembers(s, lb.ID)
	}
	if err := c.part(ctx, s); err != nil {
		return both(err, waits)
	}
	if waits != nil {
		return both(c.showAddress(ctx, s, lb), waits)
	}
	if s.shared() {
		want.Rules = plan.RulesOf(want.Rules, s.service) // what its own ports are decides how its address is used
	}
	return c.report(ctx, s, overlay(lb, vultr.LoadBalancerSettings{Label: labelOrNil(want.Label)}), want)
}

// serve sends what can be sent to a load balancer whose Service has faults.
func (c *Controller) serve(ctx context.Context, s *scene, lb vultr.LoadBalancer, diff plan.Change) error {
	if err := c.apply(ctx, s, lb, diff); err != nil {
		return err
	}
	return c.showAddress(ctx, s, lb)
}

func labelOrNil(label string) *string {
	if label == "" {
		return nil
	}
	return &label
}

// settleDoubt ends the doubt about a change whose answer was lost when reads show what became of it, and comes back until then.
func (s *scene) settleDoubt() {
	if s.memory.doubtSince.IsZero() {
		return
	}
	left := visibleAfter - time.Since(s.memory.doubtSince)
	if left <= 0 {
		s.memory.doubtSince = time.Time{}
	}
	s.comeBack(left)
}

// change sends what differs and writes down what the Service's firewall rules are now.
func (c *Controller) change(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired, diff plan.Change) error {
	s.settleDoubt()
	asked := ""
	if c.KeepDrift {
		asked = settingsOf(want)
		if !s.memory.applied && s.entry.Asked == asked {
			s.brought() // by a process before this one
		}
	}
	if drifted := c.tellDrift(s, lb, diff); drifted && c.KeepDrift {
		diff = diff.Upkeep(want)
	}
	if err := c.apply(ctx, s, lb, diff); vultr.IsOutcomeUnknown(err) {
		return errors.Join(err, c.mayHaveSent(ctx, s, diff.Settings))
	} else if err != nil {
		return c.followNodes(ctx, s, lb, want, diff, err)
	}
	s.went = true
	s.brought()
	watchChanged(s, want, diff.Settings)
	entry := s.entry
	entry.Asked = asked
	switch {
	case want.FirewallStated:
		entry.Firewall = true
	case !want.KeepFirewall && s.memory.doubtSince.IsZero(): // rules of a change whose answer was lost may show yet
		entry.Firewall = false
	}
	if want.GlobalRegions != nil && len(*want.GlobalRegions) == 0 && s.memory.doubtSince.IsZero() {
		entry.Regions = false
	}
	return c.write(ctx, s, entry)
}

// followNodes sends the backends alone after the platform has refused a change: what a Service asks for must not keep it, or others that
// share the load balancer, from their nodes, nor from an address that works. It returns the refusal. Backends that another network is to
// reach stay.
func (c *Controller) followNodes(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired, diff plan.Change, refused error) error {
	s.deny(refused)
	if !vultr.IsInvalid(refused) {
		return refused
	}
	nodes := plan.DiffBackends(lb, want)
	if diff.Settings.VPC == nil && !nodes.Empty() && len(nodes.Fields) < len(diff.Fields) {
		if err := c.apply(ctx, s, lb, nodes); err != nil {
			return both(err, refused)
		}
	}
	if s.shared() {
		return refused
	}
	return both(c.showAddress(ctx, s, lb), refused)
}

// mayHaveSent writes down what a change whose answer was lost may have put there.
func (c *Controller) mayHaveSent(ctx context.Context, s *scene, settings vultr.LoadBalancerSettings) error {
	return c.write(context.WithoutCancel(ctx), s, s.withSent(s.entry, settings))
}

// withSent returns the entry with what a request may have put there, so that it goes when the Service does not ask for it any
// more. A certificate that nobody knows of is sent again.
func (s *scene) withSent(entry ledger.Entry, settings vultr.LoadBalancerSettings) ledger.Entry {
	if settings.Firewall != nil && len(*settings.Firewall) > 0 {
		entry.Firewall = true
	}
	if entry.Certificate != "" {
		return entry
	}
	if settings.Certificate != nil {
		entry.Certificate, entry.Certifier = "unknown", s.certifiedFor()
	}
	if settings.AutoSSL != nil && entry.Certificate == "" {
		entry.Certificate, entry.Certifier = issuedFor(*settings.AutoSSL), s.certifiedFor()
	}
	return entry
}

// keepCertificate removes a certificate that is not asked for any more, and writes down which one there is now, and whose.
func (c *Controller) keepCertificate(ctx context.Context, s *scene, lb vultr.LoadBalancer, is sealing) error {
	entry, bare := s.entry, s.isBare(lb, is.want)
	switch {
	case is.certificate != nil:
		watchCertificate(s, is.certificate.NotAfter)
		entry.Certificate, entry.Certifier = is.certificate.Fingerprint(lb.ID), s.certifiedFor()
	case is.want.AutoSSL != nil:
		forgetCertificate(s) // the platform renews it, and does not show when it expires
		entry.Certificate, entry.Certifier = issuedFor(*is.want.AutoSSL), s.certifiedFor()
	case bare:
		entry.Certificate, entry.Certifier = "", ""
	}
	if is.remove {
		err := c.API.DeleteCertificate(ctx, lb.ID)
		if vultr.IsConflict(err) {
			return waitFor(s.memory.busy(busyWait), "load balancer %s is busy: %v", lb.ID, err)
		}
		if err != nil && !vultr.IsNotFound(err) {
			return fmt.Errorf("removing the certificate of load balancer %s: %w", lb.ID, err)
		}
		s.memory.busySince = time.Time{}
		entry.Certificate, entry.Certifier = "", ""
		forgetCertificate(s)
	}
	return c.write(ctx, s, entry)
}

// tellDrift makes an Event when a load balancer that was as asked for is not any more, though nobody asked for a change
// here: somebody changed it on the platform. It reports whether that is so.
func (c *Controller) tellDrift(s *scene, lb vultr.LoadBalancer, diff plan.Change) bool {
	fields := slices.DeleteFunc(slices.Clone(diff.Fields), func(field string) bool {
		return field == "instances" || field == "ssl" || field == "vpc" && s.reading.Desired.VPCOfNodes // which follow the nodes
	})
	if len(fields) == 0 || len(s.leaving) > 0 || s.sifting || !s.unchanged() {
		s.memory.news(aboutDrift, "")
		return false
	}
	if c.KeepDrift {
		message := fmt.Sprintf("Load balancer %s was changed on the platform and is left so: %s", lb.ID, c.inWords(s, lb, plan.Change{Settings: diff.Settings, Fields: fields}))
		if s.memory.news(aboutDrift, message) {
			c.Recorder.Event(s.service, v1.EventTypeWarning, reason.LoadBalancerDrifted, message)
		}
		return true
	}
	for _, m := range s.served() {
		countDrift(nameOf(m.service))
	}
	c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.LoadBalancerDrifted,
		"Load balancer %s was changed on the platform (%s) and is brought back to what the Service asks for", lb.ID, strings.Join(fields, ", "))
	return true
}

// adjusted fills in what depends on whose load balancer it is and who made its settings.
func (c *Controller) adjusted(s *scene, lb vultr.LoadBalancer) plan.Desired {
	want := s.reading.Desired
	if !s.entry.Adopted && want.Label == "" {
		want.Label = label(s.service)
	}
	if s.holdsAll() {
		want.Label = "" // it may be the name that is refused, which all ask for
	}
	taken := ""
	if err := c.labelTaken(s); err != nil {
		want.Label, taken = "", err.Error() // it keeps the name that it has
		s.comeBack(lookAgain)
	}
	if s.memory.news(aboutLabel, taken) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.LabelTaken, taken)
	}
	foreign := !want.FirewallStated && !s.entry.Firewall && len(lb.Firewall) > 0
	message := ""
	if foreign {
		want.KeepFirewall = true // nobody asked for this load balancer to be opened
		message = fmt.Sprintf("Load balancer %s has %d firewall rules that do not come from this Service; they are kept. An empty %s removes them",
			lb.ID, len(lb.Firewall), settings.FirewallRules)
	}
	if s.memory.news(aboutFirewall, message) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.FirewallKept, message)
	}
	return want
}

// apply sends a change, if there is any.
func (c *Controller) apply(ctx context.Context, s *scene, lb vultr.LoadBalancer, diff plan.Change) error {
	if err := c.preview(ctx, s, lb, diff); err != nil {
		return err
	}
	if diff.Empty() {
		return nil
	}
	if err := c.noteRegions(ctx, s, diff.Settings); err != nil {
		return err
	}
	// A change that hangs must not keep the worker from other load balancers: it can be repeated, and a look follows.
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if losesTraffic(s.nodes, lb.Instances, diff.Settings.Instances) {
		ctx = vultr.Urgent(ctx)
	}
	err := c.API.UpdateLoadBalancer(ctx, lb.ID, diff.Settings)
	if vultr.IsInvalid(err) && !vultr.IsNothingToChange(err) && !vultr.IsConflict(err) {
		if kept := c.withoutUnknown(ctx, s, diff.Settings.Instances); kept != nil {
			diff.Settings.Instances = kept
			err = c.API.UpdateLoadBalancer(ctx, lb.ID, diff.Settings)
		}
	}
	switch {
	case err == nil, vultr.IsNothingToChange(err):
		c.lane.answered(nameOf(s.service))
		s.memory.busySince = time.Time{}
		sent := diff.Settings
		sent.Instances = c.sets.shared(sent.Instances)
		s.memory.sent = append(s.memory.sent, change{id: lb.ID, settings: sent, at: time.Now()})
		klog.FromContext(ctx).Info("Changed load balancer", "loadBalancer", lb.ID, "fields", diff.Fields)
		if s.memory.applied && diff.Settings.Instances != nil {
			c.Recorder.Event(s.service, v1.EventTypeNormal, reason.UpdatedLoadBalancer, "Updated load balancer with new hosts")
		}
		return nil
	case vultr.IsConflict(err):
		return waitFor(s.memory.busy(busyWait), "load balancer %s is busy: %v", lb.ID, err)
	case vultr.IsOutcomeUnknown(err):
		s.memory.doubtSince = time.Now()
	}
	return fmt.Errorf("changing %s of load balancer %s: %w", strings.Join(diff.Fields, ", "), lb.ID, err)
}

// pending is the end of a sync while the load balancer is being made.
func (c *Controller) pending(s *scene, lb vultr.LoadBalancer) error {
	m := s.memory
	if m.pendingSince.IsZero() {
		m.pendingSince = time.Now()
	}
	age := time.Since(m.pendingSince)
	m.pendingAge = age
	what := "is being made (status " + lb.Status + ")"
	if lb.Active() {
		what = "has no address yet"
	}
	late := ""
	if age >= lateAfter {
		late = fmt.Sprintf("Load balancer %s %s since %s; if that goes on, ask the platform's support", lb.ID, what, m.pendingSince.UTC().Format(time.RFC3339))
	}
	if m.news(aboutLateness, late) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.LoadBalancerLate, late)
	}
	return waitExactly(c.pace.wait(age), "load balancer %s %s", lb.ID, what)
}

// both joins a failure with the faults of the Service. Waiting gives way: the faults are what people must see.
func both(err, faults error) error {
	switch {
	case faults == nil:
		return err
	case err == nil, isWait(err):
		return faults
	}
	return errors.Join(err, faults)
}

func isWait(err error) bool {
	_, wait := errors.AsType[*waitError](err)
	return wait
}
