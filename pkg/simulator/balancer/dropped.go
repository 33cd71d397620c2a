package balancer

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// dropped are the places that no packet reaches, as "tcp 192.0.2.11:31080".
type dropped map[string]bool

func newDropped(drops []simulator.BalancerDrop) dropped {
	d := dropped{}
	for _, drop := range drops {
		network := "tcp"
		if drop.UDP {
			network = "udp"
		}
		d[network+" "+net.JoinHostPort(drop.Address, strconv.Itoa(drop.Port))] = true
	}
	return d
}

// guarded dials as packets travel that a firewall before the backend may drop: who dials there waits in vain. What the
// firewall drops is looked up when somebody dials, for it changes while the load balancer stays.
func (b *balancer) guarded(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if s := b.settings.Load(); s == nil || !s.dropped[network+" "+address] {
			return dial(ctx, network, address)
		}
		lost := &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded} // as the kernel's own would be
		if network == "udp" {                                                       // nobody learns that a datagram is lost
			return nil, lost
		}
		timer := time.NewTimer(dialTimeout)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, lost
		}
	}
}
