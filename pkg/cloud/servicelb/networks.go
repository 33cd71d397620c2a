package servicelb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// machinesAge is how old the list of instances may be that says in which networks they are: changes of that restart a
	// machine.
	machinesAge = time.Minute
	// newcomerAge is how old it may be if it lacks a node's instance, which may be new.
	newcomerAge = 30 * time.Second
)

// setBackends decides which nodes a load balancer sends to and through which network. The load balancer has no ID if it is
// still to be made.
func (c *Controller) setBackends(ctx context.Context, s *scene, lb vultr.LoadBalancer, want *plan.Desired) error {
	nodes, keep := c.selected(s, lb)
	rules, err := c.reach(ctx, s, nodes, lb, want)
	if err != nil {
		return err
	}
	want.Instances = c.backends(s, nodes, lb, rules)
	if keep {
		want.KeepInstances = true
		return nil
	}
	c.holdLastBackends(s, want, lb)
	return nil
}

// regionFor returns where a load balancer is made: where its nodes are. Those that a Service without any will have are more likely
// where the others are than elsewhere.
func (c *Controller) regionFor(ctx context.Context, s *scene) (string, error) {
	nodes, _ := c.selected(s, vultr.LoadBalancer{})
	if len(nodes) == 0 {
		nodes = candidates(s.nodes)
	}
	return c.Region(ctx, nodes)
}

// selected returns the nodes that are to get traffic out of those that the Service chooses, or all that share the load balancer
// choose together. keep is set if nobody knows better than to leave the backends as they are.
func (c *Controller) selected(s *scene, lb vultr.LoadBalancer) (nodes []*v1.Node, keep bool) {
	members := s.served()
	if len(members) > 1 {
		return c.selectedByAll(s, members, lb), false
	}
	own := members[0].reading.Desired
	nodes, _ = Selected(s.nodes, []string{own.NodeSelector})
	if own.KeepNodes && lb.ID != "" {
		nodes = backendsAmong(nodes, lb)
	}
	return nodes, c.tellSelector(s, members[0])
}

// selectedByAll returns the nodes that are right for all that share a load balancer. What would leave none is left aside: the older
// Service's word counts, and what is wrong with one leaves the backends of all others.
func (c *Controller) selectedByAll(s *scene, members []*member, lb vultr.LoadBalancer) []*v1.Node {
	var selectors []string
	for _, m := range members {
		m.apart = ""
		selectors = append(selectors, m.reading.Desired.NodeSelector)
	}
	nodes, apart := Selected(s.nodes, selectors)
	unclear := false
	for i, m := range members {
		if chooses := !c.tellSelector(s, m) && !m.reading.Desired.KeepNodes; chooses {
			if slices.Contains(apart, i) {
				m.apart = fmt.Sprintf("%s: no node that is ready and right for the older Services has the labels %s", settings.NodeSelector, selectors[i])
			}
			continue
		}
		unclear = true
	}
	if !unclear {
		s.memory.frozen = 0
		return nodes
	}
	there := backendsAmong(nodes, lb)
	s.memory.frozen = max(s.memory.frozen, len(there))
	if len(there) == 0 || 2*len(there) < s.memory.frozen {
		return nodes // what is wrong with one is not to leave all others with the last node
	}
	return there // none becomes one that may not be meant
}

// backendsAmong returns those of the nodes that are backends of the load balancer.
func backendsAmong(nodes []*v1.Node, lb vultr.LoadBalancer) []*v1.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(node *v1.Node) bool {
		id, _ := providerid.Parse(node.Spec.ProviderID) // without one it is no backend
		return !slices.Contains(lb.Instances, id)
	})
}

// tellSelector makes an Event of a selector that chooses no node though there are some: the backends stay, since more often it
// or a label is misspelled than that nobody is to serve. It reports whether that is so.
func (c *Controller) tellSelector(s *scene, m *member) bool {
	selector, message := m.reading.Desired.NodeSelector, ""
	if selector != "" && len(candidates(s.nodes)) > 0 && len(candidates(plan.Select(s.nodes, selector))) == 0 {
		message = fmt.Sprintf("No node that can be a backend has the labels of %s: %s. The last backends stay until one does", settings.NodeSelector, selector)
	}
	if m.memory.news(aboutSelector, message) {
		c.Recorder.Event(m.service, v1.EventTypeWarning, reason.NodeSelectorEmpty, message)
	}
	return message != ""
}

// selects reports whether the backends of any Service depend on the labels of nodes.
func (c *Controller) selects() bool {
	all, err := c.services.List(labels.Everything())
	return err == nil && slices.ContainsFunc(all, func(service *v1.Service) bool {
		return c.wanted(service) && settings.NewReader(service.Annotations).WithDefaults(c.Defaults).Text(settings.NodeSelector) != ""
	})
}

// reach decides through which network a load balancer reaches the nodes, and returns what follows for them. It goes into another
// network only if that reaches at least one of them.
func (c *Controller) reach(ctx context.Context, s *scene, nodes []*v1.Node, lb vultr.LoadBalancer, want *plan.Desired) (plan.BackendRules, error) {
	rules := plan.BackendRules{Region: lb.Region, VPC: lb.VPC}
	if s.reading.Err != nil {
		want.VPC, want.VPCOfNodes = nil, false // all but the backends stays as it is
	}
	moves := want.VPCOfNodes || want.VPC != nil && *want.VPC != lb.VPC
	if !moves && lb.VPC == "" && !slices.ContainsFunc(nodes, mayHide) {
		c.tellNetwork(s, nil)
		return rules, nil
	}
	var err error
	if rules.Machines, err = c.machines(ctx, s, nodes); err != nil {
		return rules, err
	}
	vpc, err := wantedVPC(nodes, lb, *want, rules, c.VPC)
	if err != nil && lb.ID == "" {
		return rules, fmt.Errorf("no load balancer was created: %w", err)
	}
	if err != nil {
		want.VPC = nil
		s.comeBack(lookAgain)
	} else {
		rules.VPC = vpc
		if moves {
			want.VPC = &vpc
		}
	}
	c.tellNetwork(s, err)
	return rules, nil
}

// wantedVPC returns the VPC that a load balancer is to be in. While there is nothing to reach, one that exists stays where it is.
func wantedVPC(nodes []*v1.Node, lb vultr.LoadBalancer, want plan.Desired, rules plan.BackendRules, preferred string) (string, error) {
	vpc := lb.VPC
	switch {
	case len(nodes) == 0 && lb.ID != "":
	case want.VPCOfNodes:
		var err error
		if vpc, err = plan.VPCOf(nodes, rules.Machines, lb.VPC, preferred); err != nil {
			return "", fmt.Errorf("annotation %s: %w", settings.VPC, err)
		}
	case want.VPC != nil:
		vpc = *want.VPC
	}
	if vpc == lb.VPC || len(nodes) == 0 {
		return vpc, nil
	}
	rules.VPC = vpc
	if fit, _ := plan.Fit(nodes, rules); len(fit) > 0 {
		return vpc, nil
	}
	if vpc == "" {
		return "", fmt.Errorf("none of the nodes has a public address: set %s to true", settings.VPC)
	}
	return "", fmt.Errorf("annotation %s: none of the nodes is in VPC %s", settings.VPC, vpc)
}

// tellNetwork makes an Event of a load balancer that stays in the network that it is in.
func (c *Controller) tellNetwork(s *scene, why error) {
	message := ""
	if why != nil {
		message = "The load balancer stays in the network that it is in: " + why.Error()
	}
	if s.memory.news(aboutNetwork, message) {
		c.Recorder.Event(s.leader(), v1.EventTypeWarning, reason.VPCNotChosen, message)
	}
}

// mayHide reports whether a node may be one without a public address, which costs a call to know.
func mayHide(node *v1.Node) bool {
	has := func(kind v1.NodeAddressType) bool {
		return slices.ContainsFunc(node.Status.Addresses, func(address v1.NodeAddress) bool { return address.Type == kind })
	}
	return has(v1.NodeInternalIP) && !has(v1.NodeExternalIP)
}

// machines returns what is known of the networks of the nodes' instances, by one list for all load balancers.
func (c *Controller) machines(ctx context.Context, s *scene, nodes []*v1.Node) (map[string]plan.Machine, error) {
	list, err := c.API.Instances(ctx, machinesAge)
	if err == nil && len(lacking(list.Items, nodes)) > 0 && time.Since(list.Began) > newcomerAge {
		list, err = c.API.Instances(ctx, newcomerAge)
	}
	if err != nil {
		return nil, fmt.Errorf("listing instances, to know in which VPCs the nodes are: %w", err)
	}
	s.awaitNewcomers(lacking(list.Items, nodes))
	return plan.Machines(list.Items), nil
}

// awaitNewcomers comes back for the instances that the list lacks: soon for those that it has just begun to lack, which are new, and ever
// more seldom for those that do not come.
func (s *scene) awaitNewcomers(ids []string) {
	m := s.memory
	if slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(m.lacking, id) }) {
		m.lackingSince = time.Now()
	}
	m.lacking = ids
	if len(ids) > 0 {
		s.comeBack(min(max(newcomerAge, time.Since(m.lackingSince)/4), lookAgain))
	}
}

// lacking returns the instances of nodes that a list lacks.
func lacking(list []vultr.Instance, nodes []*v1.Node) []string {
	there := make(map[string]bool, len(list))
	for _, in := range list {
		there[strings.ToLower(in.ID)] = true
	}
	return slices.DeleteFunc(plan.Instances(nodes), func(id string) bool { return there[id] })
}
