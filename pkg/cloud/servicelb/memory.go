package servicelb

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// memories are what this process knows of Services beyond what is written down. Losing them costs a look, or an Event
// that was made before, never correctness.
type memories struct {
	mu    sync.Mutex
	known map[types.UID]*memory
}

// memory is that of one Service. Only the worker that syncs the Service uses it, except for status, noted and renewed.
type memory struct {
	// status is what was written into the Service last.
	status atomic.Pointer[v1.LoadBalancerStatus]
	// noted is the load balancer's ID that was written into the Service last.
	noted atomic.Pointer[string]
	// renewed is set when an object has changed that the Service names.
	renewed atomic.Bool

	annotated    string         // the load balancer's ID that the Service has got, which the ledger may not say yet
	pendingSince time.Time      // when it was first seen being made
	pendingAge   time.Duration  // how long after that it was looked at last
	absentSince  time.Time      // since when it was not found without a break
	emptySince   time.Time      // when no node could be a backend for the first time
	busySince    time.Time      // since when the platform has refused changes for now
	halfSince    time.Time      // since when it has an address of one family, and the Service has two
	doubtSince   time.Time      // when an answer about the last change was lost
	bareSince    time.Time      // since when a certificate that nobody asks for is not shown, though the ledger knows one
	sent         []change       // what was changed and may not be shown yet
	previewed    time.Time      // when it was told what will change at one that was taken over
	applied      bool           // whether it was once seen, or made, as its Service asks for
	asked        string         // what it was asked to be then
	company      ledger.Members // who shared it then
	knownID      string         // the load balancer that was last found to be the Service's
	knownSince   time.Time      // since when it is
	places       *places        // where the pods are and were that its backends follow, nil if they follow none
	frozen       int            // how many backends there were while no other node was to become one, as nobody knows which ones are meant
	lacking      []string       // the instances of nodes that the list of instances lacks
	lackingSince time.Time      // when it was found to lack another one last
	finalized    bool           // whether the finalizer was put there by this process
	unfitUntil   time.Time      // until when it makes no load balancer for others, since its finalizer can't be written
	held         held           // what the platform has refused of what the Service asks for on a load balancer that it shares
	turn         int            // for which of those that share it a load balancer is made that the platform refuses to make for all
	ensuring     bool           // whether the Event that work begins was made since the last one that it ended
	deleting     bool           // whether the Event that it is being deleted was made
	told         map[topic]string
	dropped      map[string]bool // the load balancers whose deletion was accepted
	trusted      map[string]bool // the load balancers that serve this cluster, or that a person says are its own

	missed       string    // the ID that the Service names and that no read shows
	missedSince  time.Time // since when
	dead         string    // the ID that the Service names and that is proven not to exist
	refused      string    // the ID that the Service names and may not have
	refusedUntil time.Time // when that is judged again
}

// change is what was sent to a load balancer and when its answer came.
type change struct {
	id       string
	settings vultr.LoadBalancerSettings
	at       time.Time
}

// topic is what an Event is about that is made once for each new text.
type topic int

const (
	aboutSettings topic = iota
	aboutNodes
	aboutFirewall
	aboutLabel
	aboutLateness
	aboutStrays
	aboutFailure
	aboutHint
	aboutOutcome
	aboutFamilies
	aboutProtection
	aboutSelector
	aboutNetwork
	aboutBackends
	aboutPorts
	aboutShared
	aboutApart
	aboutRegions
	aboutDrift
)

func (m *memories) of(uid types.UID) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[uid]
	if known == nil {
		known = &memory{told: map[topic]string{}, dropped: map[string]bool{}, trusted: map[string]bool{}}
		m.known[uid] = known
	}
	return known
}

// pass gives what is known of a load balancer to the Service under whose UID it is written down from now on.
func (m *memories) pass(from, to types.UID) {
	old, heir := m.of(from), m.of(to)
	heir.sent, heir.doubtSince, heir.busySince, heir.emptySince = old.sent, old.doubtSince, old.busySince, old.emptySince
	heir.knownID, heir.knownSince, heir.pendingSince, heir.pendingAge = old.knownID, old.knownSince, old.pendingSince, old.pendingAge
	maps.Copy(heir.trusted, old.trusted)
	heir.places, old.places = old.places, nil
	old.applied, heir.applied = false, false // it is brought to what others ask for
	old.sent, old.knownID, old.knownSince, old.pendingSince, old.absentSince = nil, "", time.Time{}, time.Time{}, time.Time{}
}

// keep drops what is known of Services that are no more.
func (m *memories) keep(there map[types.UID]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid := range m.known {
		if !there[uid] {
			delete(m.known, uid)
		}
	}
}

func (m *memories) drop(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, uid)
}

// news reports whether the text is another than the last one about the topic, and remembers it. Nothing to say is
// never news, but makes the next text one.
func (m *memory) news(about topic, text string) bool {
	if m.told[about] == text {
		return false
	}
	m.told[about] = text
	return text != ""
}

// busy returns how long to wait for a load balancer that refuses a change for now: longer, the longer it does.
func (m *memory) busy(shortest time.Duration) time.Duration {
	if m.busySince.IsZero() {
		m.busySince = time.Now()
	}
	return min(max(time.Since(m.busySince)/8, shortest), lateWait)
}

// lastWrite returns when the last change was answered, the zero Time if none is remembered.
func (m *memory) lastWrite() time.Time {
	if len(m.sent) == 0 {
		return time.Time{}
	}
	return m.sent[len(m.sent)-1].at
}

// believed returns the load balancer with what was sent to it and may not be shown yet, and forgets what must be. Reads
// lag behind writes: without this a change would be sent twice, or one that takes another back not at all.
func (m *memory) believed(lb vultr.LoadBalancer, readBegan time.Time, overlay func(vultr.LoadBalancer, vultr.LoadBalancerSettings) vultr.LoadBalancer) vultr.LoadBalancer {
	kept := m.sent[:0]
	for _, c := range m.sent {
		if readBegan.Sub(c.at) < visibleAfter {
			kept = append(kept, c)
		}
	}
	clear(m.sent[len(kept):]) // which holds lists of backends
	m.sent = kept
	for _, c := range m.sent {
		if c.id == lb.ID {
			lb = overlay(lb, c.settings)
		}
	}
	return lb
}

// missing remembers instances that the platform refused as backends because it does not know them, across all load
// balancers: each would otherwise find out by a refusal of its own.
type missing struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// missingFor is how long a refused instance is left out before it is tried again.
const missingFor = 10 * time.Minute

func (m *missing) add(ids []string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.since, func(_ string, since time.Time) bool { return now.Sub(since) >= missingFor })
	for _, id := range ids {
		m.since[id] = now
	}
}

// none reports whether nothing is remembered.
func (m *missing) none() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.since) == 0
}

// has reports whether it is remembered.
func (m *missing) has(id string, now time.Time) bool {
	_, left := m.filter([]string{id}, now)
	return len(left) > 0
}

// filter returns the instances without those that are remembered, and those.
func (m *missing) filter(ids []string, now time.Time) (known, left []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		since, there := m.since[id]
		switch {
		case !there:
			known = append(known, id)
		case now.Sub(since) >= missingFor:
			delete(m.since, id)
			known = append(known, id)
		default:
			left = append(left, id)
		}
	}
	return known, left
}

// sets gives changes with the same backends one list of them. Each load balancer remembers what was sent to it for minutes, and a node
// that comes or goes changes hundreds of them, in front of thousands of nodes.
type sets struct {
	mu   sync.Mutex
	last *[]string
}

// shared returns these backends, as the list that was sent last if that has the same.
func (s *sets) shared(backends *[]string) *[]string {
	if backends == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil || !slices.Equal(*s.last, *backends) {
		s.last = backends
	}
	return s.last
}
