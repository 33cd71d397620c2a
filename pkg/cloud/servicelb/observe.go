package servicelb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// listAge is how old the shared list of load balancers may be for a sync: one list serves all that come together.
const listAge = 2 * time.Second

// scene is one Service with all that a sync of its load balancer needs to know.
type scene struct {
	service *v1.Service
	nodes   []*v1.Node // all of the cluster
	memory  *memory
	entry   ledger.Entry
	reading plan.Reading
	finding finding
	// recorded is the load balancer that the ledger gives to the Service, and held are those that it gives to others.
	recorded string
	held     map[string]bool
	readAt   time.Time // when the list began from which the finding is
	// givesUp is set when all that exists is left alone, and nobody looks for more.
	givesUp bool
	// unwritten is set while entry has something that the ledger lacks.
	unwritten bool
	// left is the load balancer that the Service leaves as it is, nil if it leaves none.
	left    *vultr.LoadBalancer
	listed  []vultr.LoadBalancer
	leftOut []string // the nodes that are no backends, with the reason
	// vacated are the entries of Services that are proven gone and whose load balancer this one is about to take over.
	vacated map[types.UID]ledger.Entry
	// members are the Services that share the load balancer, the oldest first and this one among them; nil if nobody does.
	// leaving are those that are written down as guests and share it no more, whole is what members ask for together, and faults
	// are those of this one, whose reading is what all ask for then.
	members []member
	leaving []types.UID
	whole   plan.Merged
	faults  error
	// disowned are Services that have given up what they shared as it is: it keeps their ports, and nothing else follows them.
	disowned []plan.Member
	// stuck is what the API server has refused to write into the Service and without which none is made.
	stuck error
	// denied is what the platform has refused of a change for all of them; went is set once it has taken one, and sifting while it is found
	// out whose request it refuses.
	denied  error
	went    bool
	sifting bool
	// reported is set once the Service's status says what the load balancer is for it.
	reported bool
	next     time.Duration // when the Service has to be looked at again though nothing failed, 0 for never
}

// lookAgain is when a sync is repeated that left something as it is because of what somebody else does: nothing tells that
// it has changed.
const lookAgain = longestBackoff

// comeBack asks for another sync at the latest after this time.
func (s *scene) comeBack(after time.Duration) {
	if after > 0 && (s.next == 0 || after < s.next) {
		s.next = after
	}
}

// label is what a load balancer is called that is made for a Service. It is the official default, so that a load
// balancer is found again by whichever controller looks for it.
func label(service *v1.Service) string { return cloudprovider.DefaultLoadBalancerName(service) }

// observe reads what a sync needs. Its list is shared, and began after the last change that was made here.
func (c *Controller) observe(ctx context.Context, service *v1.Service, reading plan.Reading) (*scene, error) {
	s := &scene{service: service, memory: c.memories.of(service.UID), reading: reading}
	var err error
	if s.entry, err = c.ledger.Get(service.UID); err != nil {
		return nil, err
	}
	s.recorded, s.held = s.entry.ID, c.heldBesides(service.UID)
	if s.nodes, err = c.nodes.List(labels.Everything()); err != nil {
		return nil, fmt.Errorf("listing Nodes: %w", err)
	}
	list, err := c.listWithin(ctx, max(listAge, c.failure.age(time.Now())), s.after())
	if err != nil {
		return nil, err
	}
	s.readAt, s.listed = list.Began, list.Items
	e := evidence{
		uid: service.UID, label: label(service), entry: s.entry, list: list,
		absentBefore: s.memory.absentSince, doubtful: c.doubtful(service), published: published(service),
		others: s.held, now: time.Now(),
	}
	if s.entry.ID != "" && (byID(list.Items, s.entry.ID) == nil || !s.entry.Deleted.IsZero()) {
		if e.direct, err = c.byDirectLook(ctx, s.entry.ID); err != nil {
			return nil, err
		}
	}
	s.finding = resolve(e)
	if err := c.confirm(ctx, s); err != nil {
		return nil, err
	}
	switch {
	case s.entry.ID == "" || s.finding.current != nil && s.finding.current.ID == s.entry.ID:
		s.memory.absentSince = time.Time{}
	case s.memory.absentSince.IsZero():
		s.memory.absentSince = time.Now()
	}
	return s, nil
}

// heldBesides returns the load balancers that the ledger gives to other Services than this one.
func (c *Controller) heldBesides(own types.UID) map[string]bool {
	held := map[string]bool{}
	for uid, entry := range c.ledger.All() {
		if uid != own && entry.ID != "" && entry.Left == "" {
			held[entry.ID] = true
		}
	}
	return held
}

// confirm looks at a load balancer that was found by its label alone: a list may show one that was deleted before.
func (c *Controller) confirm(ctx context.Context, s *scene) error {
	found := s.finding.current
	if found == nil || found.ID == s.entry.ID {
		return nil
	}
	there, err := c.byDirectLook(ctx, found.ID)
	if err == nil && there == nil {
		s.finding = finding{lost: s.finding.lost, wait: confirmAfter, why: "load balancer " + found.ID + " is in lists and cannot be read"}
	}
	return err
}

// after returns when the list must have begun: not before the last change, while it is being made not long ago, so that the
// address is published soon, and while it is still to show what a request has made not as long ago as when Nodes fail.
func (s *scene) after() time.Time {
	m, now := s.memory, time.Now()
	recent := time.Time{}
	switch {
	case !m.pendingSince.IsZero():
		recent = now.Add(-shortestWait / 2)
	case !m.doubtSince.IsZero(), now.Sub(m.knownSince) < visibleAfter+listAge+failureLasts:
		recent = now.Add(-listAge)
	}
	return latestOf(m.lastWrite(), recent)
}

// list returns a list of all load balancers that is not much older than now and began after the given time, without
// those that are known to be deleted.
func (c *Controller) list(ctx context.Context, after time.Time) (vultr.List[vultr.LoadBalancer], error) {
	return c.listWithin(ctx, listAge, after)
}

// listWithin is list with another bound of its age.
func (c *Controller) listWithin(ctx context.Context, age time.Duration, after time.Time) (vultr.List[vultr.LoadBalancer], error) {
	if since := time.Since(after); since < age {
		age = max(0, since)
	}
	if err := c.refusal.standing(time.Now()); err != nil {
		return vultr.List[vultr.LoadBalancer]{}, fmt.Errorf("listing load balancers: %w", err)
	}
	list, err := c.API.LoadBalancers(ctx, age)
	c.refusal.learn(err, time.Now())
	if err != nil {
		return list, fmt.Errorf("listing load balancers: %w", err)
	}
	gone := func(lb vultr.LoadBalancer) bool { return c.gone.has(lb.ID, time.Now()) }
	if slices.ContainsFunc(list.Items, gone) {
		list.Items = slices.DeleteFunc(slices.Clone(list.Items), gone) // the list itself is shared
	}
	return list, nil
}

// byDirectLook asks for a load balancer by its ID; nil means that it was not found.
func (c *Controller) byDirectLook(ctx context.Context, id string) (*vultr.LoadBalancer, error) {
	lb, err := c.API.LoadBalancer(ctx, id)
	if vultr.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load balancer %s: %w", id, err)
	}
	return &lb, nil
}

// doubtful returns until when it is not known whether another controller has made a load balancer for the Service: one
// that was replaced by this one may have done so in its last moments. It would have put its finalizer there first. Zero if
// there is no doubt.
func (c *Controller) doubtful(service *v1.Service) time.Time {
	if c.memories.of(service.UID).finalized || !servicehelper.HasLBFinalizer(service) {
		return time.Time{}
	}
	return c.began.Add(visibleAfter)
}

// published returns the address in the Service's status.
func published(service *v1.Service) string {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if ingress.IP != "" {
			return ingress.IP
		}
	}
	return ""
}

// claims gathers who may have a right to a load balancer besides the Service.
func (c *Controller) claims(ctx context.Context, s *scene, id string) (*claims, error) {
	out := &claims{
		proof: label(s.service), address: published(s.service), held: c.heldBesides(s.service.UID), left: c.leftByOthers(s), named: map[string]bool{},
		serves: map[string]bool{}, ports: map[int]bool{}, allowed: map[string]bool{}, proofs: map[string]bool{},
	}
	services, err := c.services.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	for _, other := range services {
		if other.UID == s.service.UID {
			continue
		}
		if s.includes(other.UID) {
			out.add(other) // what serves it can be what all of them share
			continue
		}
		for _, ingress := range other.Status.LoadBalancer.Ingress {
			out.serves[ingress.IP] = true // tenants can't write the status
			out.named[ingress.Hostname] = true
		}
		if other.Spec.Type != v1.ServiceTypeLoadBalancer {
			continue
		}
		out.named[label(other)] = true
		if plan.Managed(other) && older(other, s.service) {
			out.named[text(other, settings.ID)], out.named[text(other, settings.Label)] = true, true
		}
	}
	out.instances = instancesOf(s.nodes)
	namespace, err := c.namespace(ctx, s.service.Namespace)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Concat(listed(namespace, settings.AllowAdoption), listed(namespace, settings.HandOver)) {
		out.allowed[id] = true
	}
	out.add(s.service)
	delete(out.named, "")
	delete(out.serves, "")
	delete(out.ports, 0)
	c.words.judged(nameOf(s.service), wordOf(namespace))
	if out.held[id] && out.allowed[id] {
		s.vacated, err = c.vacated(ctx, s, id)
		out.held[id] = len(s.vacated) == 0
	}
	return out, err
}

// namespace reads a Namespace; one that does not exist, and so has nothing in it, is not asked for here.
func (c *Controller) namespace(ctx context.Context, name string) (*v1.Namespace, error) {
	namespace, err := c.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Namespace %s: %w", name, err)
	}
	return namespace, nil
}

// listed returns the IDs in an annotation of a Namespace.
func listed(namespace *v1.Namespace, annotation settings.Key) []string {
	var ids []string
	for id := range strings.SplitSeq(namespace.Annotations[string(annotation)], ",") {
		if id = strings.ToLower(strings.TrimSpace(id)); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// handedOver reports whether the administrator has given the load balancer to the Service's namespace.
func (c *Controller) handedOver(ctx context.Context, service *v1.Service, id string) (bool, error) {
	namespace, err := c.namespace(ctx, service.Namespace)
	if err != nil {
		return false, err
	}
	c.words.judged(nameOf(service), wordOf(namespace))
	return slices.Contains(listed(namespace, settings.HandOver), id), nil
}

// chosen returns the one of all load balancers that a hint means, or the one that is known from a read of its own.
func (c *Controller) chosen(ctx context.Context, s *scene, h hint, all []vultr.LoadBalancer, direct *vultr.LoadBalancer) (*vultr.LoadBalancer, error) {
	if h.id == "" {
		called, err := c.called(ctx, s, h.label, all)
		if err != nil {
			return nil, err
		}
		all = called
	}
	return h.choose(all, direct)
}

// hinted returns another load balancer than the present one that the Service's annotations name, if the Service may have
// it. A refusal is remembered for a while, since it can cost calls to find out.
func (c *Controller) hinted(ctx context.Context, s *scene) (*vultr.LoadBalancer, error) {
	h, m := s.hint(), s.memory
	if h.id != m.missed {
		m.missed = ""
	}
	if h == (hint{}) {
		c.forgetWords(s)
		return nil, nil
	}
	s.comeBack(lookAgain)
	if s.finding.current != nil && c.judged(s, h) {
		return nil, nil
	}
	list, err := c.list(ctx, m.lastWrite())
	if err != nil {
		return nil, err
	}
	var direct *vultr.LoadBalancer
	if h.id != "" && byID(list.Items, h.id) == nil {
		if direct, err = c.byDirectLook(ctx, h.id); err != nil {
			return nil, err
		}
	}
	m.refused, m.refusedUntil = h.id, time.Now().Add(hintPause)
	lb, err := c.chosen(ctx, s, h, list.Items, direct)
	if lb == nil {
		c.forgetWords(s)
		if err != nil {
			return nil, err
		}
		return nil, c.miss(s, h.id, list.Began)
	}
	m.missed, m.dead = "", ""
	claims, err := c.claims(ctx, s, lb.ID)
	if err != nil {
		return nil, err
	}
	if err := claims.mayAdopt(*lb); err != nil {
		return nil, h.refused(err)
	}
	return lb, nil
}

// judged reports whether the wish for a load balancer was refused a moment ago, and under the same word of the administrator.
func (c *Controller) judged(s *scene, h hint) bool {
	m := s.memory
	return h.id != "" && h.id == m.refused && time.Now().Before(m.refusedUntil) && !c.words.changed(nameOf(s.service))
}

// miss judges a load balancer that the Service names and that neither a list that began then nor a read of its own shows. Reads may be late
// to show one that was just made, and have blank moments. Until it is proven that there is none, no other one is made, and its ID stays
// in the Service.
func (c *Controller) miss(s *scene, id string, began time.Time) error {
	m := s.memory
	switch {
	case id == "":
		return nil // there is none with the label, which is to be its own one's then
	case m.missed != id:
		m.missed, m.missedSince = id, time.Now()
	}
	if left := visibleAfter - began.Sub(m.missedSince); left > 0 {
		m.refused = "" // a minute between two looks would be too long
		if s.finding.current != nil {
			s.comeBack(min(left, confirmAfter))
			return nil
		}
		return waitFor(min(left, confirmAfter), "load balancer %s, which the Service names, is not found; it is looked for once more", id)
	}
	if message := fmt.Sprintf("annotation %s names the load balancer %s, which does not exist: no read has shown it for %s", settings.ID, id, visibleAfter); m.news(aboutHint, message) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.LoadBalancerNotAdopted, message)
	}
	known := m.dead == id
	if m.dead = id; known || s.finding.current != nil {
		return nil
	}
	return waitFor(conflictPause, "load balancer %s, which the Service names, does not exist; with whom it shares one is to be found out again", id)
}

// called returns the load balancers with a label that may be meant by it. Not meant are those that other Services have: they may be
// called so no longer than until they get another name. A Service that has lost its own does not mean one that serves another
// cluster in the same account, which just gives the same names.
func (c *Controller) called(ctx context.Context, s *scene, label string, all []vultr.LoadBalancer) ([]vultr.LoadBalancer, error) {
	there, err := c.existing()
	if err != nil {
		return nil, err
	}
	held := map[string]bool{}
	for uid, entry := range c.ledger.All() {
		held[entry.ID] = held[entry.ID] || uid != s.service.UID && there[uid]
	}
	found := labelled(all, label, held)
	if s.finding.lost == "" {
		return found, nil
	}
	var meant []vultr.LoadBalancer
	for _, lb := range found {
		foreign, err := c.foreignBackends(ctx, s.nodes, lb)
		if err != nil {
			return nil, err
		}
		if !foreign {
			meant = append(meant, lb)
		}
	}
	return meant, nil
}

// forgetWords ends the interest in what the administrator says, if nothing depends on it.
func (c *Controller) forgetWords(s *scene) {
	if !s.entry.Adopted && !c.listensFor(s.service) {
		c.words.forget(nameOf(s.service))
	}
}

// hint returns what the Service names beside its present load balancer: not a note of ours, also of one that is gone, and
// nothing that could not exist. A label counts only while it has none: it is also what its own is to be called.
func (s *scene) hint() hint {
	h := hint{id: strings.ToLower(s.reading.ID), label: text(s.service, settings.Label)}
	if h.id == s.finding.lost || h.id == s.entry.Noted || !vultr.IsID(h.id) {
		h.id = ""
	}
	if current := s.finding.current; current != nil {
		h.label = ""
		if h.id == current.ID {
			h.id = ""
		}
	}
	return h
}

// hintPause is how long a refused wish for another load balancer is not judged again.
const hintPause = time.Minute

// refused says why a load balancer cannot be taken over, in the words of what the Service's owner wrote.
func (h hint) refused(err error) error {
	named := fmt.Sprintf("annotation %s names the load balancer %s", settings.ID, h.id)
	if h.id == "" {
		named = fmt.Sprintf("annotation %s: there is a load balancer with the label %q", settings.Label, h.label)
	}
	return fmt.Errorf("%s, which is left alone: %w (an administrator allows that by the annotation %s of the Namespace)", named, err, settings.AllowAdoption)
}

// text returns an annotation's value without the white space around it.
func text(service *v1.Service, key settings.Key) string {
	return strings.TrimSpace(service.Annotations[string(key)])
}
