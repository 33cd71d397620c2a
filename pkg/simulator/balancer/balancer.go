package balancer

import (
	"context"
	"net/http"
	"net/http/httputil"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// balancer is one load balancer. apply and close are never called at once.
type balancer struct {
	log     klog.Logger
	limits  limits
	members *members
	// budget is of clients' connections, exchanges of HTTP requests: one connection can carry many at once.
	budget, exchanges *budget
	settings          atomic.Pointer[settings]
	upstream          atomic.Pointer[upstream]
	proxy             *httputil.ReverseProxy

	fronts fronts
}

// upstream is the HTTP transport to the backends. It is made again when what it was made for changes.
type upstream struct {
	made      upstreamOptions
	transport *http.Transport
}

func newBalancer(log klog.Logger, limits limits) *balancer {
	most := int64(limits.connections)
	b := &balancer{
		log: log, limits: limits, members: newMembers(log),
		budget: &budget{limit: most}, exchanges: &budget{limit: most}, fronts: newFronts(),
	}
	b.proxy = newProxy(b)
	return b
}

// apply opens what is new, then switches to the new settings, then closes what is not wanted any more. It fails only
// while nothing has changed yet, unless a
// port changes hands between a udp rule and HTTP/3.
func (b *balancer) apply(ctx context.Context, wanted *settings) error {
	if b.datagramsCollide(wanted) {
		b.fronts.closeDatagrams(wanted.listens)
	}
	opened, err := b.open(ctx, wanted)
	if err != nil {
		return err
	}
	b.switchTo(wanted) //nolint:contextcheck // health checks outlive the call that sets them up
	b.fronts.startAll(opened)
	b.fronts.closeUnwanted(wanted)
	return nil
}

// datagramsCollide reports whether a port changes between a udp rule and HTTP/3: both cannot listen there at once, so
// that the old listener has to go before the new one comes.
func (b *balancer) datagramsCollide(wanted *settings) bool {
	for at := range b.fronts.udp {
		if _, _, quic := wanted.listens(at); quic {
			return true
		}
	}
	for at := range b.fronts.quic {
		if _, udp, _ := wanted.listens(at); udp {
			return true
		}
	}
	return false
}

func (b *balancer) switchTo(wanted *settings) {
	dial := b.guarded(dialFrom(wanted.own))
	options := upstreamOptions{own: wanted.own, proxyProtocol: wanted.spec.ProxyProtocol}
	before := b.upstream.Load()
	if before == nil || before.made != options {
		b.upstream.Store(&upstream{made: options, transport: newTransport(options, b.limits, dial)})
	}
	b.settings.Store(wanted)
	b.members.set(wanted.spec.Backends, wanted.spec.HealthCheck, dial)
	if before != nil && before != b.upstream.Load() {
		before.transport.CloseIdleConnections()
	}
}

func (b *balancer) close() {
	b.fronts.closeUnwanted(nil)
	b.members.close()
	if up := b.upstream.Load(); up != nil {
		up.transport.CloseIdleConnections()
	}
}
