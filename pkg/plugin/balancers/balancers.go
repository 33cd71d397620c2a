// Package balancers shows what the load balancer of each Service is, what it is to be, and where the two differ. It decides
// over plain values, by the code of the controller.
package balancers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/lost"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/plugin/kube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// nodeCost is what one machine of a load balancer costs a month, in dollars. The API does not tell it.
const nodeCost = 10

// MonthlyCost returns what a load balancer costs a month, in dollars.
func MonthlyCost(lb vultr.LoadBalancer) float64 { return nodeCost * float64(max(lb.Nodes, 1)) }

// State is how a Service and its load balancer stand to each other.
type State string

// The states.
const (
	// Serving is a load balancer that is as its Service asks for.
	Serving State = "serving"
	// Pending is one that is being made.
	Pending State = "pending"
	// Differs is one that is not as its Service asks for: the controller is at it, or does not run.
	Differs State = "differs"
	// Faulty is one whose Service has faults: it keeps its settings until they are mended. Of one that several share, it is also the
	// state of a Service that does not get all of its ports.
	Faulty State = "faulty"
	// Missing is a Service that has none.
	Missing State = "missing"
	// Unmanaged is a Service that wants none of this controller, or has given it up as it is.
	Unmanaged State = "unmanaged"
	// Foreign is a load balancer of the account that no Service of this cluster has.
	Foreign State = "foreign"
)

// Trouble reports whether somebody should look at it.
func (s State) Trouble() bool { return s == Differs || s == Faulty || s == Missing }

// Backend is one instance behind a load balancer.
type Backend struct {
	Instance string `json:"instance"`
	// Node is "" for an instance that is no Node of this cluster.
	Node  string `json:"node,omitempty"`
	Ready bool   `json:"ready"`
}

// Balancer is a Service with its load balancer, or one of both.
type Balancer struct {
	State State `json:"state"`
	// Service is "namespace/name", "" for a load balancer that no Service has.
	Service string `json:"service,omitempty"`
	ID      string `json:"id,omitempty"`
	// Proof is by what it is known to be the Service's: "ledger", "label" or "address". Only the first is a proof to the
	// controller as well.
	Proof   string `json:"proof,omitempty"`
	Adopted bool   `json:"adopted,omitempty"`
	// SharedWith are the other Services that it serves.
	SharedWith  []string `json:"sharedWith,omitempty"`
	Label       string   `json:"label,omitempty"`
	Status      string   `json:"status,omitempty"`
	Region      string   `json:"region,omitempty"`
	Addresses   []string `json:"addresses,omitempty"`
	Nodes       int      `json:"nodes,omitempty"`
	MonthlyCost float64  `json:"monthlyCost,omitempty"`
	// Rules are the ports: "https 443 -> http 31080".
	Rules    []string  `json:"rules,omitempty"`
	Backends []Backend `json:"backends,omitempty"`
	// Health is what the load balancer's own checks say of its backends. The platform's API does not tell it.
	Health string `json:"health,omitempty"`
	// Differs are the settings that are not as asked for, in the platform's words.
	Differs []string `json:"differs,omitempty"`
	// Differences has their values.
	Differences []Difference `json:"differences,omitempty"`
	Faults      []string     `json:"faults,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
	// LeftOut are Nodes that are not backends, with the reason.
	LeftOut []string `json:"leftOut,omitempty"`
}

// healthUntold says why the health of backends is not shown.
const healthUntold = "not told by the API; ready is what Kubernetes says of the node"

// Difference is a setting that is not as asked for.
type Difference = plan.Difference

// Input is what is known of a cluster and its account.
type Input struct {
	Services      []*v1.Service
	Nodes         []*v1.Node
	Entries       map[types.UID]ledger.Entry
	LoadBalancers []vultr.LoadBalancer
	// Instances are those of the account. One that a Node names and the account lacks is not a backend.
	Instances []vultr.Instance
	Defaults  settings.Defaults
	// KubeProxyPort is where kube-proxy answers on the nodes, 0 for its usual port.
	KubeProxyPort int
	// Named is what the objects say that Services name, by the Services' UIDs. What is not known is not compared.
	Named map[types.UID][]plan.Option
	// All shows the load balancers of others in the account as well.
	All bool
}

// Show returns the Services that are or could be served, ordered by name, and then the load balancers of others.
func Show(in Input) []Balancer {
	var all []Balancer
	taken := map[string]bool{}
	for _, service := range in.Services {
		if service.Spec.Type != v1.ServiceTypeLoadBalancer || !plan.OfClass(service, false) {
			continue
		}
		b := in.show(service)
		taken[b.ID] = true
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b Balancer) int { return cmp.Compare(a.Service, b.Service) })
	if !in.All {
		return all
	}
	var others []Balancer
	for _, lb := range in.LoadBalancers {
		if !taken[lb.ID] {
			b := Balancer{State: Foreign}
			in.fill(&b, lb)
			others = append(others, b)
		}
	}
	slices.SortFunc(others, func(a, b Balancer) int { return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.ID, b.ID)) })
	return append(all, others...)
}

// show joins a Service with its load balancer.
func (in Input) show(service *v1.Service) Balancer {
	entry, sharers := in.shared(service)
	b := Balancer{Service: service.Namespace + "/" + service.Name, ID: entry.ID, Adopted: entry.Adopted}
	managed := plan.Managed(service) && !plan.Disowned(service)
	reading := in.read(service)
	if managed {
		b.Faults, b.Warnings = faults(reading), reading.Warnings
	}
	lb, proof := in.find(service, entry)
	switch {
	case lb == nil && !managed:
		b.State = Unmanaged
		return b
	case lb == nil:
		b.State = Missing
		if err := reading.MayCreate(); err != nil {
			b.Faults = append(b.Faults, err.Error())
		}
		return b
	}
	in.fill(&b, *lb)
	b.Proof = proof
	switch {
	case !managed:
		b.State = Unmanaged
		return b
	case !lb.Active() || len(b.Addresses) == 0:
		b.State = Pending
		return b
	}
	b.SharedWith = namesBesides(sharers, service)
	want := in.asks(service, sharers, *lb, entry)
	want.tell(&b)
	diff := in.compare(&b, *lb, service, entry, want)
	b.Differs, b.Differences = diff.Fields, plan.Differences(*lb, diff, kube.Instances(in.Nodes))
	switch {
	case reading.Err != nil || len(want.refused) > 0:
		b.State = Faulty
	case !diff.Empty():
		b.State = Differs
	default:
		b.State = Serving
	}
	return b
}

// read reads what the Service asks for, as the controller does.
func (in Input) read(service *v1.Service) plan.Reading {
	options := []plan.Option{plan.WithUnreadReferences(), plan.WithDefaults(in.Defaults), plan.WithKubeProxyPort(in.KubeProxyPort)}
	return plan.Read(service, append(options, in.Named[service.UID]...)...)
}

// find returns the Service's load balancer, and by what it is known.
func (in Input) find(service *v1.Service, entry ledger.Entry) (lb *vultr.LoadBalancer, proof string) {
	held := map[string]bool{}
	for uid, other := range in.Entries {
		held[other.ID] = held[other.ID] || uid != service.UID && other.Left != service.UID && !other.Guests.Has(service.UID)
	}
	by := func(is func(vultr.LoadBalancer) bool) *vultr.LoadBalancer {
		if i := slices.IndexFunc(in.LoadBalancers, is); i >= 0 {
			return &in.LoadBalancers[i]
		}
		return nil
	}
	if entry.ID != "" {
		if lb := by(func(lb vultr.LoadBalancer) bool { return lb.ID == entry.ID }); lb != nil {
			return lb, "ledger"
		}
	}
	name := lost.Label(service.UID)
	if lb := by(func(lb vultr.LoadBalancer) bool { return lb.Label == name && !held[lb.ID] }); lb != nil {
		return lb, "label"
	}
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		serves := func(lb vultr.LoadBalancer) bool {
			return ingress.IP != "" && (lb.IPv4 == ingress.IP || lb.IPv6 == ingress.IP) && !held[lb.ID]
		}
		if lb := by(serves); lb != nil {
			return lb, "address"
		}
	}
	return nil, ""
}

// fill shows a load balancer as it is.
func (in Input) fill(b *Balancer, lb vultr.LoadBalancer) {
	b.ID, b.Label, b.Status, b.Region, b.Nodes, b.MonthlyCost = lb.ID, lb.Label, lb.Status, lb.Region, lb.Nodes, MonthlyCost(lb)
	for _, address := range []string{lb.IPv4, lb.IPv6} {
		if address != "" {
			b.Addresses = append(b.Addresses, address)
		}
	}
	rules := slices.Clone(lb.Rules)
	plan.SortRules(rules)
	for _, r := range rules {
		b.Rules = append(b.Rules, plan.RuleText(r))
	}
	names, ready := kube.Instances(in.Nodes), map[string]bool{}
	for _, node := range in.Nodes {
		ready[node.Name] = readiness.IsReady(node)
	}
	for _, id := range lb.Instances {
		name := names[strings.ToLower(id)]
		b.Backends = append(b.Backends, Backend{Instance: id, Node: name, Ready: ready[name]})
	}
	b.Health = healthUntold
}

// compare compares the load balancer with what the controller would make of it now.
func (in Input) compare(b *Balancer, lb vultr.LoadBalancer, service *v1.Service, entry ledger.Entry, all asked) plan.Change {
	want := all.Desired
	if want.Label == "" && !entry.Adopted {
		want.Label = lost.Label(service.UID)
	}
	if slices.ContainsFunc(in.LoadBalancers, func(other vultr.LoadBalancer) bool { return other.ID != lb.ID && other.Label == want.Label }) {
		want.Label = "" // it keeps the name that it has
	}
	if !want.FirewallStated && !entry.Firewall && len(lb.Firewall) > 0 {
		want.KeepFirewall = true // nobody asked for it to be opened
	}
	if all.Err != nil {
		want.VPC, want.VPCOfNodes = nil, false // all but the backends stays as it is
	}
	nodes, apart := servicelb.Selected(in.Nodes, all.selectors)
	rules := in.reach(b, nodes, lb, &want)
	var skipped []plan.Skip
	want.Instances, skipped = plan.Backends(nodes, rules)
	for _, skip := range skipped {
		b.LeftOut = append(b.LeftOut, skip.String())
	}
	want.Instances = in.known(b, want.Instances)
	want.KeepInstances = all.unjudged || len(apart) > 0 || len(want.Instances) == 0 && len(lb.Instances) > 0
	if all.Err != nil {
		return plan.DiffBackends(lb, want)
	}
	return plan.Diff(lb, want)
}

// reach returns which nodes the load balancer reaches, through the network that it is to be in.
func (in Input) reach(b *Balancer, nodes []*v1.Node, lb vultr.LoadBalancer, want *plan.Desired) plan.BackendRules {
	rules := plan.BackendRules{Region: lb.Region, VPC: lb.VPC, Machines: plan.Machines(in.Instances)}
	if want.VPCOfNodes && len(nodes) > 0 {
		vpc, err := plan.VPCOf(nodes, rules.Machines, lb.VPC, "")
		if err != nil {
			b.Warnings = append(b.Warnings, "the load balancer stays in the network that it is in: "+err.Error())
			return rules
		}
		want.VPC = &vpc
	}
	if want.VPC != nil {
		rules.VPC = *want.VPC
	}
	return rules
}

// known leaves out the instances that the account lacks.
func (in Input) known(b *Balancer, wanted []string) []string {
	there := map[string]bool{}
	for _, instance := range in.Instances {
		there[strings.ToLower(instance.ID)] = true
	}
	names := kube.Instances(in.Nodes)
	var kept []string
	for _, id := range wanted {
		if there[id] {
			kept = append(kept, id)
		} else {
			b.LeftOut = append(b.LeftOut, fmt.Sprintf("%s (the platform knows no instance %s)", names[id], id))
		}
	}
	return kept
}

// faults returns what is wrong with a Service, one by one.
func faults(reading plan.Reading) []string {
	if reading.Err == nil {
		return nil
	}
	return strings.Split(reading.Err.Error(), "\n")
}
