package loadbalancers

import (
	"context"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// memory is what this process knows of a Service beyond what is written down. Losing it costs an Event that was made
// before, never correctness. It is used under the Service's lock.
type memory struct {
	id           string    // the load balancer, until the informer shows the annotation with it
	pendingSince time.Time // when it was first seen being made
	emptySince   time.Time // when no node could be a backend for the first time
	told         string    // the last Warning Event about settings
	skipped      string    // the last one about nodes
	firewallTold bool      // whether an Event about firewall rules of others was made
	lost         string    // a load balancer that was found deleted
}

type memories struct {
	mu    sync.Mutex
	known map[types.UID]*memory
}

func newMemories() memories { return memories{known: map[types.UID]*memory{}} }

func (m *memories) of(service *v1.Service) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[service.UID]
	if known == nil {
		known = &memory{}
		m.known[service.UID] = known
	}
	return known
}

func (m *memories) drop(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, uid)
}

// keyedLock is one lock for each Service: the library changes backends beside its queue.
type keyedLock struct {
	mu   *sync.Mutex
	held map[types.UID]*hold
}

type hold struct {
	token chan struct{}
	users int
}

func newKeyedLock() keyedLock { return keyedLock{mu: &sync.Mutex{}, held: map[types.UID]*hold{}} }

// lock waits for the Service's lock, or for the end of ctx.
func (k keyedLock) lock(ctx context.Context, uid types.UID) (unlock func(), err error) {
	k.mu.Lock()
	h := k.held[uid]
	if h == nil {
		h = &hold{token: make(chan struct{}, 1)}
		k.held[uid] = h
	}
	h.users++
	k.mu.Unlock()
	select {
	case h.token <- struct{}{}:
		return func() { <-h.token; k.leave(uid, h) }, nil
	case <-ctx.Done():
		k.leave(uid, h)
		return nil, ctx.Err()
	}
}

func (k keyedLock) leave(uid types.UID, h *hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(k.held, uid)
	}
}

func versionOf(service *v1.Service) uint64 {
	version, err := strconv.ParseUint(service.ResourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return version
}
