package servicelb

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// overlap is how long a backend must have been one until others leave in its favour. A new backend gets connections from its
// first health check on, which comes at once; the rest of the time is for the platform to take a change over.
const overlap = 5 * time.Second

// places are what this process knows of where the pods are and were that a load balancer follows. Losing it costs a write at most.
type places struct {
	// since is from when on instances have been backends: the zero Time for those that were when this process first looked.
	since map[string]time.Time
	// without is since when no node has had a pod that answers.
	without time.Time
	// ready are the nodes that had a ready pod at the last look, and flaps those whose pods stopped to be.
	ready map[types.UID]bool
	flaps flaps
}

// withPods returns the nodes that are to be the backends of a Service out of those that can: with policy Local those that have
// its pods. Where several share the load balancer, those that have pods of each of them that has the policy.
func (c *Controller) withPods(s *scene, nodes []*v1.Node, lb vultr.LoadBalancer) []*v1.Node {
	var local []*member
	var each []map[string]plan.Presence
	for _, m := range s.served() {
		m.misses = false
		if !followsPods(m.service) {
			continue
		}
		pods, known := c.pods(m.service)
		if !known {
			return nodes
		}
		local, each = append(local, m), append(each, pods)
	}
	if len(local) == 0 {
		s.memory.places = nil
		return nodes
	}
	pods, apart := plan.Joint(nodes, each)
	for _, i := range apart {
		local[i].misses = true
	}
	if s.memory.places == nil {
		s.memory.places = &places{}
	}
	p, now := s.memory.places, time.Now()
	p.look(lb.Instances, now)
	s.comeBack(p.calm(s.nodes, pods, now))
	chosen, waits := plan.Local(p.list(nodes, now), pods)
	if waits {
		s.comeBack(overlap)
	}
	if len(chosen) > 0 {
		p.without = time.Time{}
		p.joined(chosen, now)
		return chosen
	}
	// Nobody can serve. The last backends are more likely the next ones than others are, so a Service that is restarted
	// costs no write for that; after a while the health check has to find out by itself.
	if p.without.IsZero() {
		p.without = now
	}
	left := emptyGrace - now.Sub(p.without)
	s.comeBack(left)
	if held := p.backends(nodes); left > 0 && len(held) > 0 {
		return held
	}
	return nodes
}

// look notes which instances are backends now.
func (p *places) look(instances []string, now time.Time) {
	known := make(map[string]time.Time, len(instances))
	for _, id := range instances {
		since, there := p.since[id]
		if !there && p.since != nil {
			since = now
		}
		known[id] = since
	}
	p.since = known
}

// joined notes which instances are about to become backends.
func (p *places) joined(nodes []*v1.Node, now time.Time) {
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			if _, there := p.since[id]; !there {
				p.since[id] = now
			}
		}
	}
}

func (p *places) list(nodes []*v1.Node, now time.Time) []plan.Place {
	list := make([]plan.Place, 0, len(nodes))
	for _, node := range nodes {
		id, _ := providerid.Parse(node.Spec.ProviderID) // without one it is no backend
		since, backend := p.since[id]
		list = append(list, plan.Place{Node: node, Backend: backend, Tried: backend && now.Sub(since) >= overlap})
	}
	return list
}

func (p *places) backends(nodes []*v1.Node) []*v1.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(node *v1.Node) bool {
		id, _ := providerid.Parse(node.Spec.ProviderID) // without one it is no backend
		_, backend := p.since[id]
		return !backend
	})
}

// calm takes the pods of nodes out whose readiness comes and goes, as the Controller's steady does with nodes: each time would
// cost two writes. It returns when one of them will have been ready for long enough.
func (p *places) calm(nodes []*v1.Node, pods map[string]plan.Presence, now time.Time) (next time.Duration) {
	var ready []*v1.Node
	there := make(map[types.UID]bool, len(nodes))
	for _, node := range nodes {
		is, was := pods[node.Name] == plan.ReadyPod, p.ready[node.UID]
		switch {
		case was && !is:
			p.flaps.out(node.UID, now)
		case !was && is:
			if pause := p.flaps.in(node.UID, now); pause > 0 && (next == 0 || pause < next) {
				next = pause
			}
		}
		there[node.UID] = is
		if is {
			ready = append(ready, node)
		}
	}
	for uid := range p.ready {
		if _, exists := there[uid]; !exists {
			p.flaps.forget(uid)
		}
	}
	p.ready = there
	steady := p.flaps.steady(ready, now)
	if 2*len(steady) < len(ready) {
		return next
	}
	for _, node := range ready {
		if !slices.Contains(steady, node) {
			delete(pods, node.Name)
		}
	}
	return next
}
