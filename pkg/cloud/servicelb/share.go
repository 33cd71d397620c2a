package servicelb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// member is a Service on a load balancer that several share.
type member struct {
	service *v1.Service
	memory  *memory
	reading plan.Reading // what the Service itself asks for
	// waits says why the Service is not served yet, nil if it is one of those that the load balancer is made for.
	waits error
	// held is what the platform has refused of what the Service asks for, nil if nothing; see sift.
	held error
	// stuck is what the API server has refused to write into the Service, nil if it has refused nothing.
	stuck error
	// apart says why the nodes that the Service chooses are not what decides, "" if they do; misses is set if none of the backends has
	// a pod of it, though its policy is Local.
	apart  string
	misses bool
}

// shared reports whether the load balancer serves several Services, or did so until now.
func (s *scene) shared() bool { return len(s.members) > 1 || len(s.leaving) > 0 || len(s.disowned) > 0 }

// served returns the Services that the load balancer is made for, the oldest first.
func (s *scene) served() []*member {
	var all []*member
	for i := range s.members {
		if m := &s.members[i]; m.waits == nil {
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		return []*member{{service: s.service, memory: s.memory, reading: s.reading}}
	}
	return all
}

// asking returns the Services that the load balancer is made for, with what each of them asks for.
func (s *scene) asking() []plan.Member {
	var all []plan.Member
	for _, m := range s.served() {
		all = append(all, plan.Member{Service: m.service, Reading: m.reading, Held: m.held != nil})
	}
	return append(all, s.disowned...)
}

// includes reports whether a Service is to share the load balancer.
func (s *scene) includes(uid types.UID) bool {
	return slices.ContainsFunc(s.members, func(m member) bool { return m.service.UID == uid })
}

// gather reads the guests of a team, beside the host that is read already.
func (c *Controller) gather(ctx context.Context, s *scene, t team) {
	if len(t.guests) == 0 && len(t.leaving) == 0 && len(t.disowned) == 0 {
		return
	}
	s.leaving = t.leaving
	for _, guest := range t.disowned {
		guest = guest.DeepCopy()
		s.disowned = append(s.disowned, plan.Member{Service: guest, Reading: c.read(ctx, guest), Held: true})
		if servicehelper.HasLBFinalizer(guest) {
			c.queue.AddAfter(nameOf(guest), sharePause) // for its release, by its own name
		}
	}
	s.members = []member{{service: s.service, memory: s.memory, reading: s.reading, stuck: s.stuck}}
	for _, guest := range t.guests {
		guest = guest.DeepCopy()
		m := member{service: guest, memory: c.memories.of(guest.UID), reading: c.read(ctx, guest)}
		c.greet(guest, m.memory, m.reading)
		m.stuck = c.addFinalizer(ctx, guest) // for which the others don't wait
		c.refs.want(nameOf(guest), referencesOf(guest, m.reading)...)
		s.members = append(s.members, m)
	}
	slices.SortFunc(s.members, func(a, b member) int { return plan.ByAge(a.service, b.service) })
}

// merge puts what all members ask for in the place of what the host asks for. current is the load balancer, nil while there is none.
// Members with faults that have nothing to lose have to wait.
func (c *Controller) merge(s *scene, current *vultr.LoadBalancer) {
	if !s.shared() {
		s.memory.forgetShares()
		return
	}
	var is vultr.LoadBalancer
	if current != nil {
		is = *current
	}
	var all []plan.Member
	var hostFaults error
	for i := range s.members {
		m := &s.members[i]
		m.waits, m.held = able(m.reading), m.memory.held.why
		served := current != nil && (m.service.UID == s.service.UID || s.entry.Guests.Has(m.service.UID) || servedBy(m.service, is))
		switch {
		case served:
			m.waits = nil
		case m.waits == nil:
			m.waits = cmp.Or(m.held, m.stuck)
		}
		if m.waits == nil {
			all = append(all, plan.Member{Service: m.service, Reading: m.reading, Held: m.held != nil})
		}
		if m.service.UID == s.service.UID {
			s.reading, hostFaults = m.reading, m.fault() // what all ask for was there, if this is done again
		}
	}
	s.faults, s.whole = nil, plan.Merged{}
	if len(all) == 0 || hostFaults == nil && s.alone(all) {
		s.memory.forgetShares()
		return
	}
	if current != nil {
		all = append(all, s.disowned...) // behind the others, however old they are: nothing else follows them
	}
	s.faults, s.reading.Err, s.reading.Unprotected = hostFaults, nil, nil
	s.whole = plan.Merge(all, is)
	own := s.reading.Desired
	s.reading.Desired = s.whole.Desired
	s.reading.Desired.Label, s.reading.Desired.Hostname, s.reading.Desired.IPMode = shareLabel(s.service), own.Hostname, own.IPMode
}

// alone reports whether of those that are merged the host is the only one, and nothing is left of others.
func (s *scene) alone(all []plan.Member) bool {
	return len(all) == 1 && all[0].Service.UID == s.service.UID && len(s.disowned) == 0
}

// forgetShares forgets what was told of a load balancer that several share, for one who has it alone.
func (m *memory) forgetShares() {
	for _, about := range []topic{aboutPorts, aboutShared, aboutApart} {
		m.news(about, "")
	}
}

// servedBy reports whether the address in a Service's status is the load balancer's, and one of its rules leads to the Service.
func servedBy(service *v1.Service, lb vultr.LoadBalancer) bool {
	address := published(service)
	return address != "" && (lb.IPv4 == address || lb.IPv6 == address) && len(plan.RulesOf(lb.Rules, service)) > 0
}

// wished returns the load balancer that the Service names and may have in the place of its present one. Those that share that have not
// asked for another address.
func (c *Controller) wished(ctx context.Context, s *scene) (*vultr.LoadBalancer, error) {
	lb, err := c.hinted(ctx, s)
	if lb == nil || s.finding.current == nil || s.entry.Guests == "" {
		return lb, err
	}
	return nil, fmt.Errorf("annotation %s names the load balancer %s, but other Services share %s, which this one has, and would lose their address with it; "+
		"give this Service another label first, or none", settings.ID, lb.ID, s.finding.current.ID)
}

// admitted returns the guests that the load balancer serves or is to serve now.
func (s *scene) admitted() ledger.Members {
	var uids []types.UID
	for _, m := range s.members {
		if m.service.UID != s.service.UID && m.waits == nil {
			uids = append(uids, m.service.UID)
		}
	}
	if s.finding.current != nil {
		for _, m := range s.disowned {
			uids = append(uids, m.Service.UID)
		}
	}
	return ledger.MembersOf(uids...)
}

// group returns the label of those that share the load balancer, "" if nobody does.
func (s *scene) group(guests ledger.Members) string {
	if guests == "" {
		return ""
	}
	return shareLabel(s.service)
}

// admit writes down who shares the load balancer, before it serves them. Those that leave stay until it does not.
func (c *Controller) admit(ctx context.Context, s *scene, lb vultr.LoadBalancer) error {
	if !s.shared() {
		return nil
	}
	entry := s.entry
	entry.Guests = ledger.MembersOf(slices.Concat(s.admitted().List(), s.leaving)...)
	if entry.Group = s.group(entry.Guests); s.admitted() == "" {
		entry.Group = s.entry.Group
	}
	before := s.entry.Guests
	if err := c.write(ctx, s, entry); err != nil {
		return err
	}
	c.welcome(ctx, s, lb.ID, before)
	return nil
}

// noteAtGuests writes the load balancer's ID into the guests that name the one before it, and reports whether all have it. The host's
// record says which one that was until all are told.
func (c *Controller) noteAtGuests(ctx context.Context, s *scene, id string) (all bool) {
	all = true
	for i := range s.members {
		m := &s.members[i]
		there := named(m.service)
		if m.service.UID == s.service.UID || !s.entry.Guests.Has(m.service.UID) || there == "" || there == id {
			continue
		}
		if there != s.entry.Noted && there != s.finding.lost && there != s.memory.dead {
			continue // whatever somebody made of it
		}
		m.memory.noted.Store(&id)
		if err := c.annotate(ctx, m.service, map[settings.Key]string{settings.ID: id}); err != nil {
			m.stuck, all = err, false
		}
	}
	return all
}

// welcome writes the load balancer's ID into the Services that share it from now on, and tells their owners.
func (c *Controller) welcome(ctx context.Context, s *scene, id string, before ledger.Members) {
	for i := range s.members {
		m := &s.members[i]
		if m.service.UID == s.service.UID || m.waits != nil || before.Has(m.service.UID) {
			continue // those that were there have been told; see noteAtGuests
		}
		m.memory.noted.Store(&id)
		if err := c.annotate(ctx, m.service, map[settings.Key]string{settings.ID: id}); err != nil {
			m.stuck = err
		}
		c.Recorder.Eventf(m.service, v1.EventTypeNormal, reason.LoadBalancerShared,
			"The Service shares load balancer %s with Service %s, by the label %q", id, nameOf(s.service), shareLabel(m.service))
	}
}

// part lets those go whose ports the load balancer does not serve any more.
func (c *Controller) part(ctx context.Context, s *scene) error {
	if len(s.leaving) == 0 {
		return nil
	}
	n, err := c.census()
	if err != nil {
		return err
	}
	entry := s.entry
	var gone, stay []types.UID
	var failures []error
	for _, uid := range s.leaving {
		if err := c.dismiss(ctx, n, uid, s.entry.ID); err != nil {
			stay, failures = append(stay, uid), append(failures, err)
			continue
		}
		entry.Guests, gone = entry.Guests.Without(uid), append(gone, uid)
	}
	entry.Group = s.group(entry.Guests)
	if err := c.write(ctx, s, entry); err != nil {
		return err
	}
	s.leaving = stay
	c.wake(gone)
	return errors.Join(failures...)
}

// letGo lets those go that share the load balancer no more when it is proven that there is none: that another one is made may take
// long, or be refused for ever.
func (c *Controller) letGo(ctx context.Context, s *scene) error {
	if len(s.leaving) == 0 {
		return nil
	}
	if s.finding.lost != "" {
		if err := c.plausible(s); err != nil {
			return err
		}
	}
	if err := c.witness(ctx, s); err != nil {
		return err
	}
	return c.part(ctx, s)
}

// tellMembers tells the owners of the Services what they asked for and don't get.
func (c *Controller) tellMembers(s *scene, id string) {
	i := 0 // among those that were merged
	for _, m := range s.members {
		if m.waits != nil || i >= len(s.whole.Refused) {
			continue
		}
		refused, overruled := s.whole.Refused[i], s.whole.Overruled[i]
		i++
		c.tellApart(m, id)
		if message := strings.Join(refused, ", "); m.memory.news(aboutPorts, message) {
			c.Recorder.Eventf(m.service, v1.EventTypeWarning, reason.LoadBalancerPortTaken, "These ports of the Service are not served by load balancer %s, which it shares: %s", id, message)
		}
		message := strings.Join(overruled, ", ")
		if !m.memory.news(aboutShared, message) {
			continue
		}
		leader := "one of the Services"
		if s.whole.Leader != nil && s.whole.Leader.UID != m.service.UID {
			leader = "Service " + nameOf(s.whole.Leader).String()
		}
		c.Recorder.Eventf(m.service, v1.EventTypeWarning, reason.LoadBalancerSharedSetting,
			"Load balancer %s, which the Service shares, has these settings once for all, as %s asks for: %s", id, leader, message)
	}
}

// tellApart tells the owner of a Service that the backends follow the older ones alone.
func (c *Controller) tellApart(m member, id string) {
	why := m.apart
	if m.misses {
		why = "externalTrafficPolicy Local: no node has ready pods of this Service and of the older ones with that policy, so connections to this one are lost"
	}
	if m.memory.news(aboutApart, why) {
		c.Recorder.Eventf(m.service, v1.EventTypeWarning, reason.LoadBalancerSharedSetting,
			"Load balancer %s, which the Service shares, sends to the nodes of the older Services alone: %s", id, why)
	}
}

// serveGuests gives the guests the address of the load balancer as soon as it serves them. It returns what becomes of the statuses into which
// nothing else was written, the host's and those of who has given it up: nodes must not take another one's port for theirs.
func (c *Controller) serveGuests(ctx context.Context, s *scene) error {
	if s.finding.current == nil || len(s.members) < 2 && len(s.disowned) == 0 {
		return nil
	}
	lb := s.memory.believed(*s.finding.current, s.readAt, overlay)
	for i := range s.members {
		if m := &s.members[i]; m.service.UID != s.service.UID && m.waits == nil && s.entry.Guests.Has(m.service.UID) {
			if err := c.serveGuest(ctx, m, lb); err != nil {
				m.stuck = err
			}
		}
	}
	var failures []error
	for _, m := range s.disowned {
		failures = append(failures, c.markPorts(ctx, m.Service, c.memories.of(m.Service.UID), lb))
	}
	if !s.reported {
		failures = append(failures, c.markPorts(ctx, s.service, s.memory, lb))
	}
	return errors.Join(failures...)
}

func (c *Controller) serveGuest(ctx context.Context, m *member, lb vultr.LoadBalancer) error {
	rules := plan.RulesOf(lb.Rules, m.service)
	is := plan.Desired{Hostname: m.reading.Desired.Hostname, IPMode: m.reading.Desired.IPMode, ProxyProtocol: lb.ProxyProtocol, Rules: rules}
	status, ready := plan.Status(lb, m.service, is, c.LabelInStatus)
	old, has := published(m.service), len(m.service.Status.LoadBalancer.Ingress) > 0
	switch {
	case !ready || len(rules) == 0 && !has:
		return nil
	case m.reading.Err != nil && has:
		return c.markPorts(ctx, m.service, m.memory, lb)
	}
	plan.MarkPorts(status, m.service, rules)
	if err := c.publish(ctx, m.service, m.memory, status); err != nil {
		return err
	}
	if address := firstAddress(status); old != "" && address != "" && old != address {
		c.Recorder.Eventf(m.service, v1.EventTypeWarning, reason.LoadBalancerAddressChanged, "The address of the load balancer was %s and is %s now", old, address)
	}
	if m.memory.ensuring && m.fault() == nil {
		m.memory.ensuring = false
		c.Recorder.Event(m.service, v1.EventTypeNormal, reason.EnsuredLoadBalancer, "Ensured load balancer")
	}
	return nil
}

// failingGuests makes Events of what is wrong with guests, and of what happened to their load balancer. It returns the former.
func (c *Controller) failingGuests(s *scene, err error) error {
	var faults []error
	for i := range s.members {
		m := &s.members[i]
		if m.service.UID == s.service.UID {
			continue
		}
		fault := m.fault()
		if fault != nil {
			faults = append(faults, fmt.Errorf("service %s: %w", nameOf(m.service), fault))
		}
		_ = c.failing(m.service, reason.SyncLoadBalancerFailed, "Error syncing load balancer", both(toldTo(m.service, err), fault))
	}
	return errors.Join(faults...)
}

// unchanged reports whether all that the load balancer serves ask for what it was once brought to.
func (s *scene) unchanged() bool {
	if !s.memory.applied || s.memory.company != s.admitted() {
		return false
	}
	if len(s.members) == 0 {
		return s.memory.asked == request(s.service, s.reading)
	}
	for _, m := range s.members {
		if m.waits == nil && m.held == nil && m.memory.asked != request(m.service, m.reading) {
			return false
		}
	}
	return true
}

// brought notes that the load balancer was brought to what those ask for that it serves.
func (s *scene) brought() {
	s.memory.applied, s.memory.company = true, s.admitted()
	if len(s.members) == 0 {
		s.memory.asked = request(s.service, s.reading)
	}
	for _, m := range s.members {
		if m.waits == nil && m.held == nil {
			m.memory.asked = request(m.service, m.reading)
		}
	}
}

// leader returns the Service whose settings are those of the whole.
func (s *scene) leader() *v1.Service {
	if s.whole.Leader != nil {
		return s.whole.Leader
	}
	return s.service
}

// leaderless reports whether several share the load balancer, and nobody says what it is to have once for all: it stays as it is.
func (s *scene) leaderless() bool { return len(s.whole.Refused) > 0 && s.whole.Leader == nil }

// certifier returns the Service whose certificate the load balancer has.
func (s *scene) certifier() *v1.Service {
	if s.whole.Certifier != nil {
		return s.whole.Certifier
	}
	return s.service
}
