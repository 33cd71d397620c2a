package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/balancer"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
)

// Name is the controller's name for the flag --controllers.
const Name = "fast-node-recovery-controller"

const (
	// period is how often the Nodes are gone through; it costs no call while they are ready.
	period = time.Second
	// againPresent is when an instance that exists is asked for again while its Node is not ready.
	againPresent = 30 * time.Second
	// againFailed is when a look is repeated that failed.
	againFailed = 10 * time.Second
	// lookTimeout bounds one look.
	lookTimeout = 20 * time.Second
)

// Controller marks the Nodes of instances that are proven gone.
type Controller struct {
	client   kubernetes.Interface
	nodes    corelisters.NodeLister
	synced   cache.InformerSynced
	prober   *Prober
	recorder record.EventRecorder

	next  map[types.UID]time.Time // when an instance is asked for again
	alone map[types.UID]bool      // Nodes about which ErrNoWitness was told
}

// NewController makes one; Run starts it.
func NewController(client kubernetes.Interface, nodes corelisters.NodeLister, synced cache.InformerSynced, prober *Prober,
	recorder record.EventRecorder,
) *Controller {
	return &Controller{
		client: client, nodes: nodes, synced: synced, prober: prober, recorder: recorder,
		next: map[types.UID]time.Time{}, alone: map[types.UID]bool{},
	}
}

// Run works until ctx ends. It must run in one process of the cluster at a time.
func (c *Controller) Run(ctx context.Context) {
	if !cache.WaitForCacheSync(ctx.Done(), c.synced) {
		return
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.round(ctx)
		}
	}
}

func (c *Controller) round(ctx context.Context) {
	logger := klog.FromContext(ctx)
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		logger.Error(err, "Listing nodes failed")
		return
	}
	c.drop(nodes)
	for _, node := range nodes {
		if err := c.visit(ctx, node); err != nil && ctx.Err() == nil {
			c.next[node.UID] = time.Now().Add(againFailed)
			logger.Error(err, "Finding out about the instance of a node failed", "node", klog.KObj(node))
		}
	}
}

// drop forgets Nodes that are no more.
func (c *Controller) drop(nodes []*v1.Node) {
	there := make(map[types.UID]bool, len(nodes))
	for _, node := range nodes {
		there[node.UID] = true
	}
	for uid := range c.next {
		if !there[uid] {
			delete(c.next, uid)
			delete(c.alone, uid)
			c.prober.Forget(uid)
		}
	}
}

// action is what is to be done about a Node now.
type action int

const (
	nothing action = iota
	look
	unmark
)

// decide tells what to do about a Node before anything is asked.
func decide(node *v1.Node, next, now time.Time) action {
	if _, err := providerid.Parse(node.Spec.ProviderID); err != nil {
		return nothing
	}
	ready, marked := isReady(node), balancer.IsDeleted(node)
	switch {
	case ready && marked:
		return unmark // a machine that reports is not gone, whatever was answered about it
	case ready, now.Before(next):
		return nothing
	}
	return look
}

func (c *Controller) visit(ctx context.Context, node *v1.Node) error {
	switch decide(node, c.next[node.UID], time.Now()) {
	case nothing:
		if isReady(node) {
			c.prober.Forget(node.UID)
			delete(c.alone, node.UID)
			delete(c.next, node.UID)
		}
		return nil
	case unmark:
		c.prober.Forget(node.UID)
		return c.unmark(ctx, node, "it reports to the cluster again")
	case look:
	}
	return c.look(ctx, node)
}

// look asks for the instance and does what the answer is good for.
func (c *Controller) look(ctx context.Context, node *v1.Node) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	presence, _, err := c.prober.Look(ctx, node)
	if errors.Is(err, ErrNoWitness) {
		c.tellAlone(node)
		c.next[node.UID] = time.Now().Add(againPresent)
		return nil
	}
	if err != nil {
		return err
	}
	switch presence {
	case Suspected:
		c.next[node.UID] = time.Now().Add(pause)
	case Gone:
		c.next[node.UID] = time.Now().Add(againPresent)
		if !balancer.IsDeleted(node) {
			return c.mark(ctx, node)
		}
	case Present:
		c.next[node.UID] = time.Now().Add(againPresent)
		if balancer.IsDeleted(node) {
			return c.unmark(ctx, node, "its instance exists")
		}
	}
	return nil
}

func (c *Controller) tellAlone(node *v1.Node) {
	if !c.alone[node.UID] {
		c.alone[node.UID] = true
		c.recorder.Event(node, v1.EventTypeWarning, "InstanceNotSeen", "The instance was not found, but "+ErrNoWitness.Error()+". Does the API key belong to this account?")
	}
}

// mark says to Kubernetes that the machine will not come back.
func (c *Controller) mark(ctx context.Context, node *v1.Node) error {
	changed, err := patchTaints(ctx, c.client, node, func(fresh *v1.Node) []v1.Taint {
		if isReady(fresh) || balancer.IsDeleted(fresh) {
			return nil
		}
		return append(slices.Clone(fresh.Spec.Taints), taintNow())
	})
	if err != nil {
		return fmt.Errorf("marking node %s out of service: %w", node.Name, err)
	}
	if changed {
		c.recorder.Eventf(node, v1.EventTypeWarning, "InstanceDeleted",
			"Instance %s does not exist any more (asked for by its ID twice). The node is marked out of service, so that its pods and disks move to other nodes now",
			node.Spec.ProviderID)
	}
	return nil
}

func (c *Controller) unmark(ctx context.Context, node *v1.Node, why string) error {
	changed, err := patchTaints(ctx, c.client, node, func(fresh *v1.Node) []v1.Taint {
		return slices.DeleteFunc(slices.Clone(fresh.Spec.Taints), isMark)
	})
	if err != nil {
		return fmt.Errorf("taking node %s back into service: %w", node.Name, err)
	}
	if changed {
		c.recorder.Eventf(node, v1.EventTypeNormal, "InstanceFound", "The node is no longer marked out of service: %s", why)
	}
	return nil
}
