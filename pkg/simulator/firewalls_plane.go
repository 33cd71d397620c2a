package simulator

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// admits reports whether a group lets a load balancer's traffic reach a port.
func (g firewallGroup) admits(balancerID string, from netip.Addr, protocol string, port int) bool {
	for _, r := range g.Rules {
		if r.Filter.Protocol == protocol && r.Filter.coversPort(port) && r.Filter.coversSource(balancerID, from) {
			return true
		}
	}
	return false
}

func (f firewallSpec) coversPort(port int) bool {
	from, to, isRange := strings.Cut(f.Port, ":")
	if !isRange {
		to = from
	}
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	return err1 == nil && err2 == nil && first <= port && port <= last
}

// coversSource takes the load balancer that the rule names, or one whose address is in the rule's subnet.
func (f firewallSpec) coversSource(balancerID string, from netip.Addr) bool {
	if f.Source != "" {
		return f.Source == balancerID
	}
	addr, err := netip.ParseAddr(f.Subnet)
	if err != nil {
		return false
	}
	prefix, err := addr.Prefix(f.SubnetSize)
	return err == nil && prefix.Contains(from)
}

// drops tells which ports of a backend, which it reaches at the address, a load balancer does not reach because the backend's
// firewall group does not admit it. Groups guard public interfaces: what comes through a VPC is not filtered.
func (s *Simulator) drops(l loadBalancer, i instance, address string) []BalancerDrop {
	g, ok := s.firewalls.Get(i.FirewallGroup)
	from, err := netip.ParseAddr(l.Address)
	if !ok || err != nil || address == "" || (l.VPC != "" && s.keeps(quirkVPCNotFiltered)) {
		return nil
	}
	var out []BalancerDrop
	judge := func(protocol string, port int) {
		if !g.admits(l.ID, from, protocol, port) {
			out = append(out, BalancerDrop{Address: address, Port: port, UDP: protocol == "udp"})
		}
	}
	for _, r := range l.Rules {
		if r.BackendProtocol == "udp" {
			judge("udp", r.BackendPort)
		} else {
			judge("tcp", r.BackendPort)
		}
	}
	judge("tcp", l.HealthCheck.Port)
	return out
}

// filterAnew lets changed rules of instances take effect, a little later.
func (s *Simulator) filterAnew(tx *store.Tx, instanceIDs ...string) {
	for _, id := range instanceIDs {
		s.schedule(tx, jobFirewall, id, "", s.cfg.Delays.Firewall)
	}
}

func (s *Simulator) finishFirewall(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		s.settleBalancersOf(tx, job.Target)
		return nil
	}, nil
}

// guardedBy names the instances that have a firewall group.
func (s *Simulator) guardedBy(tx *store.Tx, group string) []string {
	var ids []string
	for id, i := range s.instances.AllIn(tx) {
		if i.FirewallGroup == group {
			ids = append(ids, id)
		}
	}
	return ids
}
