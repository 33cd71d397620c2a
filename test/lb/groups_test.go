package lb

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// group is the Services that one load balancer serves, the oldest first.
type group []*v1.Service

func (g group) String() string {
	names := make([]string, 0, len(g))
	for _, s := range g {
		names = append(names, s.Name)
	}
	return strings.Join(names, "+")
}

// groupsOf returns the groups of Services that are to have load balancers. Which of those with one label share one depends on what
// was before, as nobody loses an address by a label: so it is read in the ledger, and discord says what must not be there.
func groupsOf(s *situation) []group {
	var groups []group
	at := map[types.UID]int{} // by host
	for _, service := range s.services {
		if !wanting(service) {
			continue
		}
		host := service.UID
		if s.entries[host].ID == "" {
			for uid, entry := range s.entries {
				if entry.ID != "" && entry.Guests.Has(service.UID) {
					host = uid
				}
			}
		}
		i, known := at[host]
		if !known {
			i = len(groups)
			at[host], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], service)
	}
	return groups
}

func wanting(s *v1.Service) bool {
	return s.DeletionTimestamp == nil && s.Spec.Type == v1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil && !disowned(s)
}

func disowned(s *v1.Service) bool { return s.Annotations[string(settings.Disown)] == "true" }

// host returns the Service under whose UID the load balancer of a group is written down, and the entry; nil and nothing if it is
// not, or under that of a Service which is not one of them.
func (g group) host(s *situation) (*v1.Service, ledger.Entry) {
	for _, member := range g {
		if entry := s.entries[member.UID]; entry.ID != "" {
			return member, entry
		}
	}
	return nil, ledger.Entry{}
}

// discord lists what must not be in a group: members with another label, or with records of their own, and guests that are none.
func (g group) discord(s *situation, entry ledger.Entry) (wrong []string) {
	label := g[0].Annotations[string(settings.Label)]
	if len(g) > 1 && (label == "" || entry.Group != label) {
		wrong = append(wrong, fmt.Sprintf("they share a load balancer by the label %q, the first one has %q", entry.Group, label))
	}
	var uids []types.UID
	for _, member := range g {
		if other := member.Annotations[string(settings.Label)]; other != label {
			wrong = append(wrong, fmt.Sprintf("%s has the label %q", member.Name, other))
		}
		if own := s.entries[member.UID]; own.ID != "" && own.ID != entry.ID {
			wrong = append(wrong, fmt.Sprintf("the ledger has %s and %s", entry.ID, own.ID))
		}
		uids = append(uids, member.UID)
	}
	for _, guest := range entry.Guests.List() {
		if !slices.Contains(uids, guest) {
			wrong = append(wrong, fmt.Sprintf("%s is written down as a guest", guest))
		}
	}
	return wrong
}

// namedElsewhere reports whether an older Service than the host, which shares nothing with it, has its label: then the load balancer
// keeps whatever name it has.
func (g group) namedElsewhere(s *situation, host *v1.Service) bool {
	return slices.ContainsFunc(s.services, func(other *v1.Service) bool {
		label := other.Annotations[string(settings.Label)]
		return wanting(other) && !slices.Contains(g, other) && label != "" && label == host.Annotations[string(settings.Label)] && other.UID < host.UID
	})
}

// badNodeCount is a value of the node count that the Service's owner is told about, and with which nothing but backends is changed.
const badNodeCount = "2"

// faulty reports whether nobody can say what the load balancer of a group is to be like.
func (g group) faulty() bool {
	return slices.ContainsFunc(g, func(s *v1.Service) bool { return s.Annotations[string(settings.NodeCount)] == badNodeCount })
}

// certifier returns the Service whose certificate the load balancer is to have: the one with the https port, else the oldest.
func (g group) certifier(lb *vultr.LoadBalancer) *v1.Service {
	for _, p := range g.ports(lb) {
		if p.protocol() == "https" {
			return p.owner
		}
	}
	return g[0]
}

// owned is a port of the load balancer and the Service that it is to lead to.
type owned struct {
	v1.ServicePort

	owner *v1.Service
}

// protocol is what is spoken on it.
func (p owned) protocol() string {
	asks := func(key settings.Key) string { return p.owner.Annotations[string(key)] }
	if (asks(settings.SSL) != "" || asks(settings.AutoSSLDomain) != "") && strconv.Itoa(int(p.Port)) == asks(settings.HTTPSPorts) {
		return "https"
	}
	return strings.ToLower(string(p.Protocol))
}

// ports returns the ports that a group is to have. One that several want is that one's to which it leads already, else the oldest
// one's.
func (g group) ports(lb *vultr.LoadBalancer) []owned {
	var all []owned
	for _, s := range g {
		for _, port := range s.Spec.Ports {
			leads := slices.ContainsFunc(lb.Rules, func(r vultr.ForwardingRule) bool {
				return r.FrontendPort == int(port.Port) && r.BackendPort == int(port.NodePort)
			})
			at := slices.IndexFunc(all, func(p owned) bool { return p.Port == port.Port })
			switch {
			case at < 0:
				all = append(all, owned{port, s})
			case leads:
				all[at] = owned{port, s}
			}
		}
	}
	return all
}

// looks is what a load balancer looks like, as far as these tests vary it.
type looks struct {
	Label, Algorithm, Domain, VPC string
	Timeout                       int
	Rules, Sources, Regions       []string
	Encrypted                     bool
}

func looksOf(lb *vultr.LoadBalancer) looks {
	is := looks{Label: lb.Label, Algorithm: lb.Algorithm, Domain: lb.AutoSSL.Domain, VPC: lb.VPC, Timeout: lb.Timeout, Encrypted: lb.HasSSL}
	for _, rule := range lb.Rules {
		is.Rules = append(is.Rules, fmt.Sprintf("%s %d to %d", rule.FrontendProtocol, rule.FrontendPort, rule.BackendPort))
	}
	for _, rule := range lb.Firewall {
		is.Sources = append(is.Sources, fmt.Sprintf("%s,%d", rule.Source, rule.Port))
	}
	for _, region := range lb.GlobalRegions {
		is.Regions = append(is.Regions, region.Region)
	}
	return is.sorted()
}

func (l looks) sorted() looks {
	slices.Sort(l.Rules)
	slices.Sort(l.Sources)
	slices.Sort(l.Regions)
	return l
}

// wanted is what the load balancer of a group is to look like. It is told from the fields and the few annotations that
// these tests use, not by the code that is under test.
func (w *world) wanted(g group, lb *vultr.LoadBalancer, adopted bool) looks {
	asks := func(key settings.Key) string { return g[0].Annotations[string(key)] }
	want := looks{Label: asks(settings.Label), Algorithm: "roundrobin", Timeout: 600}
	switch {
	case want.Label != "":
	case adopted:
		want.Label = lb.Label
	default:
		want.Label = cloudprovider.DefaultLoadBalancerName(g[0])
	}
	if asks(settings.Algorithm) == "least_connections" {
		want.Algorithm = "leastconn"
	}
	if text := asks(settings.Timeout); text != "" {
		want.Timeout = 0
		_, _ = fmt.Sscan(text, &want.Timeout) // an invalid number leaves 0, which no load balancer has
	}
	if asks(settings.VPC) == "true" {
		want.VPC = w.cloud.Sim.View().VPCs[0].ID // these tests have one
	}
	if regions := asks(settings.GlobalRegions); regions != "" {
		want.Regions = strings.Split(regions, ",")
	}
	certifier := g.certifier(lb)
	want.Domain = certifier.Annotations[string(settings.AutoSSLDomain)]
	want.Encrypted = want.Domain != "" || certifier.Annotations[string(settings.SSL)] != ""
	for _, port := range g.ports(lb) {
		want.Rules = append(want.Rules, fmt.Sprintf("%s %d to %d", port.protocol(), port.Port, port.NodePort))
	}
	want.Sources = w.admitted(g, lb)
	return want.sorted()
}

// admitted returns who is admitted to which port, nobody if that is everybody.
func (w *world) admitted(g group, lb *vultr.LoadBalancer) []string {
	var sources []string
	restricted := false
	for _, s := range g {
		own := w.sourcesOf(s, g, lb)
		restricted = restricted || own != nil
		if own == nil {
			for _, port := range g.ports(lb) {
				if port.owner == s {
					own = append(own, fmt.Sprintf("0.0.0.0/0,%d", port.Port), fmt.Sprintf("::/0,%d", port.Port))
				}
			}
		}
		sources = append(sources, own...)
	}
	if !restricted {
		return nil
	}
	slices.Sort(sources)
	if sources = slices.Compact(sources); len(sources) > 0 {
		return sources
	}
	first := slices.MinFunc(g.ports(lb), func(a, b owned) int { return int(a.Port - b.Port) })
	return []string{fmt.Sprintf("192.0.2.0/32,%d", first.Port)} // where nothing comes from
}

// sourcesOf returns whom a Service admits to its ports, nil if everybody. In company nobody opens the ports of others.
func (w *world) sourcesOf(s *v1.Service, g group, lb *vultr.LoadBalancer) []string {
	name := s.Annotations[string(settings.FirewallRulesCM)]
	if name == "" && len(s.Spec.LoadBalancerSourceRanges) == 0 {
		return nil
	}
	sources := []string{}
	for _, port := range g.ports(lb) {
		for _, source := range s.Spec.LoadBalancerSourceRanges {
			if port.owner == s {
				sources = append(sources, fmt.Sprintf("%s,%d", source, port.Port))
			}
		}
	}
	if name == "" {
		return sources
	}
	for _, rule := range w.rulesIn(name) {
		_, number, _ := strings.Cut(rule, ",")
		own := func(p owned) bool { return p.owner == s && strconv.Itoa(int(p.Port)) == number }
		if len(g) == 1 || slices.ContainsFunc(g.ports(lb), own) {
			sources = append(sources, rule)
		}
	}
	return sources
}

// rulesIn returns the firewall rules of a ConfigMap.
func (w *world) rulesIn(name string) []string {
	found, err := w.user.CoreV1().ConfigMaps(namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		return []string{"ConfigMap " + name + ": " + err.Error()}
	}
	return strings.Fields(found.Data[plan.FirewallMapKey])
}
