// Package recovery notices that an instance was destroyed and lets its pods and disks move at once.
//
// Kubernetes alone needs about eight minutes for that: it waits for a machine that might come back. The cloud knows
// that it will not. This package proves it, says so to Kubernetes by the taint node.kubernetes.io/out-of-service, and
// holds back the deletion of the Node until its pods and volume attachments are gone, because Kubernetes gives a disk
// away at once only while the tainted Node is there.
package recovery

import (
	"context"
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

// The least time between the two looks.
const (
	pause = 5 * time.Second
	// MassPause is that when most of the cluster is missing: time for people to see the Events and to stop it, by
	// giving the right key or by scaling the controller to zero.
	MassPause = 10 * time.Minute
)

// fewest is how many instances have to be missing to count as most of a cluster. Two machines may well die together.
const fewest = 3

// Reasons of a DoubtError.
const (
	NoWitness   = "InstanceNotSeen"
	MostMissing = "MostInstancesNotSeen"
)

// DoubtError is returned when an instance is not found, but the key may just not show the whole cluster.
type DoubtError struct {
	// Reason is NoWitness or MostMissing.
	Reason string
	// Missing of Total instances of the cluster's Nodes are not in the account.
	Missing, Total int
}

// Error says what is doubtful and what follows from it.
func (e *DoubtError) Error() string {
	if e.Reason == NoWitness {
		return "none of the cluster's other instances can be seen with this API key, so nothing is concluded from one that is missing"
	}
	return fmt.Sprintf("neither were most others: %d of the cluster's %d instances are not in the account. "+
		"If that is still so %d minutes after it was first noticed, they count as deleted", e.Missing, e.Total, int(MassPause.Minutes()))
}

// doubt judges by how many of the cluster's instances are missing whether the key can be trusted to show them: one that
// sees none of the others proves nothing, and one that sees fewer than half of them proves it slowly.
func doubt(missing, total int) *DoubtError {
	switch {
	case missing >= total:
		return &DoubtError{Reason: NoWitness, Missing: missing, Total: total}
	case missing >= fewest && 2*missing > total:
		return &DoubtError{Reason: MostMissing, Missing: missing, Total: total}
	}
	return nil
}

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
	missing, total, err := p.count(ctx, id, asked)
	if err != nil {
		p.Forget(node.UID)
		return Present, time.Time{}, err
	}
	doubtful := doubt(missing, total)
	if doubtful != nil && doubtful.Reason == NoWitness {
		p.Forget(node.UID)
		return Present, time.Time{}, doubtful
	}
	proven := p.missed(node.UID, asked, doubtful != nil)
	switch {
	case !proven.IsZero():
		return Gone, proven, nil
	case doubtful != nil:
		return Suspected, time.Time{}, doubtful
	}
	return Suspected, time.Time{}, nil
}

// missed counts a look that found nothing and gives the time of the proof, zero if there is none yet.
func (p *Prober) missed(uid types.UID, asked time.Time, slow bool) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, before := p.missing[uid]
	between := pause
	if slow {
		between = MassPause
	}
	switch {
	case !before:
		known.first = time.Now()
	case known.proven.IsZero() && asked.Sub(known.first) >= between:
		known.proven = time.Now()
	}
	p.missing[uid] = known
	return known.proven
}

// Forget drops what is known of a Node's instance, for example because the Node is well.
func (p *Prober) Forget(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.missing, uid)
}

// count tells how many instances of the cluster's Nodes are not in the account, the missing one among them, and how
// many there are: a key of another or an emptied account answers 404 for every instance, and must not cost the
// cluster its Nodes. The list must be of the time since the question: an older one may have been read with a key that
// was replaced since.
func (p *Prober) count(ctx context.Context, missing string, asked time.Time) (absent, total int, err error) {
	list, err := p.api.Instances(ctx, time.Since(asked))
	if err != nil {
		return 0, 0, fmt.Errorf("looking for other instances of the cluster: %w", err)
	}
	there := make(map[string]bool, len(list.Items))
	for _, instance := range list.Items {
		there[instance.ID] = true
	}
	nodes, err := p.nodes.List(labels.Everything())
	if err != nil {
		return 0, 0, fmt.Errorf("listing nodes: %w", err)
	}
	delete(there, missing) // the direct answer counts
	expected := map[string]bool{missing: true}
	for _, node := range nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			expected[id] = true
		}
	}
	for id := range expected {
		if !there[id] {
			absent++
		}
	}
	return absent, len(expected), nil
}
