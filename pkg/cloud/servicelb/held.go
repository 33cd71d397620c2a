package servicelb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// All that the Services on one load balancer ask for is one change of it, and the platform refuses it as a whole for what one of them asks
// for. Then it is found out who that is: with the requests of all held that have changed, the others have to be served and who leaves
// has to be released, and after that one request at a time is tried. What is refused is held: its Service keeps what it has, and is told.

// heldFor is how long a refused request is held until it is tried again: the platform may refuse it for what the others ask for, such as
// too many firewall rules in all.
const heldFor = lookAgain

// held is what the platform has refused of what a Service asks for; the zero value if it has refused nothing.
type held struct {
	asked string // in the words of request
	why   error
	until time.Time
}

// lift ends the holds on requests that have changed, or are to be tried again, and comes back for the others.
func (s *scene) lift() {
	if !s.shared() {
		s.memory.held = held{}
	}
	for i := range s.members {
		m := &s.members[i]
		renewed, h := m.memory.renewed.Swap(false), &m.memory.held
		switch left := time.Until(h.until); {
		case renewed || left <= 0 || h.asked != request(m.service, m.reading):
			*h = held{}
		default:
			s.comeBack(left)
		}
	}
}

// hold keeps a member's request back.
func (c *Controller) hold(s *scene, m *member, why error) {
	m.memory.held = held{
		asked: request(m.service, m.reading), until: time.Now().Add(heldFor),
		why: fmt.Errorf("the platform refuses a change that this Service asks for of the load balancer which it shares. What the Service has stays as it is, "+
			"and the others are served; correct it, or wait: it is tried again in %s: %w", heldFor, why),
	}
	s.comeBack(heldFor)
}

// fault returns what keeps a member from what it asks for, nil if nothing does.
func (m *member) fault() error {
	if m.waits != nil {
		return m.waits
	}
	return both(both(m.reading.Err, m.held), m.stuck)
}

// counts reports whether what a member asks for is part of what all ask for together.
func (m *member) counts() bool { return m.waits == nil && m.held == nil && m.reading.Err == nil }

// suspects returns the members whose requests may be what the platform has refused: those that are new or have changed, or all.
func (s *scene) suspects() (changed, all []*member) {
	for i := range s.members {
		m := &s.members[i]
		if !m.counts() {
			continue
		}
		all = append(all, m)
		if m.memory.asked != request(m.service, m.reading) {
			changed = append(changed, m)
		}
	}
	if len(changed) == 0 {
		changed = all
	}
	return changed, all
}

// sift serves those whose requests the platform takes after it has refused those of all together, and holds the others.
func (c *Controller) sift(ctx context.Context, s *scene, refused error) error {
	s.sifting = true
	suspects, all := s.suspects()
	err := c.without(ctx, s, suspects, refused)
	if s.denied != nil && len(suspects) < len(all) {
		suspects = all
		err = c.without(ctx, s, suspects, refused)
	}
	tried := 0
	switch {
	case !s.went:
	case len(suspects) == 1:
		tried = 1
	default:
		for _, m := range suspects {
			m.memory.held = held{}
			if err = c.again(ctx, s); s.denied != nil {
				c.hold(s, m, s.denied)
			} else if !s.went {
				break
			}
			tried++
		}
	}
	for _, m := range suspects[tried:] {
		m.memory.held = held{} // what is wrong with these, if anything, is not known
	}
	s.sifting = false
	if tried == 0 {
		return both(err, refused)
	}
	if tried < len(suspects) {
		return err
	}
	return c.again(ctx, s)
}

// without brings the load balancer to what is asked for but for these requests.
func (c *Controller) without(ctx context.Context, s *scene, suspects []*member, why error) error {
	for _, m := range suspects {
		c.hold(s, m, why)
	}
	return c.again(ctx, s)
}

// again brings the load balancer to what is asked for but for what is held.
func (c *Controller) again(ctx context.Context, s *scene) error {
	s.denied, s.went = nil, false
	lb := s.memory.believed(*s.finding.current, s.readAt, overlay)
	c.merge(s, &lb)
	return c.update(ctx, s)
}

// deny notes that the platform has refused what several Services ask for together.
func (s *scene) deny(err error) {
	if s.shared() && vultr.IsInvalid(err) && !vultr.IsOutcomeUnknown(err) && !vultr.IsConflict(err) {
		s.denied = err
	}
}

// createForAll makes the load balancer. If the platform refuses to make it as all ask for together, it is made for one of them, each time
// for another one: what is refused of the others is found out once it serves.
func (c *Controller) createForAll(ctx context.Context, s *scene) error {
	err := c.create(ctx, s)
	all := s.served()
	if s.denied == nil || len(all) < 2 {
		return err
	}
	refused, one := s.denied, all[s.memory.turn%len(all)].service
	s.memory.turn++
	others := slices.DeleteFunc(all, func(m *member) bool { return m.service.UID == one.UID })
	for _, m := range others {
		m.memory.held.why = waitFor(createPause, "the platform refuses to make the load balancer for all who share it; it is made for Service %s first", nameOf(one))
	}
	s.denied = nil
	c.merge(s, nil)
	err = c.create(ctx, s)
	for _, m := range others {
		m.memory.held = held{}
	}
	if s.denied != nil {
		return both(err, refused)
	}
	return err
}

// holdsAll reports whether nobody's request counts, as some are held.
func (s *scene) holdsAll() bool {
	held := slices.ContainsFunc(s.members, func(m member) bool { return m.held != nil })
	return held && !slices.ContainsFunc(s.members, func(m member) bool { return m.counts() })
}

// referred adds the load balancer of a Service that names an object which has changed.
func (c *Controller) referred(name key) {
	if service, err := c.services.Services(name.Namespace).Get(name.Name); err == nil {
		c.memories.of(service.UID).renewed.Store(true)
	}
	c.enqueueNamed(name)
}
