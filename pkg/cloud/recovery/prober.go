// Package recovery notices that an instance was destroyed and lets its pods and disks move at once.
//
// Kubernetes alone needs about eight minutes for that: it waits for a machine that might come back. The cloud knows
// that it will not. This package proves it, says so to Kubernetes by the taint node.kubernetes.io/out-of-service, and
// holds back the deletion of the Node until its pods and volume attachments are gone, because Kubernetes gives a disk
// away at once only while the tainted Node is there.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what is needed of the cloud.
type API interface {
	Instance(ctx context.Context, id string) (vultr.Instance, error)
}

// Prober proves that instances are gone. It spaces what it asks for each Node, so it may be called at any rate.
type Prober struct {
	api     API
	roster  *roster.Roster
	nodes   corelisters.NodeLister
	breaker *breaker.Breaker

	mu       sync.Mutex
	absent   map[types.UID]*absence
	returned map[types.UID]int // how often an instance was found again after it was not, since its Node was well
	boots    map[types.UID]boot
	seen     map[types.UID]time.Time     // when Nodes came, zero for those that Observe met first; nil before that
	visitor  map[types.UID]chan struct{} // closed when the look that is under way ends
}

// NewProber returns a Prober that knows nothing yet.
func NewProber(api API, roster *roster.Roster, nodes corelisters.NodeLister, breaker *breaker.Breaker) *Prober {
	return &Prober{
		api: api, roster: roster, nodes: nodes, breaker: breaker,
		absent: map[types.UID]*absence{}, returned: map[types.UID]int{}, boots: map[types.UID]boot{},
		visitor: map[types.UID]chan struct{}{},
	}
}

// Look returns what is known of the Node's instance now. While the list shows the instance that costs a part of a list
// that all Nodes share; what the list lacks is asked for by its ID, with pauses in between.
func (p *Prober) Look(ctx context.Context, node *v1.Node) (Verdict, error) {
	return p.visit(ctx, node, false)
}

// Confirm asks once more whether a verdict still holds, right before something is done that can't be undone.
func (p *Prober) Confirm(ctx context.Context, node *v1.Node) (Verdict, error) {
	return p.visit(ctx, node, true)
}

// visit is one look at a Node; others at the same Node wait for it and then mostly have its result.
func (p *Prober) visit(ctx context.Context, node *v1.Node, now bool) (Verdict, error) {
	id, err := providerid.Parse(node.Spec.ProviderID)
	if err != nil {
		return Verdict{}, fmt.Errorf("node %s: %w", node.Name, err)
	}
	leave, err := p.enter(ctx, node.UID)
	if err != nil {
		return Verdict{}, err
	}
	defer leave()
	p.booted(node)
	known := p.known(node)
	list, err := p.roster.Instances(ctx, roster.Patience(node))
	if err != nil {
		return Verdict{}, err
	}
	if known == nil && shows(list.Items, id) && !outofservice.Marked(node) {
		return Verdict{Presence: Present}, nil
	}
	if known == nil {
		known = p.begin(node)
	}
	if !now && time.Now().Before(known.next) && known.confirmed == Confirmed(node) {
		return known.verdict, known.err
	}
	return p.ask(ctx, node, id, known)
}

// ask asks for the instance by its ID and notes what that comes to.
func (p *Prober) ask(ctx context.Context, node *v1.Node, id string, known *absence) (Verdict, error) {
	asked := time.Now()
	_, err := p.api.Instance(ctx, id)
	switch {
	case err == nil:
		p.found(node.UID)
		return Verdict{Presence: Present}, nil
	case !vultr.IsNotFound(err):
		return Verdict{}, known.failed(ctx, err)
	case known.isYoung(node, p.came(node.UID)):
		return known.verdict, nil
	}
	// The list must be of the time since the question: an older one may have been read with a key that was replaced
	// since.
	list, err := p.roster.Instances(ctx, time.Since(asked))
	if err != nil {
		return Verdict{}, known.failed(ctx, fmt.Errorf("looking for other instances of the cluster: %w", err))
	}
	nodes, err := p.nodes.List(labels.Everything())
	if err != nil {
		return Verdict{}, fmt.Errorf("listing nodes: %w", err)
	}
	e := evidence{node: node, id: id, asked: asked, list: list.Items, nodes: nodes}
	if doubt := p.doubt(e); doubt != nil {
		return Verdict{}, known.doubted(e, doubt)
	}
	twins := match.Twins(node, match.View{Instances: list.Items, Nodes: nodes})
	return known.missed(e, twins, p.unvisited(e, twins)), nil
}

// doubt returns why the answer 404 proves nothing, nil if it counts.
func (p *Prober) doubt(e evidence) *DoubtError {
	if readiness.IsReporting(e.node) {
		return &DoubtError{Reason: match.StaleProviderID, Text: "its kubelet still reports: the provider ID is not that of the machine behind it. " +
			"Drain the node, delete it and restart the kubelet there, so that it registers again"}
	}
	if witness.Count(e.nodes, e.list, e.id).Doubt() != nil {
		return &DoubtError{Reason: NoWitness, Text: "none of the cluster's other instances can be seen with this API key either, so nothing is concluded. " +
			"Does the key belong to this account?"}
	}
	absent, total := witness.Absent(e.nodes, e.list, e.id)
	open, ok := errors.AsType[*breaker.OpenError](p.breaker.Check(absent, total))
	if ok && !Confirmed(e.node) {
		return &DoubtError{Reason: MostMissing, Text: fmt.Sprintf("%v. Does the API key belong to this account? If it does and the machine was destroyed, "+
			"confirm it: kubectl annotate node %s %s=%s", open, e.node.Name, ConfirmAnnotation, e.node.Spec.ProviderID)}
	}
	return nil
}

// known returns what is remembered of a Node that is the same and not interrupted, nil if there is nothing.
func (p *Prober) known(node *v1.Node) *absence {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.absent[node.UID]
	if known != nil && known.interrupted(node, time.Now()) {
		delete(p.absent, node.UID)
		return nil
	}
	return known
}

// begin remembers a Node whose instance a list lacks.
func (p *Prober) begin(node *v1.Node) *absence {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := newAbsence(node, p.returned[node.UID])
	p.absent[node.UID] = known
	return known
}

// found notes that the instance exists. If it was missed before, some reads of the platform are wrong, and more of them
// are asked for the next time.
func (p *Prober) found(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.absent[uid]; known != nil && known.misses > 0 {
		p.returned[uid]++
	}
	delete(p.absent, uid)
}

// Well drops what is known of the instance of a Node that reports.
func (p *Prober) Well(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.absent, uid)
	delete(p.returned, uid)
}

// Forget drops all that is known of a Node that is no more.
func (p *Prober) Forget(uid types.UID) {
	p.Well(uid)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.boots, uid)
	delete(p.seen, uid)
}

// enter waits until nobody else looks at the Node.
func (p *Prober) enter(ctx context.Context, uid types.UID) (leave func(), err error) {
	for {
		p.mu.Lock()
		busy := p.visitor[uid]
		if busy == nil {
			done := make(chan struct{})
			p.visitor[uid] = done
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				delete(p.visitor, uid)
				close(done)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func shows(list []vultr.Instance, id string) bool {
	for _, in := range list {
		if strings.EqualFold(in.ID, id) {
			return true
		}
	}
	return false
}
