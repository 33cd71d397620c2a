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
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what is needed of the cloud.
type API interface {
	Instance(ctx context.Context, id string) (vultr.Instance, error)
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
}

// Presence is what is known of an instance.
type Presence int

// What can be known.
const (
	// Present is an instance that exists, in whatever state.
	Present Presence = iota
	// Suspected is an instance that was not found, but not often enough for a proof.
	Suspected
	// Gone is an instance that was not found by its ID twice, with a pause in between.
	Gone
)

// pause is the least time between the two looks.
const pause = 5 * time.Second

// ErrNoWitness is returned when an instance is not found and none of the cluster's others can be seen either.
var ErrNoWitness = errors.New("none of the cluster's other instances can be seen with this API key, so nothing is concluded from one that is missing")

// Prober proves that instances are gone.
type Prober struct {
	api   API
	nodes corelisters.NodeLister

	mu      sync.Mutex
	missing map[types.UID]absence
}

type absence struct {
	first  time.Time // when the first look that found nothing ended
	proven time.Time // when the second one did
}

// NewProber makes one that knows nothing yet.
func NewProber(api API, nodes corelisters.NodeLister) *Prober {
	return &Prober{api: api, nodes: nodes, missing: map[types.UID]absence{}}
}

// Look asks for the Node's instance once and says what is known after it. Gone comes with the time of its proof.
func (p *Prober) Look(ctx context.Context, node *v1.Node) (Presence, time.Time, error) {
	id, err := providerid.Parse(node.Spec.ProviderID)
	if err != nil {
		return Present, time.Time{}, fmt.Errorf("node %s: %w", node.Name, err)
	}
	asked := time.Now()
	_, err = p.api.Instance(ctx, id)
	switch {
	case err == nil:
		p.Forget(node.UID)
		return Present, time.Time{}, nil
	case !vultr.IsNotFound(err):
		return Present, time.Time{}, err
	}
	if err := p.witness(ctx, node, asked); err != nil {
		p.Forget(node.UID)
		return Present, time.Time{}, err
	}
	return p.missed(node.UID, asked)
}

// missed counts a look that found nothing.
func (p *Prober) missed(uid types.UID, asked time.Time) (Presence, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, before := p.missing[uid]
	switch {
	case !before:
		known.first = time.Now()
	case known.proven.IsZero() && asked.Sub(known.first) >= pause:
		known.proven = time.Now()
	}
	p.missing[uid] = known
	if known.proven.IsZero() {
		return Suspected, time.Time{}, nil
	}
	return Gone, known.proven, nil
}

// Forget drops what is known of a Node's instance, for example because the Node is well.
func (p *Prober) Forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.missing, uid)
}

// witness makes sure that the key can see this cluster at all: a key of another or an emptied account answers 404
// for every instance, and must not cost the cluster its Nodes. The list must be of the time since the question: an
// older one may have been read with a key that was replaced since.
func (p *Prober) witness(ctx context.Context, missing *v1.Node, asked time.Time) error {
	list, err := p.api.Instances(ctx, time.Since(asked))
	if err != nil {
		return fmt.Errorf("looking for other instances of the cluster: %w", err)
	}
	seen := make(map[string]bool, len(list.Items))
	for _, instance := range list.Items {
		seen[instance.ID] = true
	}
	nodes, err := p.nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	for _, node := range nodes {
		id, err := providerid.Parse(node.Spec.ProviderID)
		if err == nil && node.UID != missing.UID && node.Spec.ProviderID != missing.Spec.ProviderID && seen[id] {
			return nil
		}
	}
	return ErrNoWitness
}
