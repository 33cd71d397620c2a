package vultr

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

const firewallsPath = "/v2/firewalls"

var opDescribeFirewallGroup = operation{name: "update_firewall_group", words: "change firewall group", method: http.MethodPut}

var firewallGroups = resource[govultr.FirewallGroup, FirewallGroup]{
	path: firewallsPath, one: []string{"firewall_group"}, many: "firewall_groups",
	ops: operationsOn("firewall_group", "firewall_groups", "firewall group", "firewall groups"),
	id:  func(g FirewallGroup) string { return g.ID }, domain: firewallGroupOf,
}

var groupRules = resource[govultr.FirewallRule, GroupRule]{
	one: []string{"firewall_rule"}, many: "firewall_rules",
	ops: operationsOn("firewall_rule", "firewall_rules", "rule of firewall group", "rules of firewall group"),
	id:  func(r GroupRule) string { return ruleID(r.ID) }, domain: groupRuleOf,
}

// FirewallGroup is a set of rules for the public network interfaces of the instances that have it. Traffic in a VPC is
// not filtered.
type FirewallGroup struct {
	ID          string // UUID
	Description string // not unique on the platform
	Rules       int    // how many it has
	MaxRules    int
	Created     time.Time
}

// GroupRule admits traffic to the instances of a firewall group. There are no rules that refuse.
type GroupRule struct {
	ID       int    // set by the platform, 0 in a request
	Protocol string // tcp, udp, icmp, esp, ah, gre
	// Port is one port ("22") or a range ("8000:8100"); "" where the protocol has none.
	Port string
	// Subnet is where the traffic may come from. A request takes the family from it.
	Subnet netip.Prefix
	// Source is "cloudflare" or the UUID of a load balancer instead of the subnet. The API answers with the subnet's
	// text where a request gave no source; that is read as "".
	Source string
	Notes  string
}

// FirewallGroup reads one firewall group. Only its IsNotFound proves that it does not exist.
func (c *Client) FirewallGroup(ctx context.Context, id string) (FirewallGroup, error) {
	return firewallGroups.read(ctx, c, id)
}

// FirewallGroups lists all firewall groups of the account. The list is shared: its items must not be changed. With
// maxAge 0 it began after the call, else it can be up to maxAge old.
func (c *Client) FirewallGroups(ctx context.Context, maxAge time.Duration) (List[FirewallGroup], error) {
	return sharedList(ctx, c.firewallGroups, firewallGroups.ops.list, maxAge)
}

// CreateFirewallGroup makes a firewall group without rules. The request is sent once, and again only after the API
// refused it for its rate. With IsOutcomeUnknown it may exist: look for its description, and mind SettleGuard.
func (c *Client) CreateFirewallGroup(ctx context.Context, description string) (FirewallGroup, error) {
	return firewallGroups.make(ctx, c, description, map[string]string{"description": description})
}

// DescribeFirewallGroup replaces the description of a firewall group.
func (c *Client) DescribeFirewallGroup(ctx context.Context, id, description string) error {
	return firewallGroups.change(ctx, c, opDescribeFirewallGroup, id, "", map[string]string{"description": description})
}

// DeleteFirewallGroup deletes a firewall group, also one in use: its instances are open then. IsNotFound means that it
// was gone before.
func (c *Client) DeleteFirewallGroup(ctx context.Context, id string) error {
	return firewallGroups.remove(ctx, c, id)
}

// FirewallGroupRules lists the rules of a firewall group.
func (c *Client) FirewallGroupRules(ctx context.Context, groupID string) ([]GroupRule, error) {
	if err := checkID(groupRules.ops.list, groupID); err != nil {
		return nil, err
	}
	rules, err := rulesOf(groupID).all(ctx, c, nil)
	return rules, ended(groupRules.ops.list, err)
}

// CreateFirewallGroupRule adds a rule to a firewall group. The request is sent once: with IsOutcomeUnknown, and with
// IsDuplicateRule, look at the rules.
func (c *Client) CreateFirewallGroupRule(ctx context.Context, groupID string, r GroupRule) (GroupRule, error) {
	if err := checkID(groupRules.ops.create, groupID); err != nil {
		return GroupRule{}, err
	}
	if !r.Subnet.IsValid() {
		rec := &record{op: groupRules.ops.create, resource: groupID}
		return GroupRule{}, rec.fail(http.StatusBadRequest, "a rule needs a subnet; nothing was sent", nil)
	}
	family := "v4"
	if r.Subnet.Addr().Is6() {
		family = "v6"
	}
	return rulesOf(groupID).make(ctx, c, groupID, &govultr.FirewallRuleReq{
		IPType: family, Protocol: strings.ToLower(r.Protocol), Subnet: r.Subnet.Addr().String(), SubnetSize: r.Subnet.Bits(),
		Port: r.Port, Source: r.Source, Notes: r.Notes,
	})
}

// DeleteFirewallGroupRule takes a rule from a firewall group. IsNotFound means that it was gone before.
func (c *Client) DeleteFirewallGroupRule(ctx context.Context, groupID string, rule int) error {
	return firewallGroups.change(ctx, c, groupRules.ops.remove, groupID, "/rules/"+strconv.Itoa(rule), nil)
}

func rulesOf(groupID string) resource[govultr.FirewallRule, GroupRule] {
	return groupRules.under(firewallsPath + "/" + groupID + "/rules")
}

// ruleID is "" for an object that has none: the platform counts from 1.
func ruleID(id int) string {
	if id == 0 {
		return ""
	}
	return strconv.Itoa(id)
}

func firewallGroupOf(g govultr.FirewallGroup) FirewallGroup {
	return FirewallGroup{
		ID: g.ID, Description: g.Description, Rules: g.RuleCount, MaxRules: g.MaxRuleCount, Created: parseTime(g.DateCreated),
	}
}

func groupRuleOf(r govultr.FirewallRule) GroupRule {
	rule := GroupRule{
		ID: r.ID, Protocol: strings.ToLower(r.Protocol), Port: r.Port, Subnet: prefixOf(r.Subnet, r.SubnetSize),
		Source: r.Source, Notes: r.Notes,
	}
	if source, err := netip.ParsePrefix(r.Source); err == nil && source.Masked() == rule.Subnet {
		rule.Source = ""
	}
	return rule
}
