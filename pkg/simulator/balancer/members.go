package balancer

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// member is one backend as it lives: with its checks and its connections.
type member struct {
	backend simulator.BalancerBackend
	// token names it in sticky cookies, without telling clients an ID.
	token string
	stop  context.CancelFunc

	// guarded by members.mu
	verdict     verdict
	connections int
}

// members are a load balancer's backends.
type members struct {
	log klog.Logger

	mu   sync.Mutex
	list []*member
	// turns counts the connections of each listener, so that two rules which take turns don't share out the backends
	// between each other.
	turns   map[listener]uint64
	check   simulator.BalancerHealthCheck
	workers sync.WaitGroup
}

func newMembers(log klog.Logger) *members {
	return &members{log: log, turns: map[listener]uint64{}}
}

// set makes the list that of the spec. A backend that stays keeps its verdict, also when the way of checking changes.
func (m *members) set(backends []simulator.BalancerBackend, hc simulator.BalancerHealthCheck, dial dialFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := map[simulator.BalancerBackend]*member{}
	for _, old := range m.list {
		before[old.backend] = old
	}
	list := make([]*member, 0, len(backends))
	for _, backend := range backends {
		one := before[backend]
		delete(before, backend)
		switch {
		case one == nil:
			one = &member{backend: backend, token: tokenOf(backend)}
			m.start(one, hc, dial)
		case hc != m.check:
			one.stop()
			m.start(one, hc, dial)
		}
		list = append(list, one)
	}
	for _, gone := range before {
		gone.stop()
	}
	m.list, m.check = list, hc
}

// start begins the checks of one backend.
func (m *members) start(one *member, hc simulator.BalancerHealthCheck, dial dialFunc) {
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop: checks outlive the call that set them up
	one.stop = cancel
	check := checker(hc, one.backend.Address, dial)
	m.workers.Go(func() {
		watch(ctx, hc.Interval, check, func(failure error) { m.report(ctx, one, failure, hc) })
	})
}

func (m *members) report(ctx context.Context, one *member, failure error, hc simulator.BalancerHealthCheck) {
	m.mu.Lock()
	if ctx.Err() != nil { // replaced while it was checked
		m.mu.Unlock()
		return
	}
	before := one.verdict
	one.verdict = before.next(failure, hc.HealthyThreshold, hc.UnhealthyThreshold)
	after := one.verdict
	m.mu.Unlock()
	if before.checked != after.checked || before.healthy != after.healthy {
		m.log.Info("Backend health changed", "instance", one.backend.InstanceID, "address", one.backend.Address,
			"healthy", after.healthy, "reason", after.words())
	}
}

// listener names what a client connects to.
type listener struct {
	udp  bool
	port int
}

func listenerOf(rule simulator.BalancerRule) listener {
	return listener{udp: rule.FrontendProtocol == "udp", port: rule.FrontendPort}
}

// choice is what a connection wants of its backend.
type choice struct {
	listener  listener
	algorithm string
	// sticky is the token that the client's cookie has, "" for none.
	sticky string
	// tried have refused this very connection.
	tried map[*member]bool
}

// acquire chooses a backend for a connection and counts the connection. release gives it back.
func (m *members) acquire(want choice) (*member, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	candidates := make(pool, 0, len(m.list))
	for _, one := range m.list {
		candidates = append(candidates, candidate{
			id: one.token, healthy: one.verdict.healthy, connections: one.connections, tried: want.tried[one],
		})
	}
	i, ok := candidates.pick(want.algorithm, m.turns[want.listener], want.sticky)
	if !ok {
		return nil, false
	}
	m.turns[want.listener]++
	m.list[i].connections++
	return m.list[i], true
}

func (m *members) release(one *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one.connections--
}

// health is what the status page shows.
func (m *members) health() []simulator.BackendHealth {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]simulator.BackendHealth, 0, len(m.list))
	for _, one := range m.list {
		list = append(list, simulator.BackendHealth{
			InstanceID: one.backend.InstanceID, Address: one.backend.Address,
			Healthy: one.verdict.healthy, Reason: one.verdict.words(), Connections: one.connections,
		})
	}
	return list
}

// close ends all checks and waits for them.
func (m *members) close() {
	m.mu.Lock()
	for _, one := range m.list {
		one.stop()
	}
	m.list = nil
	m.mu.Unlock()
	m.workers.Wait()
}

func tokenOf(backend simulator.BalancerBackend) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(backend.InstanceID)) // a hash never fails
	return strconv.FormatUint(sum.Sum64(), 36)
}

// usable reports whether the backend is still one of the load balancer's and healthy.
func (m *members) usable(one *member) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return one.verdict.healthy && slices.Contains(m.list, one)
}
