package simulator

import (
	"net/http"
	"slices"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

var balancerRuleRoutes = []route{
	{method: "GET", path: "/v2/load-balancers/{id}/forwarding-rules", operation: "list_forwarding_rules", handle: (*Simulator).listForwardingRules},
	{method: "POST", path: "/v2/load-balancers/{id}/forwarding-rules", operation: "create_forwarding_rule", handle: (*Simulator).createForwardingRule},
	{method: "GET", path: "/v2/load-balancers/{id}/forwarding-rules/{rule}", operation: "get_forwarding_rule", handle: (*Simulator).getForwardingRule},
	{method: "DELETE", path: "/v2/load-balancers/{id}/forwarding-rules/{rule}", operation: "delete_forwarding_rule", handle: (*Simulator).deleteForwardingRule},
	{method: "GET", path: "/v2/load-balancers/{id}/firewall-rules", operation: "list_load_balancer_firewall_rules", handle: (*Simulator).listBalancerFirewall},
	{method: "POST", path: "/v2/load-balancers/{id}/firewall-rules", operation: "create_load_balancer_firewall_rule", handle: (*Simulator).createBalancerFirewall},
	{method: "GET", path: "/v2/load-balancers/{id}/firewall-rules/{rule}", operation: "get_load_balancer_firewall_rule", handle: (*Simulator).getBalancerFirewall},
	{method: "DELETE", path: "/v2/load-balancers/{id}/firewall-rules/{rule}", operation: "delete_load_balancer_firewall_rule", handle: (*Simulator).deleteBalancerFirewall},
}

var (
	errNoForwardingRule = wire.NotFound("Invalid forwarding rule ID.") // text unknown
	errNoFirewallRule   = wire.NotFound("Firewall rule ID not found")
)

func (s *Simulator) listForwardingRules(c *call) (int, any, error) {
	l, ok := s.balancers.Get(c.id())
	if !ok {
		return 0, nil, errNoBalancer
	}
	return fixedList(c, "forwarding_rules", orEmpty(l.Rules))
}

func (s *Simulator) getForwardingRule(c *call) (int, any, error) {
	l, ok := s.balancers.Get(c.id())
	if !ok {
		return 0, nil, errNoBalancer
	}
	i := slices.IndexFunc(l.Rules, func(r forwardingRule) bool { return r.ID == c.req.PathValue("rule") })
	if i < 0 {
		return 0, nil, errNoForwardingRule
	}
	return http.StatusOK, map[string]any{"forwarding_rule": l.Rules[i]}, nil
}

func (s *Simulator) createForwardingRule(c *call) (int, any, error) {
	var rule forwardingRule
	if err := c.decode(&rule); err != nil {
		return 0, nil, err
	}
	rule = rule.withID(nil)
	err := s.changeBalancer(c.id(), func(_ *store.Tx, l *loadBalancer) error {
		l.Rules = append(slices.Clone(l.Rules), rule)
		if bad := s.checkBalancer(l.balancerSettings); bad != nil {
			return bad
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"forwarding_rule": rule}, nil
}

func (s *Simulator) deleteForwardingRule(c *call) (int, any, error) {
	err := s.changeBalancer(c.id(), func(_ *store.Tx, l *loadBalancer) error {
		rest := slices.DeleteFunc(slices.Clone(l.Rules), func(r forwardingRule) bool { return r.ID == c.req.PathValue("rule") })
		if len(rest) == len(l.Rules) {
			return errNoForwardingRule
		}
		l.Rules = rest
		if bad := s.checkBalancer(l.balancerSettings); bad != nil {
			return bad
		}
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) listBalancerFirewall(c *call) (int, any, error) {
	l, ok := s.balancers.Get(c.id())
	if !ok {
		return 0, nil, errNoBalancer
	}
	return fixedList(c, "firewall_rules", orEmpty(l.Firewall))
}

func (s *Simulator) getBalancerFirewall(c *call) (int, any, error) {
	l, ok := s.balancers.Get(c.id())
	if !ok {
		return 0, nil, errNoBalancer
	}
	i := slices.IndexFunc(l.Firewall, func(r balancerFirewallRule) bool { return r.ID == c.req.PathValue("rule") })
	if i < 0 {
		return 0, nil, errNoFirewallRule
	}
	return http.StatusOK, map[string]any{"firewall_rule": l.Firewall[i]}, nil
}

// createBalancerFirewall takes one rule, as the API's description says, or a list, as govultr sends it.
func (s *Simulator) createBalancerFirewall(c *call) (int, any, error) {
	var req struct {
		balancerFirewallRule
		Rules []balancerFirewallRule `json:"firewall_rules"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	if len(req.Rules) == 0 {
		req.Rules = []balancerFirewallRule{req.balancerFirewallRule}
	}
	for i := range req.Rules {
		req.Rules[i] = req.Rules[i].withID(nil)
	}
	err := s.changeBalancer(c.id(), func(_ *store.Tx, l *loadBalancer) error {
		l.Firewall = append(slices.Clone(l.Firewall), req.Rules...)
		if bad := s.checkBalancer(l.balancerSettings); bad != nil {
			return bad
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"firewall_rule": req.Rules[0], "firewall_rules": req.Rules}, nil
}

func (s *Simulator) deleteBalancerFirewall(c *call) (int, any, error) {
	err := s.changeBalancer(c.id(), func(_ *store.Tx, l *loadBalancer) error {
		rest := slices.DeleteFunc(slices.Clone(l.Firewall), func(r balancerFirewallRule) bool { return r.ID == c.req.PathValue("rule") })
		if len(rest) == len(l.Firewall) {
			return errNoFirewallRule
		}
		l.Firewall = rest
		return nil
	})
	return s.noContent(), nil, err
}
