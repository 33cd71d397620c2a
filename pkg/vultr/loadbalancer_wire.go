package vultr

import (
	"encoding/json"
	"slices"
	"strings"
)

// loadBalancer is the API's form of a load balancer. govultr's lacks the host name and the older private_network.
type loadBalancer struct {
	ID          string `json:"id"`
	DateCreated string `json:"date_created"`
	Region      string `json:"region"`
	Label       string `json:"label"`
	Status      string `json:"status"`
	IPv4        string `json:"ipv4"`
	IPv6        string `json:"ipv6"`
	CNAME       string `json:"cname"`
	Nodes       int    `json:"nodes"`
	HasSSL      bool   `json:"has_ssl"`
	HTTP2       bool   `json:"http2"`
	HTTP3       bool   `json:"http3"`
	GenericInfo struct {
		Algorithm      string         `json:"balancing_algorithm"`
		Timeout        int            `json:"timeout"`
		SSLRedirect    bool           `json:"ssl_redirect"`
		StickySessions stickySessions `json:"sticky_sessions"`
		ProxyProtocol  bool           `json:"proxy_protocol"`
		PrivateNetwork string         `json:"private_network"`
		VPC            string         `json:"vpc"`
	} `json:"generic_info"`
	HealthCheck     healthCheck      `json:"health_check"`
	ForwardingRules []forwardingRule `json:"forwarding_rules"`
	FirewallRules   []firewallRule   `json:"firewall_rules"`
	Instances       []string         `json:"instances"`
	AutoSSL         autoSSL          `json:"auto_ssl"`
	GlobalRegions   []globalRegion   `json:"global_regions"`
	GlobalCNAME     string           `json:"global_cname"`
	NodeIPs         struct {
		V4      []string `json:"v4"`
		V6      []string `json:"v6"`
		Private []string `json:"private"`
	} `json:"node_ips"`
}

// loadBalancerRequest is the body of a create and an update. Pointers tell what is not sent from what is empty: with
// govultr's own type the last backend or firewall rule could never be removed.
type loadBalancerRequest struct {
	Region          string            `json:"region,omitempty"`
	Label           *string           `json:"label,omitempty"`
	Nodes           *int              `json:"nodes,omitempty"`
	Algorithm       *string           `json:"balancing_algorithm,omitempty"`
	Timeout         *int              `json:"timeout,omitempty"`
	SSLRedirect     *bool             `json:"ssl_redirect,omitempty"`
	ProxyProtocol   *bool             `json:"proxy_protocol,omitempty"`
	HTTP2           *bool             `json:"http2,omitempty"`
	HTTP3           *bool             `json:"http3,omitempty"`
	StickySession   *stickySessions   `json:"sticky_session,omitempty"` // singular in requests only
	VPC             *string           `json:"vpc,omitempty"`
	HealthCheck     *healthCheck      `json:"health_check,omitempty"`
	ForwardingRules *[]forwardingRule `json:"forwarding_rules,omitempty"`
	FirewallRules   *[]firewallRule   `json:"firewall_rules,omitempty"`
	Instances       *[]string         `json:"instances,omitempty"`
	SSL             *certificate      `json:"ssl,omitempty"`
	AutoSSL         *autoSSL          `json:"auto_ssl,omitempty"`
	GlobalRegions   *[]globalRegion   `json:"global_regions,omitempty"`
}

type autoSSL struct {
	Zone   string `json:"domain_zone"`
	Sub    string `json:"domain_sub"`
	Domain string `json:"domain,omitempty"` // in answers only
}

type globalRegion struct {
	Region string `json:"region_id"`
	VPC    string `json:"vpc_id"`
}

// UnmarshalJSON also takes the bare region, which the API sent when regions had no VPC yet.
func (g *globalRegion) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &g.Region) == nil {
		return nil
	}
	type plain globalRegion
	return json.Unmarshal(data, (*plain)(g))
}

type stickySessions struct {
	CookieName string `json:"cookie_name"`
}

type healthCheck struct {
	Protocol           string `json:"protocol,omitempty"`
	Port               int    `json:"port,omitempty"`
	Path               string `json:"path,omitempty"`
	CheckInterval      int    `json:"check_interval,omitempty"`
	ResponseTimeout    int    `json:"response_timeout,omitempty"`
	UnhealthyThreshold int    `json:"unhealthy_threshold,omitempty"`
	HealthyThreshold   int    `json:"healthy_threshold,omitempty"`
}

type forwardingRule struct {
	FrontendProtocol string `json:"frontend_protocol"`
	FrontendPort     int    `json:"frontend_port"`
	BackendProtocol  string `json:"backend_protocol"`
	BackendPort      int    `json:"backend_port"`
}

type firewallRule struct {
	Port   int    `json:"port"`
	Source string `json:"source"`
	IPType string `json:"ip_type"`
}

type certificate struct {
	PrivateKey  string `json:"private_key"`
	Certificate string `json:"certificate"`
	Chain       string `json:"chain,omitempty"`
}

func (l loadBalancer) domain() LoadBalancer {
	instances := slices.Sorted(slices.Values(l.Instances))
	return LoadBalancer{
		ID: l.ID, Label: l.Label, Region: strings.ToLower(l.Region), Status: l.Status,
		IPv4: addressOf(l.IPv4), IPv6: addressOf(l.IPv6), Hostname: l.CNAME, Created: parseTime(l.DateCreated),
		Nodes: l.Nodes, Algorithm: l.GenericInfo.Algorithm, Timeout: l.GenericInfo.Timeout,
		SSLRedirect: l.GenericInfo.SSLRedirect, ProxyProtocol: l.GenericInfo.ProxyProtocol,
		HTTP2: l.HTTP2, HTTP3: l.HTTP3, StickyCookie: l.GenericInfo.StickySessions.CookieName,
		VPC: orDefault(l.GenericInfo.VPC, l.GenericInfo.PrivateNetwork), HasSSL: l.HasSSL,
		HealthCheck: HealthCheck(l.HealthCheck),
		Rules:       convert(l.ForwardingRules, func(r forwardingRule) ForwardingRule { return ForwardingRule(r) }),
		Firewall:    convert(l.FirewallRules, func(r firewallRule) FirewallRule { return FirewallRule(r) }),
		Instances:   instances,
		AutoSSL:     AutoSSL(l.AutoSSL), GlobalHostname: l.GlobalCNAME, NodeIPs: NodeIPs(l.NodeIPs),
		GlobalRegions: convert(l.GlobalRegions, func(g globalRegion) GlobalRegion {
			return GlobalRegion{Region: strings.ToLower(g.Region), VPC: g.VPC}
		}),
	}
}

func requestOf(s LoadBalancerSettings) loadBalancerRequest {
	r := loadBalancerRequest{
		Label: s.Label, Nodes: s.Nodes, Algorithm: s.Algorithm, Timeout: s.Timeout, SSLRedirect: s.SSLRedirect,
		ProxyProtocol: s.ProxyProtocol, HTTP2: s.HTTP2, HTTP3: s.HTTP3, VPC: s.VPC,
	}
	if s.StickyCookie != nil {
		r.StickySession = &stickySessions{CookieName: *s.StickyCookie}
	}
	if s.HealthCheck != nil {
		check := healthCheck(*s.HealthCheck)
		if check.Path == "" && check.Protocol != "tcp" {
			// What is not sent stays as it is: the last path could never be taken away.
			check.Path = "/"
		}
		r.HealthCheck = &check
	}
	if s.Certificate != nil {
		cert := certificate(*s.Certificate)
		r.SSL = &cert
	}
	if s.AutoSSL != nil {
		r.AutoSSL = &autoSSL{Zone: s.AutoSSL.Zone, Sub: s.AutoSSL.Sub}
	}
	if s.GlobalRegions != nil {
		regions := convert(*s.GlobalRegions, func(g GlobalRegion) globalRegion { return globalRegion(g) })
		r.GlobalRegions = &regions
	}
	if s.Rules != nil {
		rules := convert(*s.Rules, func(r ForwardingRule) forwardingRule { return forwardingRule(r) })
		r.ForwardingRules = &rules
	}
	if s.Firewall != nil {
		rules := convert(*s.Firewall, func(r FirewallRule) firewallRule { return firewallRule(r) })
		r.FirewallRules = &rules
	}
	if s.Instances != nil {
		instances := convert(*s.Instances, func(id string) string { return id })
		r.Instances = &instances
	}
	return r
}

// convert never gives nil: JSON's null is not the empty list.
func convert[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}
