package servicelb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// emptyGrace is how long a load balancer keeps its backends when no node can be one any more: more often than a cluster
// loses all its nodes, something is wrong with the list of them.
const emptyGrace = 5 * time.Minute

// backends returns the instances of those nodes that are to be the backends of a load balancer, and notes which nodes are left
// out.
func (c *Controller) backends(s *scene, nodes []*v1.Node, lb vultr.LoadBalancer, rules plan.BackendRules) []string {
	nodes, skipped := plan.Fit(nodes, rules)
	nodes, unknown := c.known(nodes)
	s.leftOut = nil
	for _, skip := range skipped {
		if !skip.Passing {
			s.leftOut = append(s.leftOut, skip.String())
		}
	}
	for _, id := range unknown {
		s.leftOut = append(s.leftOut, nodeOf(s.nodes, id)+" (the platform knows no instance "+id+")")
		s.comeBack(lookAgain) // it is tried again some day
	}
	return plan.Instances(c.steady(c.withPods(s, nodes, lb)))
}

// known returns the nodes without those whose instances the platform does not know, and these instances.
func (c *Controller) known(nodes []*v1.Node) (known []*v1.Node, unknown []string) {
	if c.missing.none() {
		return nodes, nil
	}
	_, unknown = c.missing.filter(plan.Instances(nodes), time.Now())
	if len(unknown) == 0 {
		return nodes, nil
	}
	for _, node := range nodes {
		if id, _ := providerid.Parse(node.Spec.ProviderID); !slices.Contains(unknown, id) { // one that fits has one
			known = append(known, node)
		}
	}
	return known, unknown
}

// tellBackends makes one Event of the nodes that are left out.
func (c *Controller) tellBackends(s *scene) {
	if message := s.leftOutText(); s.memory.news(aboutNodes, message) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.NodesLeftOut, "These nodes are no backends: "+message)
	}
}

// mostTold is how many nodes an Event names: a message has its limits, and so do readers.
const mostTold = 10

// leftOutText names the nodes that are left out, each with the reason.
func (s *scene) leftOutText() string {
	slices.Sort(s.leftOut)
	if more := len(s.leftOut) - mostTold; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(s.leftOut[:mostTold], ", "), more)
	}
	return strings.Join(s.leftOut, ", ")
}

// withoutUnknown is called when the platform refused a request with these backends. It returns those that exist, if
// leaving out the others can be the remedy, else nil. What is missing is remembered for all load balancers.
func (c *Controller) withoutUnknown(ctx context.Context, s *scene, wanted *[]string) *[]string {
	if wanted == nil || len(*wanted) == 0 {
		return nil
	}
	list, err := c.API.Instances(ctx, 0)
	if err != nil {
		return nil // the refusal is what is told
	}
	there := make(map[string]bool, len(list.Items))
	for _, instance := range list.Items {
		there[instance.ID] = true
	}
	var kept, unknown []string
	for _, id := range *wanted {
		if there[id] {
			kept = append(kept, id)
		} else {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) == 0 || len(kept) == 0 {
		return nil // taking all backends away is not the way out of a refusal
	}
	c.missing.add(unknown, time.Now())
	for _, id := range unknown {
		c.tellNode(s.nodes, id)
		s.leftOut = append(s.leftOut, nodeOf(s.nodes, id)+" (the platform knows no instance "+id+")")
	}
	return &kept
}

// tellNode makes an Event at the Node whose instance the platform does not know.
func (c *Controller) tellNode(nodes []*v1.Node, id string) {
	for _, node := range nodes {
		if own, err := providerid.Parse(node.Spec.ProviderID); err == nil && own == id {
			c.Recorder.Eventf(node, v1.EventTypeWarning, reason.BackendNotFound,
				"The platform knows no instance %s, so this node gets no traffic from load balancers", id)
		}
	}
}

func nodeOf(nodes []*v1.Node, id string) string {
	for _, node := range nodes {
		if own, err := providerid.Parse(node.Spec.ProviderID); err == nil && own == id {
			return node.Name
		}
	}
	return "a node"
}

// holdLastBackends leaves the backends as they are for a while when no node can be one.
func (c *Controller) holdLastBackends(s *scene, want *plan.Desired, lb vultr.LoadBalancer) {
	m, cleared := s.memory, ""
	switch {
	case len(want.Instances) > 0:
		if !m.emptySince.IsZero() {
			c.Recorder.Eventf(s.service, v1.EventTypeNormal, reason.BackendsRestored, "%d nodes can be backends again", len(want.Instances))
		}
		m.emptySince = time.Time{}
	case len(lb.Instances) > 0:
		if m.emptySince.IsZero() {
			m.emptySince = time.Now()
			c.Recorder.Eventf(s.service, v1.EventTypeWarning, reason.UnAvailableLoadBalancer,
				"There are no available nodes for LoadBalancer; it keeps its last %d backends for %s%s", len(lb.Instances), emptyGrace, inParentheses(s.leftOutText()))
		}
		left := emptyGrace - time.Since(m.emptySince)
		want.KeepInstances = left > 0
		s.comeBack(left)
		if left <= 0 {
			cleared = fmt.Sprintf("No node could be a backend for %s, so the load balancer has none from now on", emptyGrace)
		}
	default:
		return // there is nothing to hold, and what was said stands
	}
	if m.news(aboutBackends, cleared) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.BackendsCleared, cleared)
	}
}

func failureText(err error) string {
	if err == nil || isWait(err) {
		return ""
	}
	return fmt.Sprint(err)
}
