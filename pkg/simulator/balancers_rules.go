package simulator

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

const (
	maxForwardingRules = 15
	maxBalancerNodes   = 99
	reservedPortsFrom  = 65300
	reservedPortsTo    = 65310
	maxHealthSeconds   = 300
)

// backendProtocols are the protocols that each frontend protocol can be sent on as.
var backendProtocols = map[string][]string{
	"tcp": {"tcp"}, "udp": {"udp"}, "http": {"http", "https"}, "https": {"http", "https"},
}

func (s *Simulator) mayBalanceIn(regionID string) *wire.Error {
	r, ok := findRegion(regionID)
	if !ok {
		return ours("Invalid region.")
	}
	if !r.sells(optionLoadBalancers) && s.keeps(quirkLBRegions) {
		return ours("Load balancers are not available in this region.")
	}
	return nil
}

// checkBackends demands servers that exist in the load balancer's region.
func (s *Simulator) checkBackends(tx *store.Tx, region string, servers []string) *wire.Error {
	for _, id := range servers {
		at := ""
		if i, ok := s.instances.GetIn(tx, id); ok {
			at = i.Region
		} else if m, ok := s.metals.GetIn(tx, id); ok {
			at = m.Region
		}
		if at == "" {
			return ours("Invalid instance-id: %s", id)
		}
		if at != region && s.keeps(quirkLBBackends) {
			return ours("Instance %s is not in the load balancer's region.", id)
		}
	}
	return nil
}

// checkBalancer judges settings as a whole, whatever request led to them.
func (s *Simulator) checkBalancer(b balancerSettings) *wire.Error {
	if (b.Nodes < 1 || b.Nodes > maxBalancerNodes || b.Nodes%2 == 0) && s.keeps(quirkLBNodes) {
		return ours("Invalid nodes: must be an odd number from 1 to %d.", maxBalancerNodes)
	}
	if !slices.Contains([]string{"roundrobin", "leastconn"}, b.Algorithm) {
		return ours("Invalid balancing_algorithm.")
	}
	if b.Timeout < 1 {
		return ours("Invalid timeout.")
	}
	for _, check := range []func(balancerSettings) *wire.Error{s.checkRules, s.checkFirewall, checkHealth, s.checkSSL} {
		if bad := check(b); bad != nil {
			return bad
		}
	}
	return nil
}

func (s *Simulator) checkRules(b balancerSettings) *wire.Error {
	if len(b.Rules) > maxForwardingRules && s.keeps(quirkLBRules) {
		return ours("A load balancer can have at most %d forwarding rules.", maxForwardingRules)
	}
	type listener struct {
		port int
		udp  bool
	}
	seen := map[listener]bool{}
	for _, r := range b.Rules {
		if bad := s.checkRule(r); bad != nil {
			return bad
		}
		taken := []listener{{r.FrontendPort, r.FrontendProtocol == "udp"}}
		if b.HTTP3 && r.FrontendProtocol == "https" { // which comes as datagrams
			taken = append(taken, listener{r.FrontendPort, true})
		}
		for _, l := range taken {
			if seen[l] && s.keeps(quirkLBRules) {
				return ours("Duplicate frontend port %d.", r.FrontendPort)
			}
			seen[l] = true
		}
	}
	return nil
}

func (s *Simulator) checkRule(r forwardingRule) *wire.Error {
	if !slices.Contains(backendProtocols[r.FrontendProtocol], r.BackendProtocol) && s.keeps(quirkLBProtocols) {
		return ours("Invalid forwarding rule: protocol %s to %s.", r.FrontendProtocol, r.BackendProtocol)
	}
	if !validPort(r.FrontendPort) || !validPort(r.BackendPort) {
		return ours("Invalid forwarding rule: port.")
	}
	if r.FrontendPort >= reservedPortsFrom && r.FrontendPort <= reservedPortsTo && s.keeps(quirkLBReserved) {
		return ours("Ports %d-%d are reserved.", reservedPortsFrom, reservedPortsTo)
	}
	return nil
}

func validPort(p int) bool { return p >= 1 && p <= 65535 }

func (s *Simulator) checkFirewall(b balancerSettings) *wire.Error {
	for _, r := range b.Firewall {
		if !validPort(r.Port) {
			return ours("Invalid firewall rule: port.")
		}
		if r.IPType != "v4" && r.IPType != "v6" {
			return ours("Invalid firewall rule: ip_type.")
		}
		if !validSource(r) && s.keeps(quirkLBSources) {
			return ours("Invalid firewall rule: source.")
		}
	}
	return nil
}

// validSource takes a CIDR of the rule's family or "cloudflare". A bare address is stored as well; it matches nobody.
func validSource(r balancerFirewallRule) bool {
	if r.Source == "cloudflare" {
		return true
	}
	if p, err := netip.ParsePrefix(r.Source); err == nil {
		return p.Addr().Is4() == (r.IPType == "v4")
	}
	_, err := netip.ParseAddr(r.Source)
	return err == nil
}

func checkHealth(b balancerSettings) *wire.Error {
	h := b.HealthCheck
	if !slices.Contains([]string{"tcp", "http", "https"}, h.Protocol) {
		return ours("Invalid health check: protocol.")
	}
	if !validPort(h.Port) {
		return ours("Invalid health check: port.")
	}
	for _, n := range []int{h.CheckInterval, h.ResponseTimeout, h.UnhealthyThreshold, h.HealthyThreshold} {
		if n < 1 || n > maxHealthSeconds {
			return ours("Invalid health check: intervals and thresholds must be from 1 to %d.", maxHealthSeconds)
		}
	}
	return nil
}

func (s *Simulator) checkSSL(b balancerSettings) *wire.Error {
	https := slices.ContainsFunc(b.Rules, func(r forwardingRule) bool { return r.FrontendProtocol == "https" })
	if s.keeps(quirkLBSSL) {
		if https && b.Certificate == nil {
			return ours("A certificate is required for HTTPS forwarding rules.")
		}
		if b.SSLRedirect && !https {
			return ours("ssl_redirect requires an HTTPS forwarding rule and a certificate.")
		}
	}
	if s.keeps(quirkLBHTTP) {
		if b.HTTP2 && !https {
			return ours("http2 requires an HTTPS forwarding rule.")
		}
		if b.HTTP3 && !b.HTTP2 {
			return ours("http3 requires http2.")
		}
	}
	return nil
}

// check demands a key that fits the certificate. The key never appears in the answer.
func (c *certificate) check() *wire.Error {
	if _, err := tls.X509KeyPair([]byte(c.Cert), []byte(c.Key)); err != nil {
		return ours("SSL: invalid certificate or private key.")
	}
	return nil
}

// isChain reports whether a text is certificates and nothing else, for whoever is shown it refuses what it cannot read.
func isChain(text string) bool {
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
	}
	return true
}
