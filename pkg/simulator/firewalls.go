package simulator

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// firewallGroup is a set of rules that instances refer to. It holds for what comes through load balancers; what comes
// to an instance directly is not filtered.
type firewallGroup struct {
	head
	Description string         `json:"description"`
	Modified    time.Time      `json:"modified"`
	Rules       []firewallRule `json:"rules"`
	// LastRule is the highest number that a rule ever had.
	LastRule int `json:"last_rule"`
}

// firewallRule admits traffic to the public interface; there are none that forbid.
type firewallRule struct {
	ID     int          `json:"id"`
	Notes  string       `json:"notes"`
	Filter firewallSpec `json:"filter"`
}

// firewallSpec is what a rule admits. Two rules of one group never have the same.
type firewallSpec struct {
	IPType     string `json:"ip_type"`
	Protocol   string `json:"protocol"`
	Port       string `json:"port"` // "22", "8000:9000", "" for protocols without ports
	Subnet     string `json:"subnet"`
	SubnetSize int    `json:"subnet_size"`
	// Source is "", "cloudflare" or the ID of a load balancer.
	Source string `json:"source"`
}

const maxFirewallRules = 50

var firewallRoutes = []route{
	{method: "GET", path: "/v2/firewalls", operation: "list_firewall_groups", handle: (*Simulator).listFirewallGroups},
	{method: "POST", path: "/v2/firewalls", operation: "create_firewall_group", handle: (*Simulator).createFirewallGroup},
	{method: "GET", path: "/v2/firewalls/{id}", operation: "get_firewall_group", handle: (*Simulator).getFirewallGroup},
	{method: "PUT", path: "/v2/firewalls/{id}", operation: "update_firewall_group", handle: (*Simulator).updateFirewallGroup},
	{method: "DELETE", path: "/v2/firewalls/{id}", operation: "delete_firewall_group", handle: (*Simulator).deleteFirewallGroup},
	{method: "GET", path: "/v2/firewalls/{id}/rules", operation: "list_firewall_rules", handle: (*Simulator).listFirewallRules},
	{method: "POST", path: "/v2/firewalls/{id}/rules", operation: "create_firewall_rule", handle: (*Simulator).createFirewallRule},
	{method: "GET", path: "/v2/firewalls/{id}/rules/{rule}", operation: "get_firewall_rule", handle: (*Simulator).getFirewallRule},
	{method: "DELETE", path: "/v2/firewalls/{id}/rules/{rule}", operation: "delete_firewall_rule", handle: (*Simulator).deleteFirewallRule},
}

var (
	errNoFirewallGroup = wire.NotFound("Invalid firewall group ID.") // the platform's text is unknown
	errNoGroupRule     = wire.NotFound("Firewall rule ID not found")
)

func (s *Simulator) showFirewallGroup(g firewallGroup) any {
	body := map[string]any{
		"id": g.ID, "description": g.Description, "date_created": wire.Time(g.Created), "date_modified": wire.Time(g.Modified),
		"rule_count": len(g.Rules), "max_rule_count": maxFirewallRules,
	}
	// It is in the platform's documentation, but not in its answers.
	if !s.keeps(quirkNoInstanceCount) {
		body["instance_count"] = 0
	}
	return body
}

func (s *Simulator) listFirewallGroups(c *call) (int, any, error) {
	return list(s, c, "firewall_groups", s.firewalls.All(), everything, s.showFirewallGroup)
}

func (s *Simulator) getFirewallGroup(c *call) (int, any, error) {
	g, ok := s.firewalls.Get(c.id())
	if !ok {
		return 0, nil, errNoFirewallGroup
	}
	return http.StatusOK, map[string]any{"firewall_group": s.showFirewallGroup(g)}, nil
}

type firewallGroupRequest struct {
	Description string `json:"description"`
}

func (s *Simulator) createFirewallGroup(c *call) (int, any, error) {
	var req firewallGroupRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	g := firewallGroup{head: s.newHead(), Description: s.truncated(req.Description, maxDescription)}
	g.Modified = g.Created
	if err := s.update(func(tx *store.Tx) error { s.firewalls.Put(tx, g.ID, g); return nil }); err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"firewall_group": s.showFirewallGroup(g)}, nil
}

// changeFirewallGroup runs a change of a group that exists.
func (s *Simulator) changeFirewallGroup(id string, change func(tx *store.Tx, g *firewallGroup) error) error {
	return s.update(func(tx *store.Tx) error {
		g, ok := s.firewalls.GetIn(tx, id)
		if !ok {
			return errNoFirewallGroup
		}
		if err := change(tx, &g); err != nil {
			return err
		}
		g.Modified = time.Now()
		s.firewalls.Put(tx, id, g)
		return nil
	})
}

func (s *Simulator) updateFirewallGroup(c *call) (int, any, error) {
	var req firewallGroupRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeFirewallGroup(c.id(), func(_ *store.Tx, g *firewallGroup) error {
		g.Description = s.truncated(req.Description, maxDescription)
		return nil
	})
	return s.noContent(), nil, err
}

// deleteFirewallGroup takes the group from the instances that have it: nothing protects them then.
func (s *Simulator) deleteFirewallGroup(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		if _, ok := s.firewalls.GetIn(tx, c.id()); !ok {
			return errNoFirewallGroup
		}
		if len(s.guardedBy(tx, c.id())) > 0 && !s.keeps(quirkGroupInUse) {
			return ours("The firewall group is in use.")
		}
		s.dropFirewallGroup(tx, c.id())
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) dropFirewallGroup(tx *store.Tx, group string) {
	for _, id := range s.guardedBy(tx, group) {
		s.changeInstance(tx, id, func(i *instance) { i.FirewallGroup = "" })
		s.filterAnew(tx, id)
	}
	s.firewalls.Delete(tx, group)
}

func (s *Simulator) listFirewallRules(c *call) (int, any, error) {
	g, ok := s.firewalls.Get(c.id())
	if !ok {
		return 0, nil, errNoFirewallGroup
	}
	rows := []any{}
	for _, r := range g.Rules {
		rows = append(rows, s.showFirewallRule(r))
	}
	return orderedList(c, "firewall_rules", rows, func(n int) int64 { return int64(g.Rules[n].ID) })
}

func (s *Simulator) getFirewallRule(c *call) (int, any, error) {
	g, ok := s.firewalls.Get(c.id())
	if !ok {
		return 0, nil, errNoFirewallGroup
	}
	n := g.find(c.req.PathValue("rule"))
	if n < 0 {
		return 0, nil, errNoGroupRule
	}
	return http.StatusOK, map[string]any{"firewall_rule": s.showFirewallRule(g.Rules[n])}, nil
}

func (g firewallGroup) find(rule string) int {
	return slices.IndexFunc(g.Rules, func(r firewallRule) bool { return strconv.Itoa(r.ID) == rule })
}

func (s *Simulator) createFirewallRule(c *call) (int, any, error) {
	var req firewallRuleRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	r := firewallRule{Notes: req.Notes}
	err := s.changeFirewallGroup(c.id(), func(tx *store.Tx, g *firewallGroup) error {
		var bad *wire.Error
		if r.Filter, bad = req.spec(); bad != nil {
			return bad
		}
		if bad := s.checkFirewallSource(tx, r.Filter.Source); bad != nil {
			return bad
		}
		same := func(o firewallRule) bool { return o.Filter == r.Filter }
		if slices.ContainsFunc(g.Rules, same) && s.keeps(quirkDuplicateRule) {
			return wire.BadRequest("This rule is already defined ")
		}
		if len(g.Rules) >= maxFirewallRules {
			return ours("A firewall group can have at most %d rules.", maxFirewallRules)
		}
		g.LastRule++
		r.ID = g.LastRule
		g.Rules = append(slices.Clone(g.Rules), r)
		s.filterAnew(tx, s.guardedBy(tx, g.ID)...)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.created(), map[string]any{"firewall_rule": s.showFirewallRule(r)}, nil
}

func (s *Simulator) deleteFirewallRule(c *call) (int, any, error) {
	err := s.changeFirewallGroup(c.id(), func(tx *store.Tx, g *firewallGroup) error {
		n := g.find(c.req.PathValue("rule"))
		if n < 0 {
			return errNoGroupRule
		}
		g.Rules = slices.Delete(slices.Clone(g.Rules), n, n+1)
		s.filterAnew(tx, s.guardedBy(tx, g.ID)...)
		return nil
	})
	return s.noContent(), nil, err
}

// checkFirewallGroup demands a group that exists; "" is none.
func (s *Simulator) checkFirewallGroup(tx *store.Tx, id string) *wire.Error {
	if _, ok := s.firewalls.GetIn(tx, id); id != "" && !ok {
		return ours("Invalid firewall_group_id.")
	}
	return nil
}
