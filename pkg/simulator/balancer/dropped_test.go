package balancer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// A backend whose own firewall drops what comes is as one that does not answer: not healthy, and without traffic. When
// the firewall changes, so does that, while the load balancer goes on.
func TestBackendBehindAFirewall(t *testing.T) {
	addresses, port := group(t, 2)
	r := newRig(t, rule("tcp", port, port))
	r.spec.HealthCheck = simulator.BalancerHealthCheck{
		Protocol: "tcp", Port: port, Interval: 20 * time.Millisecond, Timeout: 2 * time.Second, UnhealthyThreshold: 1, HealthyThreshold: 1,
	}
	for _, address := range addresses {
		echo(t, address, port)
	}
	r.backends(addresses)
	r.spec.Dropped = []simulator.BalancerDrop{{Address: addresses[0], Port: port}}
	r.apply()
	r.await(1)
	for _, b := range r.plane.Health(r.spec.ID) {
		if b.Healthy != (b.Address == addresses[1]) {
			t.Errorf("backend %+v", b)
		}
	}
	r.spec.Dropped = nil
	r.apply()
	r.await(2)
	r.spec.Dropped = []simulator.BalancerDrop{{Address: addresses[0], Port: port}, {Address: addresses[1], Port: port}}
	r.apply()
	r.await(0)
	r.spec.Dropped = []simulator.BalancerDrop{{Address: addresses[0], Port: port, UDP: true}}
	r.apply()
	r.await(2)
}

// TestLostPackets: who dials a place that no packet reaches learns the same as from the kernel, so that a request, too,
// goes to another backend.
func TestLostPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &balancer{}
		b.settings.Store(&settings{dropped: newDropped([]simulator.BalancerDrop{{Address: "192.0.2.1", Port: 80}})})
		began := time.Now()
		_, err := b.guarded(nil)(t.Context(), "tcp", "192.0.2.1:80")
		if !isDialError(err) || reasonOf(err) != "no answer in time" || time.Since(began) != dialTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}
