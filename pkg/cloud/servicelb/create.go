package servicelb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// createPause is how long to wait after a create before the first look.
const createPause = time.Second

// create makes the load balancer of a Service that is proven to have none. Its label is the default name whatever the
// Service wants to call it: the UID in it makes it found again, and as ours, even without the ledger. It gets the name
// that the Service gives it once it is active.
func (c *Controller) create(ctx context.Context, s *scene) error {
	if err := c.joinsInstead(ctx, s); err != nil {
		return err
	}
	if err := c.mayMake(ctx, s); err != nil {
		return err
	}
	want := s.reading.Desired
	certificate, certErr := c.certificate(ctx, s.certifier(), want.TLSSecret)
	if certErr != nil {
		want = plan.WithoutHTTPS(want, s.asking(), vultr.LoadBalancer{}, false) // the others don't wait for it
		if !s.shared() || len(want.Rules) == 0 {
			return certErr
		}
	}
	region, err := c.regionFor(ctx, s)
	if err != nil {
		return err
	}
	want.Label = label(s.service)
	want.GlobalRegions = nil // its parts come when it is active: they might bear its label, as what a request has made twice does
	if err := c.setBackends(ctx, s, vultr.LoadBalancer{Region: region}, &want); err != nil {
		return err
	}
	creation := plan.Creation(want)
	if certificate != nil {
		creation.Certificate = &certificate.PEM
	}
	if err := c.allWant(ctx, s); err != nil {
		return err
	}
	if wait := c.gate.enter(time.Now()); wait > 0 {
		return waitFor(wait, "the platform fails to make load balancers; one request at a time finds out when it works again")
	}
	lb, err := c.post(ctx, s, region, creation)
	if err != nil {
		s.deny(err)
		return err
	}
	s.memory.sent = append(s.memory.sent[:0], change{id: lb.ID, settings: creation, at: time.Now()})
	if s.admitted() == "" && c.abandoned(ctx, s.service) {
		return c.giveBack(ctx, s, lb)
	}
	return both(c.made(ctx, s, lb, want, certificate), certErr)
}

// mayMake returns why no load balancer can be made for the Service now.
func (c *Controller) mayMake(ctx context.Context, s *scene) error {
	if err := errors.Join(s.reading.Err, s.reading.MayCreate(), s.stuck); err != nil {
		return err
	}
	// Who had one of its own gets another one, whatever others are called by now.
	had := s.finding.lost != "" || s.entry.Address != ""
	if err := c.labelTaken(s); err != nil && !had {
		return err
	}
	if s.finding.lost != "" {
		if err := c.plausible(s); err != nil {
			return err
		}
	}
	return c.witness(ctx, s)
}

// made writes down what was made, and tells of it. It returns when to look at it.
func (c *Controller) made(ctx context.Context, s *scene, lb vultr.LoadBalancer, want plan.Desired, certificate *plan.Certificate) error {
	c.announce(s, lb)
	s.entry.Firewall = want.FirewallStated
	before := s.entry.Guests
	s.entry.Guests = s.admitted()
	s.entry.Group = s.group(s.entry.Guests)
	if s.entry.Certificate = serves(certificate, want.AutoSSL, lb.ID); s.entry.Certificate != "" {
		s.entry.Certifier = s.certifiedFor()
	}
	if err := c.write(ctx, s, s.entry); err != nil {
		return err
	}
	s.memory.pendingSince = time.Now()
	c.tellBackends(s)
	noted := c.note(ctx, s, lb.ID) // for people: it holds up nothing
	c.welcome(ctx, s, lb.ID, before)
	if err := c.part(ctx, s); err != nil {
		return both(err, noted)
	}
	return both(waitExactly(c.pace.wait(0), "load balancer %s is being made", lb.ID), noted)
}

// post sends the request, with the note of it in the ledger before it leaves, and learns from its outcome.
func (c *Controller) post(ctx context.Context, s *scene, region string, creation vultr.LoadBalancerSettings) (vultr.LoadBalancer, error) {
	tried := ledger.Entry{
		Service: nameOf(s.service).String(), Tried: ledger.Second(latest(ctx)), Address: s.entry.Address, Late: s.entry.Late,
		Guests: s.entry.Guests, Group: s.entry.Group, Noted: s.entry.Noted, // the Services name the one before until they are told
	}
	tried = s.withSent(tried, creation) // whoever finds it has to know what it was made with
	before := s.entry
	if err := c.write(ctx, s, tried); err != nil {
		return vultr.LoadBalancer{}, err
	}
	if err := c.allWant(ctx, s); err != nil { // whoever releases one of them from now on finds the record
		if undone := c.write(context.WithoutCancel(ctx), s, before); undone != nil {
			return vultr.LoadBalancer{}, undone
		}
		return vultr.LoadBalancer{}, err
	}
	lb, err := c.API.CreateLoadBalancer(ctx, region, creation)
	if vultr.IsInvalid(err) && !vultr.IsOutcomeUnknown(err) {
		if kept := c.withoutUnknown(ctx, s, creation.Instances); kept != nil {
			creation.Instances = kept
			lb, err = c.API.CreateLoadBalancer(ctx, region, creation)
		}
	}
	switch {
	case err == nil:
		c.gate.worked()
		s.memory.news(aboutOutcome, "")
		entry := tried
		entry.ID, entry.Made, entry.Tried = lb.ID, ledger.Second(time.Now()), time.Time{}
		// The next write makes this lasting; the note of the attempt covers a death in between.
		s.entry = entry
		return lb, nil
	case vultr.IsOutcomeUnknown(err):
		c.gate.failed(time.Now())
		// The wait begins when the attempt ended, which may be long after it began.
		tried.Tried = ledger.Second(time.Now().Add(time.Second))
		if s.memory.news(aboutOutcome, err.Error()) {
			c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.CreateOutcomeUnknown,
				"Whether a load balancer was made is not known; for %s it will be looked for before another one is made: %v", visibleAfter, err)
		}
		return lb, errors.Join(c.write(context.WithoutCancel(ctx), s, tried), fmt.Errorf("making the load balancer: %w", err))
	}
	tried.Tried, tried.Firewall, tried.Certificate, tried.Certifier = time.Time{}, false, "", ""
	err = fmt.Errorf("making the load balancer: %w", err)
	if tried.Address == "" && tried.Late.IsZero() && tried.Guests == "" {
		tried = ledger.Entry{}
	}
	return lb, errors.Join(err, c.write(ctx, s, tried))
}

// latest returns until when what is sent under ctx can be under way, should this process not learn its end.
func latest(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(syncTimeout)
}

// allWant returns an error if one of those that the load balancer is made for does not want it any more.
func (c *Controller) allWant(ctx context.Context, s *scene) error {
	for _, m := range s.members {
		if m.waits != nil || m.service.UID == s.service.UID {
			continue
		}
		if err := c.stillWanted(ctx, m.service); err != nil {
			return err
		}
	}
	return c.stillWanted(ctx, s.service)
}

// stillWanted asks the API server itself: what an informer shows may be old, and what is made for a Service that is gone
// is left behind.
func (c *Controller) stillWanted(ctx context.Context, service *v1.Service) error {
	now, err := c.Client.CoreV1().Services(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && (now.UID != service.UID || !c.wanted(now)):
		return waitFor(createPause, "the Service does not want a load balancer any more")
	case err != nil:
		return fmt.Errorf("reading the Service: %w", err)
	case !servicehelper.HasLBFinalizer(now):
		return waitFor(createPause, "the Service has no finalizer yet")
	}
	return nil
}

// witness makes sure that the account which the key belongs to is this cluster's: another one knows nothing of what was
// made for the cluster. A cluster without Nodes has only its load balancers to tell it by.
func (c *Controller) witness(ctx context.Context, s *scene) error {
	err := c.account.Check(ctx, s.readAt)
	if doubt, ok := errors.AsType[*witness.DoubtError](err); !ok || doubt.Total > 0 {
		return err
	}
	if s.entry.ID == "" {
		return nil // nothing was made for the Service that the account could show
	}
	for _, entry := range c.ledger.All() {
		if entry.Shown && entry.ID != "" && byID(s.listed, entry.ID) != nil {
			return nil
		}
	}
	return err
}

// proof is the form of the labels that prove to which Service a load balancer belongs. No other may have one.
var proof = regexp.MustCompile(`^a[0-9a-f]{31}$`)

// labelTaken returns an error when the label is a proof, or an older Service has the same one and does not share the load balancer.
func (c *Controller) labelTaken(s *scene) error {
	want := s.reading.Desired.Label
	switch {
	case want == "" || want == label(s.service) && !s.entry.Adopted:
		return nil
	case proof.MatchString(want):
		return fmt.Errorf("annotation %s: %q is how load balancers are called that are made for a Service without a label, and proves which one; choose another",
			settings.Label, want)
	}
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	for _, other := range all {
		if other.UID != s.service.UID && !s.includes(other.UID) && c.wanted(other) && text(other, settings.Label) == want && older(other, s.service) {
			return fmt.Errorf("annotation %s: another Service has the label %q too, and they share no load balancer: either each has one of its own, or they are in two "+
				"Namespaces that do not both name the label in their annotation %s; choose another label", settings.Label, want, settings.AllowSharing)
		}
	}
	return nil
}

func older(a, b *v1.Service) bool { return plan.ByAge(a, b) < 0 }

func (c *Controller) announce(s *scene, lb vultr.LoadBalancer) {
	if s.finding.lost != "" {
		c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.LoadBalancerRecreated,
			"Load balancer %s%s does not exist any more; %s is being made in its place and will have another address",
			s.finding.lost, inParentheses(s.entry.Address), lb.ID)
		return
	}
	c.Recorder.Eventf(s.service, v1.EventTypeNormal, reason.CreatingLoadBalancer,
		"Load balancer %s is being made in region %s; this may take some minutes", lb.ID, lb.Region)
}

func inParentheses(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}
