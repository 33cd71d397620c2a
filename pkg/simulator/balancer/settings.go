package balancer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// The platform's defaults, for a spec that names none.
const (
	defaultTimeout  = 600 * time.Second
	defaultInterval = 15 * time.Second
)

// settings is a spec, validated and compiled. It never changes: a load balancer gets new ones.
type settings struct {
	spec        simulator.BalancerSpec
	own         endpoint
	timeout     time.Duration
	tcp, udp    map[int]simulator.BalancerRule // by frontend port
	quic        map[int]bool                   // ports with HTTP/3
	firewall    firewall
	dropped     dropped
	certificate *tls.Certificate
	// redirectPort is the port of the first https rule, 0 for no redirect.
	redirectPort int
}

// endpoint is the addresses of one load balancer.
type endpoint struct {
	v4 netip.Addr
	v6 netip.Addr // invalid without IPv6
}

func endpointOf(spec simulator.BalancerSpec) (own endpoint, err error) {
	if own.v4, err = netip.ParseAddr(spec.Address); err != nil {
		return own, fmt.Errorf("address: %w", err)
	}
	if spec.AddressV6 != "" {
		if own.v6, err = netip.ParseAddr(spec.AddressV6); err != nil {
			return own, fmt.Errorf("IPv6 address: %w", err)
		}
	}
	return own, nil
}

// all returns the addresses that there are.
func (e endpoint) all() []netip.Addr {
	if e.v6.IsValid() {
		return []netip.Addr{e.v4, e.v6}
	}
	return []netip.Addr{e.v4}
}

// compile validates a spec and names every fault.
func compile(spec simulator.BalancerSpec) (*settings, error) {
	s := &settings{
		spec: spec, timeout: spec.Timeout, firewall: newFirewall(spec.Firewall), dropped: newDropped(spec.Dropped),
		tcp: map[int]simulator.BalancerRule{}, udp: map[int]simulator.BalancerRule{}, quic: map[int]bool{},
	}
	if s.timeout <= 0 {
		s.timeout = defaultTimeout
	}
	if hc := &s.spec.HealthCheck; hc.Interval <= 0 {
		hc.Interval = defaultInterval
	}
	var faults []error
	var err error
	if s.own, err = endpointOf(spec); err != nil {
		faults = append(faults, err)
	}
	for _, rule := range spec.Rules {
		faults = append(faults, s.add(rule))
	}
	for port := range s.quic {
		if other, taken := s.udp[port]; taken {
			faults = append(faults, fmt.Errorf("rule %s: HTTP/3 is on port %d", other.ID, port))
		}
	}
	if spec.Certificate != nil {
		pair, err := tls.X509KeyPair(spec.Certificate.CertificatePEM, spec.Certificate.PrivateKeyPEM)
		if err != nil {
			faults = append(faults, fmt.Errorf("certificate: %w", err))
		}
		s.certificate = &pair
	}
	for _, backend := range spec.Backends {
		if _, err := netip.ParseAddr(backend.Address); err != nil {
			faults = append(faults, fmt.Errorf("backend %s: %w", backend.InstanceID, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("load balancer %s: %w", spec.ID, err)
	}
	return s, nil
}

func (s *settings) add(rule simulator.BalancerRule) error {
	if rule.FrontendPort < 1 || rule.FrontendPort > 65535 || rule.BackendPort < 1 || rule.BackendPort > 65535 {
		return fmt.Errorf("rule %s: ports %d and %d: between 1 and 65535", rule.ID, rule.FrontendPort, rule.BackendPort)
	}
	ports := s.tcp
	switch rule.FrontendProtocol {
	case "udp":
		ports = s.udp
	case "tcp", "http":
	case "https":
		if s.spec.HTTP3 {
			s.quic[rule.FrontendPort] = true
		}
		if s.spec.SSLRedirect && (s.redirectPort == 0 || rule.FrontendPort == 443) {
			s.redirectPort = rule.FrontendPort
		}
	default:
		return fmt.Errorf("rule %s: unknown protocol %q", rule.ID, rule.FrontendProtocol)
	}
	if _, taken := ports[rule.FrontendPort]; taken {
		return fmt.Errorf("rule %s: port %d is in two rules", rule.ID, rule.FrontendPort)
	}
	ports[rule.FrontendPort] = rule
	return nil
}
