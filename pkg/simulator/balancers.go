package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// loadBalancer is one load balancer.
type loadBalancer struct {
	head
	Region string `json:"region"`
	Active bool   `json:"active"`
	// Address is reserved when the load balancer becomes active and shown a little later.
	Address      string `json:"address,omitempty"`
	AddressV6    string `json:"address_v6,omitempty"`
	AddressShown bool   `json:"address_shown"`
	// ActivatingUntil is when the nodes of a changed node count are up.
	ActivatingUntil time.Time `json:"activating_until"`

	// Reverse is the names of its addresses.
	Reverse reverseDNS `json:"reverse_dns,omitzero"`

	balancerSettings
}

// balancerSettings is what clients set.
type balancerSettings struct {
	Label         string                 `json:"label"`
	Nodes         int                    `json:"nodes"`
	Algorithm     string                 `json:"algorithm"`
	Timeout       int                    `json:"timeout"`
	SSLRedirect   bool                   `json:"ssl_redirect"`
	ProxyProtocol bool                   `json:"proxy_protocol"`
	HTTP2         bool                   `json:"http2"`
	HTTP3         bool                   `json:"http3"`
	StickyCookie  string                 `json:"sticky_cookie"`
	HealthCheck   balancerHealth         `json:"health_check"`
	Rules         []forwardingRule       `json:"rules"`
	Firewall      []balancerFirewallRule `json:"firewall"`
	Instances     []string               `json:"instances"`
	Certificate   *certificate           `json:"certificate,omitempty"`
	AutoSSL       autoSSL                `json:"auto_ssl,omitzero"`
	Global        []globalRegion         `json:"global_regions,omitempty"`
	// VPC is where the backends are reached, "" for their public addresses.
	VPC string `json:"vpc,omitempty"`
}

// balancerHealth is the health check, in the API's own form.
type balancerHealth struct {
	Protocol           string `json:"protocol"`
	Port               int    `json:"port"`
	Path               string `json:"path"`
	CheckInterval      int    `json:"check_interval"`
	ResponseTimeout    int    `json:"response_timeout"`
	UnhealthyThreshold int    `json:"unhealthy_threshold"`
	HealthyThreshold   int    `json:"healthy_threshold"`
}

// forwardingRule is one listener, in the API's own form.
type forwardingRule struct {
	ID               string `json:"id"`
	FrontendProtocol string `json:"frontend_protocol"`
	FrontendPort     int    `json:"frontend_port"`
	BackendProtocol  string `json:"backend_protocol"`
	BackendPort      int    `json:"backend_port"`
}

// balancerFirewallRule admits a source, in the API's own form.
type balancerFirewallRule struct {
	ID     string `json:"id"`
	Port   int    `json:"port"`
	Source string `json:"source"`
	IPType string `json:"ip_type"`
}

var balancerRoutes = []route{
	{method: "GET", path: "/v2/load-balancers", operation: "list_load_balancers", handle: (*Simulator).listBalancers},
	{method: "POST", path: "/v2/load-balancers", operation: "create_load_balancer", handle: (*Simulator).createBalancer},
	{method: "GET", path: "/v2/load-balancers/{id}", operation: "get_load_balancer", handle: (*Simulator).getBalancer},
	{method: "PATCH", path: "/v2/load-balancers/{id}", operation: "update_load_balancer", handle: (*Simulator).updateBalancer},
	{method: "DELETE", path: "/v2/load-balancers/{id}", operation: "delete_load_balancer", handle: (*Simulator).deleteBalancer},
	{method: "DELETE", path: "/v2/load-balancers/{id}/ssl", operation: "delete_load_balancer_ssl", handle: (*Simulator).deleteBalancerSSL},
}

var (
	errNoBalancer = wire.NotFound("Invalid load balancer ID.") // text unknown
	// errBalancerActivating has the words by which the official cloud controller manager knows it; the rest is unknown.
	errBalancerActivating = wire.BadRequest("Load balancer is still activating.")
	errBalancerNotReady   = wire.BadRequest("Load balancer is not ready.")
)

func newBalancerSettings() balancerSettings {
	return balancerSettings{
		Nodes: 1, Algorithm: "roundrobin", Timeout: 600,
		HealthCheck: balancerHealth{
			Protocol: "http", Port: 80, Path: "/", CheckInterval: 15, ResponseTimeout: 5, UnhealthyThreshold: 5, HealthyThreshold: 5,
		},
	}
}

// settled reports whether the load balancer accepts changes.
func (l loadBalancer) settled(now time.Time) bool { return l.Active && !now.Before(l.ActivatingUntil) }

func (s *Simulator) showBalancer(l loadBalancer) any {
	status, v4, v6, v4s, v6s := "pending", "", "", []string{}, []string{}
	if l.Active {
		status = "active"
	}
	if l.AddressShown {
		v4, v4s = l.Address, []string{l.Address}
		if l.AddressV6 != "" {
			v6, v6s = l.AddressV6, []string{l.AddressV6}
		}
	}
	body := map[string]any{
		"id": l.ID, "date_created": wire.Time(l.Created), "region": l.Region, "label": l.Label, "status": status,
		"ipv4": v4, "ipv6": v6, "cname": "vlb-" + l.ID + ".vultrlb.com", "global_cname": "",
		"generic_info": map[string]any{
			"balancing_algorithm": l.Algorithm, "timeout": l.Timeout, "ssl_redirect": l.SSLRedirect,
			s.stickyName():   map[string]any{"cookie_name": l.StickyCookie},
			"proxy_protocol": l.ProxyProtocol, "private_network": l.VPC, "vpc": l.VPC,
		},
		"health_check": l.HealthCheck, "has_ssl": l.Certificate != nil, "http2": l.HTTP2, "http3": l.HTTP3,
		"nodes": l.Nodes, "forwarding_rules": orEmpty(l.Rules), "firewall_rules": orEmpty(l.Firewall),
		"instances":      orEmpty(l.Instances),
		"auto_ssl":       l.AutoSSL,
		"global_regions": orEmpty(l.Global),
		"node_ips":       map[string]any{"v4": v4s, "v6": v6s, "private": []string{}},
	}
	if !s.keeps(quirkLBObjects) {
		delete(body, "auto_ssl")
	}
	return body
}

// stickyName is the answer's name of what requests call sticky_session.
func (s *Simulator) stickyName() string {
	if !s.keeps(quirkLBSticky) {
		return "sticky_session"
	}
	return "sticky_sessions"
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Simulator) listBalancers(c *call) (int, any, error) {
	return list(s, c, "load_balancers", s.balancers.All(), everything, s.showBalancer)
}

func (s *Simulator) getBalancer(c *call) (int, any, error) {
	l, ok := s.balancers.Get(c.id())
	if !ok {
		return 0, nil, errNoBalancer
	}
	return http.StatusOK, map[string]any{"load_balancer": s.showBalancer(l)}, nil
}

func (s *Simulator) createBalancer(c *call) (int, any, error) {
	var req balancerRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	l := loadBalancer{head: s.newHead(), Region: req.Region}
	err := s.update(func(tx *store.Tx) error {
		if bad := s.mayBalanceIn(req.Region); bad != nil {
			return bad
		}
		settings, bad := s.applyRequest(tx, l.Region, newBalancerSettings(), req)
		if bad != nil {
			return bad
		}
		l.balancerSettings = settings
		l.Active = !s.keeps(quirkLBPending)
		s.balancers.Put(tx, l.ID, l)
		s.schedule(tx, jobBalancerActivate, l.ID, "", s.cfg.Delays.LoadBalancer)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return s.accepted(), map[string]any{"load_balancer": s.showBalancer(l)}, nil
}

// changeBalancer runs a change of a load balancer that accepts changes and puts it on the data plane.
func (s *Simulator) changeBalancer(id string, change func(tx *store.Tx, l *loadBalancer) error) error {
	return s.update(func(tx *store.Tx) error {
		l, ok := s.balancers.GetIn(tx, id)
		if !ok {
			return errNoBalancer
		}
		if !l.settled(time.Now()) && s.keeps(quirkLBActivating) {
			return errBalancerActivating
		}
		if err := change(tx, &l); err != nil {
			return err
		}
		s.balancers.Put(tx, id, l)
		s.scheduleSettle(tx, jobBalancerSettle, id)
		return nil
	})
}

func (s *Simulator) updateBalancer(c *call) (int, any, error) {
	var req balancerRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	err := s.changeBalancer(c.id(), func(tx *store.Tx, l *loadBalancer) error {
		old := l.balancerSettings
		if !s.keeps(quirkLBKeep) {
			old = newBalancerSettings()
		}
		settings, bad := s.applyRequest(tx, l.Region, old, req)
		if bad != nil {
			return bad
		}
		if settings.Nodes != l.Nodes {
			l.ActivatingUntil = time.Now().Add(s.scaled(s.cfg.Delays.LoadBalancerNodes))
		}
		l.balancerSettings = settings
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteBalancer(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		l, ok := s.balancers.GetIn(tx, c.id())
		if !ok {
			return errNoBalancer
		}
		if !l.settled(time.Now()) && s.keeps(quirkLBNotReady) {
			return errBalancerNotReady
		}
		s.dropBalancer(tx, l)
		return nil
	})
	return s.noContent(), nil, err
}

func (s *Simulator) deleteBalancerSSL(c *call) (int, any, error) {
	err := s.changeBalancer(c.id(), func(_ *store.Tx, l *loadBalancer) error {
		without := l.balancerSettings
		without.Certificate, without.AutoSSL = nil, autoSSL{} // else it would be there again at the next renewal
		if bad := s.checkSSL(without); bad != nil {
			return bad
		}
		l.balancerSettings = without
		return nil
	})
	return s.noContent(), nil, err
}

// dropBackend takes a destroyed server out of all load balancers.
func (s *Simulator) dropBackend(tx *store.Tx, serverID string) {
	for id, l := range s.balancers.AllIn(tx) {
		if slices.Contains(l.Instances, serverID) {
			l.Instances = slices.DeleteFunc(slices.Clone(l.Instances), func(i string) bool { return i == serverID })
			s.balancers.Put(tx, id, l)
			s.scheduleSettle(tx, jobBalancerSettle, id)
		}
	}
}

// settleBalancersOf renews the data plane of the load balancers that have the server, which began or ceased to run.
func (s *Simulator) settleBalancersOf(tx *store.Tx, serverID string) {
	for id, l := range s.balancers.AllIn(tx) {
		if slices.Contains(l.Instances, serverID) {
			s.scheduleSettle(tx, jobBalancerSettle, id)
		}
	}
}

// String returns the rule for people.
func (r forwardingRule) String() string {
	return fmt.Sprintf("%s %d -> %s %d", r.FrontendProtocol, r.FrontendPort, r.BackendProtocol, r.BackendPort)
}
