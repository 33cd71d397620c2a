package servicelb

import (
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// key names a load balancer: the Service that it serves, or the host of those that share it.
type key = cache.ObjectName

// nameOf returns what a Service is called.
func nameOf(service *v1.Service) key { return key{Namespace: service.Namespace, Name: service.Name} }

// keyOf returns the key of the load balancer that the Service has or is to have: its own name, or that of the Service under
// whose UID the shared one is written down. Who is to share one and does not yet is sent there by its sync.
func (c *Controller) keyOf(service *v1.Service) key {
	host, guest := c.hosts.of(service.UID)
	if !guest {
		return nameOf(service)
	}
	there, err := c.services.Services(host.name.Namespace).Get(host.name.Name)
	if err != nil || there.UID != host.uid {
		return nameOf(service) // the host has vanished, and this one may take its place
	}
	return host.name
}

// add adds the load balancer of a Service. Changes of those that may share one are collected for a moment: one change of the
// load balancer for all of them.
func (c *Controller) add(service *v1.Service) {
	if _, guest := c.hosts.of(service.UID); guest || shareLabel(service) != "" {
		c.queue.AddAfter(c.keyOf(service), sharePause)
		return
	}
	c.queue.Add(c.keyOf(service))
}

// enqueueNamed adds the load balancer of the Service of this name.
func (c *Controller) enqueueNamed(name key) {
	service, err := c.services.Services(name.Namespace).Get(name.Name)
	if err != nil {
		c.queue.Add(name) // the Service is gone, and so is to be what is remembered of it
		return
	}
	c.queue.Add(c.keyOf(service))
}

// wanted reports whether a Service is to have a load balancer, and not on its way to lose it.
func (c *Controller) wanted(service *v1.Service) bool {
	return service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && plan.OfClass(service, c.ClassOnly) && !plan.Disowned(service)
}

// disowns reports whether a Service has given its load balancer up, as it is, and would have one otherwise.
func (c *Controller) disowns(service *v1.Service) bool {
	return service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && plan.OfClass(service, c.ClassOnly) && plan.Disowned(service)
}

// sharePause is how long changes of Services that may share a load balancer are collected.
const sharePause = 500 * time.Millisecond

// shareLabel returns the label by which a Service shares a load balancer with others, "" if it can't share one.
func shareLabel(service *v1.Service) string {
	name := text(service, settings.Label)
	if proof.MatchString(name) || len(name) > longestLabel {
		return ""
	}
	return name
}

// longestLabel bounds what is written down of those that share a load balancer, beside what is of others.
const longestLabel = 255

// mayShare reports whether a Service can be one of several on a load balancer.
func (c *Controller) mayShare(service *v1.Service) bool {
	return shareLabel(service) != "" && c.wanted(service) && plan.Managed(service)
}

// host is the Service under whose UID a shared load balancer is written down.
type host struct {
	uid  types.UID
	name key
}

// hosts has the host of each Service that is written down as a guest. It mirrors the ledger, for those who can't read all of it
// each time. Its zero value is empty.
type hosts struct {
	mu     sync.Mutex
	guests map[types.UID]host
}

func (h *hosts) of(guest types.UID) (host, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, ok := h.guests[guest]
	return found, ok
}

// isGuest reports whether a Service is written down as a guest.
func (c *Controller) isGuest(uid types.UID) bool {
	_, guest := c.hosts.of(uid)
	return guest
}

// mirror says what is written down of a host now. Those that are its guests no more are looked at: until now that was done by the name of
// the host alone.
func (c *Controller) mirror(uid types.UID, entry ledger.Entry) { c.wake(c.hosts.set(uid, entry)) }

// set says what is written down of a host now, and returns the Services that are its guests no more.
func (h *hosts) set(uid types.UID, entry ledger.Entry) (left []types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for guest, of := range h.guests {
		if of.uid == uid && !entry.Guests.Has(guest) {
			delete(h.guests, guest)
			left = append(left, guest)
		}
	}
	name, ok := serviceOf(entry)
	if entry.Guests == "" || !ok {
		return left
	}
	if h.guests == nil {
		h.guests = map[types.UID]host{}
	}
	for _, guest := range entry.Guests.List() {
		h.guests[guest] = host{uid, name}
	}
	return left
}

// learn takes over what another controller has written down, and returns the Services that are guests of those no more whose guests they
// were. The entries are read meanwhile, so that none is older than what was set before.
func (h *hosts) learn(read func() map[types.UID]ledger.Entry) (left []types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	entries := read()
	for guest, of := range h.guests {
		if !entries[of.uid].Guests.Has(guest) {
			delete(h.guests, guest)
			left = append(left, guest)
		}
	}
	for uid, entry := range entries {
		name, ok := serviceOf(entry)
		for _, guest := range entry.Guests.List() {
			if _, known := h.guests[guest]; known || !ok {
				continue
			}
			if h.guests == nil {
				h.guests = map[types.UID]host{}
			}
			h.guests[guest] = host{uid, name}
		}
	}
	return left
}

// company returns the UIDs of the Services that are on a load balancer together with this one, as far as they are written down.
func (h *hosts) company(uid types.UID) []types.UID {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := uid
	if found, guest := h.guests[uid]; guest {
		at = found.uid
	}
	company := []types.UID{at}
	for guest, of := range h.guests {
		if of.uid == at {
			company = append(company, guest)
		}
	}
	return company
}

// together returns the names of all Services that a sync of this one may touch: those that share its load balancer, and those
// that may come to do so. No two syncs touch the same Service at a time.
func (c *Controller) together(name key) []key {
	service, err := c.services.Services(name.Namespace).Get(name.Name)
	if err != nil {
		return []key{name}
	}
	company, shares := c.hosts.company(service.UID), shareLabel(service)
	if len(company) == 1 && company[0] == service.UID && shares == "" {
		return []key{name}
	}
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return []key{name} // a lister over an informer has no errors
	}
	names, leaves := []key{name}, c.abroad.lets(service.Namespace, shares)
	for _, other := range all {
		mate := shares != "" && shareLabel(other) == shares && (other.Namespace == service.Namespace || leaves && c.abroad.lets(other.Namespace, shares))
		if other.UID != service.UID && (mate || slices.Contains(company, other.UID)) {
			names = append(names, nameOf(other))
		}
	}
	return names
}

// abroad are the labels that Namespaces let their Services share with those of others, as their annotations were read last. A sync
// keeps Services of another Namespace to itself by that: else whoever writes a label could hold up those of others who have the same.
// Its zero value is empty.
type abroad struct {
	mu  sync.Mutex
	all map[permit]bool
}

// permit is what an administrator allows.
type permit struct{ namespace, label string }

// note remembers what was read, and returns what was remembered.
func (a *abroad) note(namespace, label string, allowed bool) (before bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := permit{namespace, label}
	before = a.all[at]
	switch {
	case !allowed:
		delete(a.all, at)
	case a.all == nil:
		a.all = map[permit]bool{at: true}
	default:
		a.all[at] = true
	}
	return before
}

func (a *abroad) lets(namespace, label string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[permit{namespace, label}]
}

// claimPause is when a load balancer's turn comes again whose Services are being dealt with.
const claimPause = 250 * time.Millisecond

// claim keeps all other syncs from the Services that this one may touch, until they are given back. It returns false if one of
// them is being dealt with.
func (c *Controller) claim(name key) ([]key, bool) {
	names := c.together(name)
	if !c.atWork.begin(names...) {
		return nil, false
	}
	// Whoever held one of them until now may have written down others.
	for _, other := range c.together(name) {
		if !slices.Contains(names, other) {
			c.atWork.end(names...)
			return nil, false
		}
	}
	return names, true
}
