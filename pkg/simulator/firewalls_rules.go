package simulator

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

type firewallRuleRequest struct {
	IPType     string `json:"ip_type"`
	Protocol   string `json:"protocol"`
	Port       string `json:"port"`
	Subnet     string `json:"subnet"`
	SubnetSize int    `json:"subnet_size"`
	Source     string `json:"source"`
	Notes      string `json:"notes"`
}

const sourceCloudflare = "cloudflare"

var (
	portProtocols     = []string{"tcp", "udp"}
	portlessProtocols = []string{"icmp", "gre", "esp", "ah"}
)

// spec judges a rule by itself.
func (r firewallRuleRequest) spec() (firewallSpec, *wire.Error) {
	spec := firewallSpec{
		IPType: r.IPType, Protocol: strings.ToLower(r.Protocol), Subnet: r.Subnet, SubnetSize: r.SubnetSize, Source: r.Source,
	}
	if r.IPType != "v4" && r.IPType != "v6" {
		return spec, ours("Invalid ip_type.")
	}
	switch {
	case slices.Contains(portProtocols, spec.Protocol):
		if !validPortRange(r.Port) {
			return spec, ours("Invalid port.")
		}
		spec.Port = r.Port
	case !slices.Contains(portlessProtocols, spec.Protocol):
		return spec, ours("Invalid protocol.")
	}
	addr, err := netip.ParseAddr(r.Subnet)
	if err != nil || addr.Is4() != (r.IPType == "v4") || addr.Zone() != "" {
		return spec, ours("Invalid subnet.")
	}
	if r.SubnetSize < 0 || r.SubnetSize > addr.BitLen() {
		return spec, ours("Invalid subnet_size.")
	}
	return spec, nil
}

// validPortRange takes "22" and "8000:9000".
func validPortRange(text string) bool {
	from, to, isRange := strings.Cut(text, ":")
	first, err := strconv.Atoi(from)
	if err != nil || !validPort(first) {
		return false
	}
	if !isRange {
		return true
	}
	last, err := strconv.Atoi(to)
	return err == nil && validPort(last) && first <= last
}

func (s *Simulator) checkFirewallSource(tx *store.Tx, source string) *wire.Error {
	if _, isBalancer := s.balancers.GetIn(tx, source); source == "" || source == sourceCloudflare || isBalancer {
		return nil
	}
	return ours("Invalid source.")
}

// showFirewallRule gives the rule's own subnet as its source when none was given.
func (s *Simulator) showFirewallRule(r firewallRule) any {
	f := r.Filter
	source, balancer := f.Source, ""
	switch source {
	case "":
		if s.keeps(quirkSourceEcho) {
			source = fmt.Sprintf("%s/%d", f.Subnet, f.SubnetSize)
		}
	case sourceCloudflare:
	default:
		balancer = source
	}
	return map[string]any{
		"id": r.ID, "action": "accept", "type": f.IPType, "ip_type": f.IPType, "direction": "in", "protocol": f.Protocol,
		"port": f.Port, "subnet": f.Subnet, "subnet_size": f.SubnetSize, "source": source, "notes": r.Notes,
		"loadbalancer_id": balancer,
	}
}
