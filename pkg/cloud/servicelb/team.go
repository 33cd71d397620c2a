package servicelb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Services that name the same label share one load balancer, if they are in one Namespace, or the administrators of both
// Namespaces allow it. It is written down under the UID of one of them, its host, with the others as guests. A Service that has
// a load balancer of its own keeps that: no setting takes an address away.

// team is who is to share one load balancer.
type team struct {
	host    *v1.Service
	guests  []*v1.Service // the oldest first
	leaving []types.UID   // those that are written down as guests and share it no more
	// disowned are those that are written down as guests and have given it up as it is: it keeps their ports.
	disowned []*v1.Service
}

// census is what there is of Services and their load balancers at one moment.
type census struct {
	services map[types.UID]*v1.Service
	entries  map[types.UID]ledger.Entry
	readings map[types.UID]plan.Reading // of those that were read so far
	guests   map[types.UID][]types.UID  // under whose UIDs each guest is written down, nil until that is asked for; see written
}

func (c *Controller) census() (*census, error) {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	n := &census{services: make(map[types.UID]*v1.Service, len(all)), entries: c.ledger.All(), readings: map[types.UID]plan.Reading{}}
	for _, service := range all {
		n.services[service.UID] = service
	}
	return n, nil
}

// hosts reports whether a load balancer is or may be written down under the UID.
func (n *census) hosts(uid types.UID) bool {
	entry := n.entries[uid]
	return entry.ID != "" || !entry.Tried.IsZero() || entry.Guests != ""
}

// set puts another entry in the place of one.
func (n *census) set(uid types.UID, entry ledger.Entry) { n.entries[uid], n.guests = entry, nil }

// written returns under whose UIDs a Service is written down as a guest. It is asked for each pair of those who have one label, so that
// all entries are gone through once.
func (n *census) written(guest types.UID) []types.UID {
	if n.guests == nil {
		n.guests = map[types.UID][]types.UID{}
		for uid, entry := range n.entries {
			for _, member := range entry.Guests.List() {
				if member != uid {
					n.guests[member] = append(n.guests[member], uid)
				}
			}
		}
	}
	return n.guests[guest]
}

// recordedBesides reports whether the load balancer that is written down under a UID is so under another one, too.
func (n *census) recordedBesides(uid types.UID) bool {
	id := n.entries[uid].ID
	for other, entry := range n.entries {
		if other != uid && id != "" && entry.ID == id && entry.Left == "" {
			return true
		}
	}
	return false
}

// hostOf returns under whose UID a Service is written down as a guest. There are two for a moment while a load balancer is
// handed over: then it is the one who goes on.
func (c *Controller) hostOf(n *census, guest types.UID) (types.UID, bool) {
	found := n.written(guest)
	if len(found) == 0 {
		return "", false
	}
	goes := func(uid types.UID) int {
		if service := n.services[uid]; service != nil && c.mayShare(service) {
			return 0
		}
		return 1
	}
	return slices.MinFunc(found, func(a, b types.UID) int { return cmp.Or(goes(a)-goes(b), cmp.Compare(a, b)) }), true
}

// teamOf returns the team of a Service that wants a load balancer. If its host is another Service, that one's sync does all.
func (c *Controller) teamOf(ctx context.Context, service *v1.Service) (team, error) {
	if shareLabel(service) == "" && len(c.hosts.company(service.UID)) == 1 {
		return team{host: service}, nil
	}
	n, err := c.census()
	if err != nil {
		return team{}, err
	}
	if n.hosts(service.UID) {
		host, err := c.settleHandover(ctx, n, service)
		if err != nil || host.UID != service.UID {
			return team{host: host}, err
		}
		return c.hosted(ctx, n, service)
	}
	if uid, guest := c.hostOf(n, service.UID); guest {
		if n.services[uid] != nil {
			return team{host: n.services[uid]}, nil
		}
		if err := c.inherit(ctx, n, service, uid); err != nil {
			return team{}, err
		}
		return c.hosted(ctx, n, service)
	}
	mates, err := c.mates(ctx, n, service)
	if err != nil {
		return team{}, err
	}
	if chosen := c.choose(ctx, n, service, c.sharersOf(n, service, mates)); chosen.UID != service.UID {
		return team{host: chosen}, nil
	}
	return c.hosted(ctx, n, service)
}

// mostMembers is how many Services may share a load balancer, which forwards far fewer ports. All of them are read in each sync and
// written down in one record, beside those of others.
const mostMembers = 50

// full reports whether no other Service can come to share the load balancer of a host.
func (c *Controller) full(host *v1.Service) bool {
	return len(c.hosts.company(host.UID)) >= mostMembers
}

// hosted returns the team of a host.
func (c *Controller) hosted(ctx context.Context, n *census, service *v1.Service) (team, error) {
	t, guests := team{host: service}, n.entries[service.UID].Guests.List()
	mates, err := c.mates(ctx, n, service)
	if err != nil {
		return t, err
	}
	all := c.sharersOf(n, service, mates)
	mates = slices.DeleteFunc(mates, func(mate *v1.Service) bool { return n.hosts(mate.UID) }) // one with a load balancer of its own
	stay := map[types.UID]bool{}
	for _, mate := range mates {
		if slices.Contains(guests, mate.UID) {
			stay[mate.UID] = true
		}
	}
	room := mostMembers - 1 - len(stay)
	for _, mate := range mates {
		_, guest := c.hostOf(n, mate.UID)
		comes := !guest && room > 0 && c.choose(ctx, n, mate, all).UID == service.UID
		if comes {
			room--
		}
		if comes || stay[mate.UID] {
			t.guests = append(t.guests, mate)
		}
	}
	guests = slices.DeleteFunc(guests, func(uid types.UID) bool { return stay[uid] })
	err = c.addRest(ctx, n, &t, guests)
	return t, err
}

// addRest adds the guests of a team that do not share its load balancer any more.
func (c *Controller) addRest(ctx context.Context, n *census, t *team, guests []types.UID) error {
	for _, uid := range guests {
		asIs, err := c.leavesAsIs(ctx, n.services[uid], t.host)
		switch {
		case err != nil:
			return err
		case asIs:
			t.disowned = append(t.disowned, n.services[uid])
		default:
			t.leaving = append(t.leaving, uid)
		}
	}
	return nil
}

// leavesAsIs reports whether a guest has given the load balancer of a host up as it is. That holds as long as it exists, and could share it:
// its node ports are another one's then.
func (c *Controller) leavesAsIs(ctx context.Context, guest, host *v1.Service) (bool, error) {
	if guest == nil || !c.disowns(guest) {
		return false, nil
	}
	name := shareLabel(host)
	if guest.Namespace == host.Namespace || name == "" {
		return guest.Namespace == host.Namespace, nil
	}
	for _, one := range []*v1.Service{host, guest} {
		if allowed, err := c.allowsSharing(ctx, one, name); !allowed || err != nil {
			return false, err
		}
	}
	return true, nil
}

// mates returns the Services that may share a load balancer with this one, the oldest first.
func (c *Controller) mates(ctx context.Context, n *census, service *v1.Service) ([]*v1.Service, error) {
	name := shareLabel(service)
	if name == "" {
		return nil, nil
	}
	var mates []*v1.Service
	elsewhere := map[string]bool{}
	for _, other := range n.services {
		if other.UID == service.UID || shareLabel(other) != name || !c.mayShare(other) {
			continue
		}
		mates = append(mates, other)
		if other.Namespace != service.Namespace {
			elsewhere[other.Namespace] = true
		}
	}
	allowed := map[string]bool{service.Namespace: true}
	if len(elsewhere) > 0 {
		own, err := c.allowsSharing(ctx, service, name)
		if err != nil {
			return nil, err
		}
		for _, other := range mates {
			if _, asked := allowed[other.Namespace]; asked || !own {
				continue
			}
			if allowed[other.Namespace], err = c.allowsSharing(ctx, other, name); err != nil {
				return nil, err
			}
		}
	}
	mates = slices.DeleteFunc(mates, func(other *v1.Service) bool { return !allowed[other.Namespace] })
	slices.SortFunc(mates, plan.ByAge)
	return mates, nil
}

// allowsSharing reports whether the administrator of a Service's Namespace lets its Services share the load balancer of this
// label with those of other Namespaces. The word is listened to from now on.
func (c *Controller) allowsSharing(ctx context.Context, service *v1.Service, name string) (bool, error) {
	namespace, err := c.namespace(ctx, service.Namespace)
	if apierrors.IsNotFound(err) {
		c.abroad.note(service.Namespace, name, false)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.words.follow(nameOf(service), wordOf(namespace))
	allowed := letsShare(namespace, name)
	if known := c.abroad.note(namespace.Name, name, allowed); allowed && !known {
		return false, waitFor(claimPause, "Namespace %s may share the load balancer of another one, whose Services nobody else may touch meanwhile", namespace.Name)
	}
	return allowed, nil
}

// letsShare reports whether a Namespace's annotation names a label.
func letsShare(namespace *v1.Namespace, name string) bool {
	for allowed := range strings.SplitSeq(namespace.Annotations[string(settings.AllowSharing)], ",") {
		if strings.TrimSpace(allowed) == name {
			return true
		}
	}
	return false
}

// listensFor reports whether the team of a Service depends on what administrators say about sharing.
func (c *Controller) listensFor(service *v1.Service) bool {
	name := shareLabel(service)
	all, err := c.services.List(labels.Everything())
	if err != nil || name == "" {
		return false
	}
	return slices.ContainsFunc(all, func(other *v1.Service) bool {
		return other.Namespace != service.Namespace && shareLabel(other) == name && c.mayShare(other)
	})
}

// sharers are the Services with one label: those that have a load balancer, the best one to share with first, and those that may make
// one, the oldest first. Each of them is asked whom it joins, so this is found out once for all.
type sharers struct {
	hosts, makers []*v1.Service
}

func (c *Controller) sharersOf(n *census, service *v1.Service, mates []*v1.Service) sharers {
	var all sharers
	for _, one := range append(slices.Clone(mates), service) {
		if c.recordFor(n, one.UID) != (ledger.Entry{}) {
			all.hosts = append(all.hosts, one)
		}
		if _, guest := c.hostOf(n, one.UID); !guest && !n.hosts(one.UID) {
			all.makers = append(all.makers, one)
		}
	}
	alone := func(host *v1.Service) int {
		if c.recordFor(n, host.UID).Guests == "" {
			return 1
		}
		return 0
	}
	slices.SortFunc(all.hosts, func(a, b *v1.Service) int { return cmp.Or(alone(a)-alone(b), plan.ByAge(a, b)) })
	slices.SortFunc(all.makers, plan.ByAge)
	return all
}

// choose returns whose load balancer a Service without one is to share: of its mates one that has a load balancer, best the one
// that is shared already, then the oldest one's. While none has one, the oldest Service without faults makes it.
func (c *Controller) choose(ctx context.Context, n *census, service *v1.Service, all sharers) *v1.Service {
	for _, host := range all.hosts {
		if host.UID != service.UID && !c.asksElsewhere(service, c.recordFor(n, host.UID)) {
			return host
		}
	}
	return c.maker(ctx, n, service, all.makers)
}

// recordFor returns what is written down of the load balancer that a Service has, or inherits from a host that has vanished; the zero
// Entry if it is a guest of one that is there, or has none.
func (c *Controller) recordFor(n *census, uid types.UID) ledger.Entry {
	if n.hosts(uid) {
		return n.entries[uid]
	}
	if at, guest := c.hostOf(n, uid); guest && n.services[at] == nil {
		return n.entries[at]
	}
	return ledger.Entry{}
}

// maker returns who of a Service and its mates is to make the load balancer for them.
func (c *Controller) maker(ctx context.Context, n *census, service *v1.Service, makers []*v1.Service) *v1.Service {
	other := func(maker *v1.Service) bool { return maker.UID != service.UID && namesTheSame(service, maker) }
	if !slices.ContainsFunc(makers, other) {
		return service
	}
	for _, maker := range makers {
		unfit := time.Now().Before(c.memories.of(maker.UID).unfitUntil)
		if !unfit && (maker.UID == service.UID || other(maker)) && able(c.readOnce(ctx, n, maker)) == nil {
			return maker
		}
	}
	return service
}

// able returns what keeps a Service from getting a load balancer, nil if nothing does.
func able(reading plan.Reading) error { return both(reading.Err, reading.MayCreate()) }

// readOnce reads a Service, unless that was done for this census already.
func (c *Controller) readOnce(ctx context.Context, n *census, service *v1.Service) plan.Reading {
	reading, done := n.readings[service.UID]
	if !done {
		reading = c.read(ctx, service)
		n.readings[service.UID] = reading
	}
	return reading
}

// asksElsewhere reports whether a Service names another load balancer than the one of this entry, by its ID, that may exist.
func (c *Controller) asksElsewhere(service *v1.Service, entry ledger.Entry) bool {
	id := named(service)
	return id != "" && id != entry.ID && id != entry.Noted && id != c.memories.of(service.UID).dead
}

// namesTheSame reports whether two Services name no two different load balancers by their IDs.
func namesTheSame(a, b *v1.Service) bool {
	return named(a) == "" || named(b) == "" || named(a) == named(b)
}

// named returns the ID of the load balancer that a Service names, "" if it names none.
func named(service *v1.Service) string {
	id := strings.ToLower(text(service, settings.ID))
	if !vultr.IsID(id) {
		return ""
	}
	return id
}
