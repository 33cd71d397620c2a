package recovery

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// hidden is the longest that an instance which exists is taken to be missing from lists.
const hidden = 150 * time.Second

// boot is a boot ID that a Node has, and since when this process sees it there. The kernel makes a new one at each start
// and the kubelet's first report brings it, so while it stays the same the Node is reported to by the same machine. Unlike
// heartbeats it owes nothing to a machine's clock.
type boot struct {
	id    string
	since time.Time
}

// Observe notes which boots the Nodes of the cluster are of and which Nodes come, and forgets those that are no more.
func (p *Prober) Observe(nodes []*v1.Node) {
	there := make(map[types.UID]bool, len(nodes))
	for _, node := range nodes {
		there[node.UID] = true
		p.booted(node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meet(there)
	for uid := range p.boots {
		if !there[uid] {
			delete(p.boots, uid)
		}
	}
}

// meet notes which Nodes come. Of those that are there when it is first called nothing is known. The lock is held.
func (p *Prober) meet(there map[types.UID]bool) {
	now := time.Now()
	if p.seen == nil {
		p.seen, now = make(map[types.UID]time.Time, len(there)), time.Time{}
	}
	for uid := range there {
		if _, known := p.seen[uid]; !known {
			p.seen[uid] = now
		}
	}
	for uid := range p.seen {
		if !there[uid] {
			delete(p.seen, uid)
		}
	}
}

// came returns when this process saw the Node come, zero if it did not.
func (p *Prober) came(uid types.UID) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[uid]
}

// booted returns the Node's boot.
func (p *Prober) booted(node *v1.Node) boot {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.boots[node.UID]
	if id := node.Status.NodeInfo.BootID; !ok || known.id != id {
		known = boot{id: id, since: time.Now()}
		p.boots[node.UID] = known
	}
	return known
}

// unvisited reports whether a Node is certain to be the old machine's alone: its boot was seen there before any of the
// twins can have existed. Everything in that is what this process saw itself, in the order in which it saw it.
func (p *Prober) unvisited(e evidence, twins []vultr.Instance) bool {
	last := p.booted(e.node)
	if last.id == "" {
		return false
	}
	for _, other := range e.nodes {
		if other.UID != e.node.UID && other.Status.NodeInfo.BootID == last.id {
			return false // machines that share a kernel can't be told apart by it
		}
	}
	for _, twin := range twins {
		if !last.since.Before(p.roster.Lacked(twin.ID).Add(-hidden)) {
			return false
		}
	}
	return true
}
