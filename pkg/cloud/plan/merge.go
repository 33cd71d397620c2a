package plan

import (
	"cmp"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// Member is one of several Services that share a load balancer.
type Member struct {
	Service *v1.Service
	Reading Reading
	// Held is set while the platform refuses what the Service asks for.
	Held bool
}

// faulty reports whether the Service has faults, or asks for what the platform refuses. What serves it goes on as it is.
func (m Member) faulty() bool { return m.Reading.Err != nil || m.Held }

// Merged is what several Services ask of their one load balancer.
type Merged struct {
	// Desired is what all of them together ask for, but for the backends, for which each member's own reading counts. It can be used
	// even if members have faults.
	Desired Desired
	// Leader is the Service whose settings are those of the whole: the oldest one, nil while that has faults: then the whole stays as it is.
	// One that does not exist yet follows the oldest one without faults.
	Leader *v1.Service
	// Certifier is the Service whose certificate the https ports have.
	Certifier *v1.Service
	// Refused has for each member, in words, the ports that it does not get, and why.
	Refused [][]string
	// Overruled has for each member the settings that it does not get, because they are the leader's.
	Overruled [][]string
}

// ByAge orders Services, the oldest first.
func ByAge(a, b *v1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}

// Merge joins what the members, the oldest first, ask of the load balancer that they share, which is current; the zero value
// while there is none.
//
// Each port of the load balancer is one member's: whoever it leads to already, else the oldest who wants it. What can't be said
// port by port follows the leader, and what is about certificates the oldest member with an https port that is served, else with any.
// Members with faults keep what they have.
func Merge(members []Member, current vultr.LoadBalancer) Merged {
	m := merger{members: members, current: current, out: Merged{
		Refused: make([][]string, len(members)), Overruled: make([][]string, len(members)),
	}}
	m.base()
	m.ports()
	if m.leader < 0 {
		m.keepHealthCheck()
	}
	m.certificates()
	m.redirect()
	m.firewall()
	m.overrule()
	return m.out
}

type merger struct {
	members []Member
	current vultr.LoadBalancer
	out     Merged
	leader  int // -1 if there is none
	// owned are the rules of each member, and given is how many there are.
	owned [][]vultr.ForwardingRule
	given int
}

// base begins with the leader's settings, or with what there is.
func (m *merger) base() {
	m.leader = slices.IndexFunc(m.members, func(member Member) bool { return !member.faulty() })
	if m.leader > 0 && m.current.ID != "" {
		m.leader = -1 // a slip of the oldest one does not have the settings of another one take the place of those that serve
	}
	if m.leader >= 0 {
		m.out.Leader, m.out.Desired = m.members[m.leader].Service, m.members[m.leader].Reading.Desired
		m.out.Desired.KeepRules, m.out.Desired.NodeSelector, m.out.Desired.KeepNodes = false, "", false // those are seen to member by member
		return
	}
	m.out.Desired = Desired{
		Nodes: m.current.Nodes, Algorithm: m.current.Algorithm, Timeout: m.current.Timeout, ProxyProtocol: m.current.ProxyProtocol,
		StickyCookie: m.current.StickyCookie, HealthCheck: m.current.HealthCheck, KeepTLS: true,
	}
}

// listener is what one rule alone can listen on.
type listener struct {
	port int
	udp  bool
}

func listenerOf(rule vultr.ForwardingRule) listener {
	return listener{rule.FrontendPort, rule.FrontendProtocol == "udp"}
}

func (l listener) String() string {
	if l.udp {
		return fmt.Sprintf("%d/UDP", l.port)
	}
	return fmt.Sprintf("%d/TCP", l.port)
}

// LeadsTo reports whether a rule leads to the Service: a node port is one Service's.
func LeadsTo(rule vultr.ForwardingRule, service *v1.Service) bool {
	return rule.BackendPort != 0 && slices.ContainsFunc(service.Spec.Ports, func(port v1.ServicePort) bool { return int(port.NodePort) == rule.BackendPort })
}

// RulesOf returns the rules that lead to the Service.
func RulesOf(rules []vultr.ForwardingRule, service *v1.Service) []vultr.ForwardingRule {
	var own []vultr.ForwardingRule
	for _, rule := range rules {
		if LeadsTo(rule, service) {
			own = append(own, rule)
		}
	}
	return own
}

// wanted returns the rules that a member asks for, or those that it has.
func (m *merger) wanted(member Member) []vultr.ForwardingRule {
	if member.faulty() || member.Reading.Desired.KeepRules {
		return RulesOf(m.current.Rules, member.Service)
	}
	return member.Reading.Desired.Rules
}

// ports gives each port to one member, as many as a load balancer forwards.
func (m *merger) ports() {
	wanted := make([][]vultr.ForwardingRule, len(m.members))
	for i, member := range m.members {
		wanted[i] = m.wanted(member)
	}
	owner, served := m.owners(wanted)
	clashes := m.clashes(owner, served)
	for at := range clashes {
		m.giveToAnother(at, wanted, owner, served, clashes)
	}
	m.owned = make([][]vultr.ForwardingRule, len(m.members))
	for _, already := range []bool{true, false} { // what is served stays
		for i := range m.members {
			m.give(i, wanted[i], func(at listener) bool { return owner[at] == i && served[at] == already && clashes[at] == nil })
		}
	}
	for i := range m.members {
		for _, rule := range wanted[i] {
			at := listenerOf(rule)
			if other := clashes[at]; other != nil {
				m.out.Refused[i] = append(m.out.Refused[i], fmt.Sprintf("%s (Service %s/%s has %s and admits others, and firewall rules are for both)",
					at, other.Namespace, other.Name, listener{at.port, !at.udp}))
			} else if holder := m.members[owner[at]].Service; owner[at] != i {
				m.out.Refused[i] = append(m.out.Refused[i], fmt.Sprintf("%s (Service %s/%s has it)", at, holder.Namespace, holder.Name))
			}
		}
	}
	m.out.Desired.Rules = slices.Concat(m.owned...)
	SortRules(m.out.Desired.Rules)
}

// give gives a member those of the ports that it wants and may have, as long as there is room.
func (m *merger) give(i int, wanted []vultr.ForwardingRule, may func(listener) bool) {
	for _, rule := range wanted {
		switch at := listenerOf(rule); {
		case !may(at):
		case m.given == MaxRules:
			m.out.Refused[i] = append(m.out.Refused[i], fmt.Sprintf("%s (the load balancer forwards %d ports already, which is all it can)", at, MaxRules))
		default:
			m.given++
			m.owned[i] = append(m.owned[i], rule)
		}
	}
}

// owners returns the member for each port that is wanted, and which ports lead to their owners already.
func (m *merger) owners(wanted [][]vultr.ForwardingRule) (owner map[listener]int, served map[listener]bool) {
	owner, served = map[listener]int{}, map[listener]bool{}
	for i, member := range m.members {
		for _, rule := range wanted[i] {
			at := listenerOf(rule)
			if slices.ContainsFunc(m.current.Rules, func(is vultr.ForwardingRule) bool { return listenerOf(is) == at && LeadsTo(is, member.Service) }) {
				owner[at], served[at] = i, true
			}
		}
	}
	for i := range m.members {
		for _, rule := range wanted[i] {
			if _, taken := owner[listenerOf(rule)]; !taken {
				owner[listenerOf(rule)] = i
			}
		}
	}
	return owner, served
}

// clashes returns the ports that their owners don't get, with the Service that keeps them from it: it has the same number by the
// other protocol, and admits others. Firewall rules are for both protocols, so each would open the other's port to whom it admits.
func (m *merger) clashes(owner map[listener]int, served map[listener]bool) map[listener]*v1.Service {
	clashes := map[listener]*v1.Service{}
	for tcp, i := range owner {
		udp := listener{tcp.port, true}
		j, both := owner[udp]
		if tcp.udp || !both || i == j || m.admits(i, tcp.port) == m.admits(j, tcp.port) {
			continue
		}
		if served[udp] && !served[tcp] || served[udp] == served[tcp] && j < i {
			clashes[tcp] = m.members[j].Service
		} else {
			clashes[udp] = m.members[i].Service
		}
	}
	return clashes
}

// giveToAnother gives a port that its owner doesn't get to the oldest of those who want it and admit the same as who has the number by the
// other protocol.
func (m *merger) giveToAnother(at listener, wanted [][]vultr.ForwardingRule, owner map[listener]int, served map[listener]bool, clashes map[listener]*v1.Service) {
	admitted := m.admits(owner[listener{at.port, !at.udp}], at.port)
	for i := range m.members {
		wants := slices.ContainsFunc(wanted[i], func(rule vultr.ForwardingRule) bool { return listenerOf(rule) == at })
		if wants && m.admits(i, at.port) == admitted {
			owner[at], served[at] = i, false
			delete(clashes, at)
			return
		}
	}
}

// admits returns whom a member admits to a port, as text; "" is everybody.
func (m *merger) admits(i, port int) string {
	d, rules := m.members[i].Reading.Desired, []vultr.FirewallRule(nil)
	switch {
	case m.members[i].faulty() || d.KeepFirewall:
		rules = comparableFirewall(m.current.Firewall)
	case d.FirewallStated:
		rules = d.Firewall
	}
	own := slices.DeleteFunc(slices.Clone(rules), func(rule vultr.FirewallRule) bool { return rule.Port != port })
	lacks := func(rule vultr.FirewallRule) bool { return !slices.Contains(own, rule) }
	if len(rules) == 0 || !slices.ContainsFunc(everybody(port), lacks) {
		return ""
	}
	SortFirewall(own)
	return fmt.Sprint(own)
}

// has reports whether a member's rules listen by one of the protocols.
func (m *merger) has(i int, frontends ...string) bool {
	return slices.ContainsFunc(m.owned[i], func(rule vultr.ForwardingRule) bool { return slices.Contains(frontends, rule.FrontendProtocol) })
}

// terminates reports whether an https port leads to a member already.
func (m *merger) terminates(i int) bool {
	return slices.ContainsFunc(RulesOf(m.current.Rules, m.members[i].Service), func(rule vultr.ForwardingRule) bool { return rule.FrontendProtocol == "https" })
}

// certificates takes what is about certificates and HTTP versions from the oldest member with an https port, best one that is served
// already: no other one's certificate takes the place of the one that its clients know.
func (m *merger) certificates() {
	certifier := -1
	for i := range m.members {
		if m.has(i, "https") && (certifier < 0 || m.terminates(i) && !m.terminates(certifier)) {
			certifier = i
		}
	}
	if certifier < 0 {
		certifier = m.leader
	}
	if certifier < 0 {
		m.keepCertificates()
		return
	}
	m.out.Certifier = m.members[certifier].Service
	if m.members[certifier].faulty() {
		m.keepCertificates()
		return
	}
	d, from := &m.out.Desired, m.members[certifier].Reading.Desired
	d.TLSSecret, d.KeepTLS, d.AutoSSL, d.AutoSSLSecret = from.TLSSecret, from.KeepTLS, from.AutoSSL, from.AutoSSLSecret
	d.SSLRedirect, d.KeepSSLRedirect, d.HTTP2, d.HTTP3 = from.SSLRedirect, from.KeepSSLRedirect, from.HTTP2, from.HTTP3
	for _, rule := range d.Rules {
		quic := func(other vultr.ForwardingRule) bool { return listenerOf(other) == listener{rule.FrontendPort, true} }
		if d.HTTP3 && rule.FrontendProtocol == "https" && slices.ContainsFunc(d.Rules, quic) {
			d.HTTP3 = false // it needs the UDP port of the same number, which is another member's
		}
	}
}

func (m *merger) keepCertificates() {
	d := &m.out.Desired
	d.TLSSecret, d.AutoSSL, d.AutoSSLSecret, d.KeepTLS = "", nil, "", true
	d.SSLRedirect, d.KeepSSLRedirect, d.HTTP2, d.HTTP3 = m.current.SSLRedirect, true, m.current.HTTP2, m.current.HTTP3
}

// keepHealthCheck sees to it that what is checked is not a port of a Service that has left.
func (m *merger) keepHealthCheck() {
	d := &m.out.Desired
	if slices.ContainsFunc(m.members, func(member Member) bool { return member.answersAt(d.HealthCheck.Port) }) {
		return
	}
	for _, rule := range d.Rules {
		if rule.FrontendProtocol != "udp" {
			d.HealthCheck.Protocol, d.HealthCheck.Port, d.HealthCheck.Path = "tcp", rule.BackendPort, ""
			return
		}
	}
}

// answersAt reports whether a port of the nodes is kube-proxy's, or the member's.
func (m Member) answersAt(port int) bool {
	return port != 0 && (port == KubeProxyPort || port == m.Reading.proxyPort || port == int(m.Service.Spec.HealthCheckNodePort) ||
		LeadsTo(vultr.ForwardingRule{BackendPort: port}, m.Service))
}

// access is who is admitted to the ports of a member.
type access struct {
	// stated is set if the member says something about it, even if it is "everybody".
	stated bool
	// restricted is set if not everybody is admitted: the rules are all that are.
	restricted bool
	rules      []vultr.FirewallRule
}

// firewall admits to the ports of each member whom that member admits. As soon as there is one rule, a port without any is
// closed: then the ports of members that admit everybody get rules that say so.
func (m *merger) firewall() {
	all := make([]access, len(m.members))
	stated, restricted, kept := false, false, false
	for i, member := range m.members {
		all[i] = m.access(i)
		stated, restricted = stated || all[i].stated, restricted || all[i].restricted
		kept = kept || member.faulty() || member.Reading.Desired.KeepFirewall
	}
	d := &m.out.Desired
	d.Firewall, d.FirewallStated, d.KeepFirewall = nil, stated || restricted, kept && !restricted && !stated
	if !restricted {
		return
	}
	for i, who := range all {
		if who.restricted {
			d.Firewall = append(d.Firewall, who.rules...)
			continue
		}
		for _, rule := range m.owned[i] {
			d.Firewall = append(d.Firewall, everybody(rule.FrontendPort)...)
		}
	}
	SortFirewall(d.Firewall)
	d.Firewall = slices.Compact(d.Firewall)
	if len(d.Firewall) == 0 && len(d.Rules) > 0 {
		d.Firewall = nobody(d.Rules[0].FrontendPort) // without a rule everybody would be admitted to all ports
	}
}

// nobody returns a rule that admits nobody: nothing comes from TEST-NET-1.
func nobody(port int) []vultr.FirewallRule {
	return []vultr.FirewallRule{{Port: port, Source: "192.0.2.0/32", IPType: "v4"}}
}

// everybody returns the rules that admit everybody to a port.
func everybody(port int) []vultr.FirewallRule {
	return []vultr.FirewallRule{{Port: port, Source: "0.0.0.0/0", IPType: "v4"}, {Port: port, Source: "::/0", IPType: "v6"}}
}

// access returns who is admitted to the ports of a member. A rule for a port of another member is left out: nobody opens what
// is another's.
func (m *merger) access(i int) access {
	member := m.members[i]
	own := func(rule vultr.FirewallRule) bool {
		return slices.ContainsFunc(m.owned[i], func(owned vultr.ForwardingRule) bool { return owned.FrontendPort == rule.Port })
	}
	only := func(rules []vultr.FirewallRule) []vultr.FirewallRule {
		return slices.DeleteFunc(slices.Clone(rules), func(rule vultr.FirewallRule) bool { return !own(rule) })
	}
	d := member.Reading.Desired
	if member.faulty() || d.KeepFirewall {
		return access{restricted: len(m.current.Firewall) > 0, rules: only(comparableFirewall(m.current.Firewall))}
	}
	rules := only(d.Firewall)
	if slices.ContainsFunc(d.Firewall, func(rule vultr.FirewallRule) bool {
		return !slices.ContainsFunc(d.Rules, func(asked vultr.ForwardingRule) bool { return asked.FrontendPort == rule.Port })
	}) {
		m.out.Overruled[i] = append(m.out.Overruled[i], "firewall rules for ports that this Service does not have")
	}
	return access{stated: d.FirewallStated, restricted: d.FirewallStated && len(d.Firewall) > 0, rules: rules}
}

// shared are the settings that a load balancer has once for all its ports.
var shared = []struct {
	name    string
	keys    []settings.Key
	differs func(whole, own Desired) bool
}{
	{"node-count", []settings.Key{settings.NodeCount}, func(a, b Desired) bool { return a.Nodes != b.Nodes }},
	{"algorithm", []settings.Key{settings.Algorithm}, func(a, b Desired) bool { return a.Algorithm != b.Algorithm }},
	{"timeout", []settings.Key{settings.Timeout}, func(a, b Desired) bool { return a.Timeout != b.Timeout }},
	{"sticky session", []settings.Key{settings.StickySessionEnabled, settings.StickySessionCookieName}, func(a, b Desired) bool { return a.StickyCookie != b.StickyCookie }},
	{"health check", append([]settings.Key{
		settings.HealthCheckKubeProxy, settings.HealthCheckInterval, settings.HealthCheckTimeout, settings.HealthCheckUnhealthy, settings.HealthCheckHealthy,
	}, healthTarget...), func(a, b Desired) bool { return a.HealthCheck != b.HealthCheck }},
	{"ssl-redirect", []settings.Key{settings.SSLRedirect}, func(a, b Desired) bool { return a.SSLRedirect != b.SSLRedirect }},
	{"http2", []settings.Key{settings.HTTP2}, func(a, b Desired) bool { return a.HTTP2 != b.HTTP2 }},
	{"http3", []settings.Key{settings.HTTP3}, func(a, b Desired) bool { return a.HTTP3 != b.HTTP3 }},
	{"vpc", []settings.Key{settings.VPC, settings.PrivateNetwork}, func(a, b Desired) bool { return a.VPCOfNodes != b.VPCOfNodes || textOf(a.VPC) != textOf(b.VPC) }},
	{"global-regions", []settings.Key{settings.GlobalRegions}, func(a, b Desired) bool { return !slices.Equal(regionsOf(a), regionsOf(b)) }},
}

// regionsOf returns the further regions in their order.
func regionsOf(d Desired) []vultr.GlobalRegion {
	if d.GlobalRegions == nil {
		return nil
	}
	regions := slices.Clone(*d.GlobalRegions)
	sortRegions(regions)
	return regions
}

func textOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// overrule collects what members state and do not get. What changes the traffic to their pods is told even if they state nothing.
func (m *merger) overrule() {
	whole := m.out.Desired
	for i, member := range m.members {
		if member.faulty() {
			continue
		}
		own, asks := member.Reading.Desired, settings.NewReader(member.Service.Annotations)
		tell := func(name string) { m.out.Overruled[i] = append(m.out.Overruled[i], name) }
		for _, setting := range shared {
			if setting.differs(whole, own) && slices.ContainsFunc(setting.keys, asks.Says) {
				tell(setting.name)
			}
		}
		if whole.ProxyProtocol != own.ProxyProtocol {
			tell(fmt.Sprintf("proxy-protocol, which is %t for all", whole.ProxyProtocol))
		}
		if from := m.out.Certifier; whole.SSLRedirect && from != nil && m.has(i, "http") && !asks.Says(settings.SSLRedirect) {
			tell(fmt.Sprintf("ssl-redirect, which Service %s/%s has for all http ports", from.Namespace, from.Name))
		}
		if m.otherCertificate(member) {
			tell("certificate")
		}
	}
}

// otherCertificate reports whether a member asks for a certificate, and the https ports have another one.
func (m *merger) otherCertificate(member Member) bool {
	own, whole := member.Reading.Desired, m.out.Desired
	asks := own.TLSSecret != "" || own.AutoSSL != nil
	if !asks || m.out.Certifier == nil || m.out.Certifier.UID == member.Service.UID {
		return false
	}
	same := own.TLSSecret == whole.TLSSecret && (own.TLSSecret == "" || member.Service.Namespace == m.out.Certifier.Namespace)
	issued := own.AutoSSL == nil && whole.AutoSSL == nil || own.AutoSSL != nil && whole.AutoSSL != nil && *own.AutoSSL == *whole.AutoSSL
	return !same || !issued
}
