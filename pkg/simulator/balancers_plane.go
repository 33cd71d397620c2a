package simulator

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// activateBalancer reserves the address, starts the listeners and then shows the load balancer as active. Its address
// appears a little later.
func (s *Simulator) activateBalancer(ctx context.Context, job jobs.Job) (commit, error) {
	l, ok := s.balancers.Get(job.Target)
	if !ok {
		return nil, nil
	}
	if s.cfg.Balancers != nil {
		var err error
		if l.Address, l.AddressV6, err = s.cfg.Balancers.Addresses(ctx, l.ID); err != nil {
			return nil, fmt.Errorf("reserve an address: %w", err)
		}
		// A listener that cannot be opened, as somebody else has the port, does not keep it pending: then it could be
		// neither changed nor deleted. Settling it tries again, and says what is wrong.
		if err := s.cfg.Balancers.Apply(ctx, s.balancerSpec(l)); err != nil && ctx.Err() != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		now, ok := s.balancers.GetIn(tx, l.ID)
		if !ok {
			s.scheduleSettle(tx, jobBalancerSettle, l.ID)
			return nil
		}
		now.Active, now.Address, now.AddressV6 = true, l.Address, l.AddressV6
		if s.cfg.Balancers == nil {
			now.Address, now.AddressV6 = s.freeBalancerAddress(tx), ""
		}
		now.AddressShown = !s.keeps(quirkLBAddress)
		s.balancers.Put(tx, l.ID, now)
		s.schedule(tx, jobBalancerAddress, l.ID, "", s.cfg.Delays.LoadBalancerAddress)
		// Servers may have come, gone or stopped while the listeners were started.
		s.scheduleSettle(tx, jobBalancerSettle, l.ID)
		return nil
	}, nil
}

func (s *Simulator) showBalancerAddress(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		if l, ok := s.balancers.GetIn(tx, job.Target); ok {
			l.AddressShown = true
			s.balancers.Put(tx, l.ID, l)
		}
		return nil
	}, nil
}

// settleBalancer makes the data plane what the API says.
func (s *Simulator) settleBalancer(ctx context.Context, job jobs.Job) (commit, error) {
	if s.cfg.Balancers == nil {
		return nil, nil
	}
	l, ok := s.balancers.Get(job.Target)
	switch {
	case !ok:
		return nil, s.cfg.Balancers.Remove(ctx, job.Target)
	case l.Active:
		return nil, s.cfg.Balancers.Apply(ctx, s.balancerSpec(l))
	}
	return nil, nil
}

func (s *Simulator) balancerSpec(l loadBalancer) BalancerSpec {
	h := l.HealthCheck
	spec := BalancerSpec{
		ID: l.ID, Address: l.Address, AddressV6: l.AddressV6, Algorithm: l.Algorithm, Timeout: time.Duration(l.Timeout) * time.Second,
		SSLRedirect: l.SSLRedirect, ProxyProtocol: l.ProxyProtocol, HTTP2: l.HTTP2, HTTP3: l.HTTP3, StickyCookie: l.StickyCookie,
		HealthCheck: BalancerHealthCheck{
			Protocol: h.Protocol, Port: h.Port, Path: h.Path,
			Interval: s.scaled(time.Duration(h.CheckInterval) * time.Second), Timeout: time.Duration(h.ResponseTimeout) * time.Second,
			UnhealthyThreshold: h.UnhealthyThreshold, HealthyThreshold: h.HealthyThreshold,
		},
	}
	if l.Certificate != nil {
		spec.Certificate = &BalancerCertificate{CertificatePEM: []byte(l.Certificate.Cert), PrivateKeyPEM: []byte(l.Certificate.Key)}
	}
	for _, r := range l.Rules {
		spec.Rules = append(spec.Rules, BalancerRule(r))
	}
	for _, r := range l.Firewall {
		spec.Firewall = append(spec.Firewall, BalancerFirewallRule{Port: r.Port, Source: r.Source, IPType: r.IPType})
	}
	for _, id := range l.Instances {
		address := ""
		if i, ok := s.instances.Get(id); ok && i.up() && !i.Deleting {
			address = i.reachedAt(l.VPC, i.MainIP)
			spec.Dropped = append(spec.Dropped, s.drops(l, i, address)...)
		} else if m, ok := s.metals.Get(id); ok && m.running() {
			address = m.reachedAt(l.VPC, m.MainIP)
		}
		if address != "" {
			spec.Backends = append(spec.Backends, BalancerBackend{InstanceID: id, Address: address})
		}
	}
	return spec
}

// reachedAt returns the address at which a load balancer reaches the server, "" if it does not. Through a VPC it reaches only what
// is in it. Nothing carries a VPC's packets here, so they go to the public address all the same, where there is one.
func (n interfaces) reachedAt(vpcID, public string) string {
	if vpcID == "" {
		return public
	}
	for _, i := range n.NICs {
		if i.VPC == vpcID {
			return cmp.Or(public, i.Address)
		}
	}
	return ""
}

// firstBalancerAddress begins the addresses of load balancers that have no data plane: nobody listens there.
var firstBalancerAddress = netip.MustParseAddr("198.19.0.1")

func (s *Simulator) freeBalancerAddress(tx *store.Tx) string {
	used := map[string]bool{}
	for _, l := range s.balancers.AllIn(tx) {
		used[l.Address] = true
	}
	addr := firstBalancerAddress
	for used[addr.String()] {
		addr = addr.Next()
	}
	return addr.String()
}
