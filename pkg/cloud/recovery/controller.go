package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/match"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/outofservice"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/readiness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

// Name is the controller's name for the flag --controllers.
const Name = "fast-node-recovery-controller"

const (
	// period is how often the Nodes are gone through; it costs no call while they are ready.
	period = time.Second
	// revisit is when a Node that is not ready is looked at again. How often its instance is asked for is the Prober's
	// business.
	revisit = 5 * time.Second
	// lookTimeout bounds one look. It takes up to two lists, and one of thousands of instances has a dozen pages of two seconds
	// each; what is cut off leaves nothing for the next look.
	lookTimeout = time.Minute
	// parallel is how many Nodes are dealt with at once: one that waits for an answer must not keep the others, when
	// many machines were destroyed together, nor hundreds that lists show those that they lack. The client's own limit decides
	// how fast the API is asked; at its slowest, 5 a second, this many questions are answered within 13 seconds.
	parallel = 64
)

// Controller marks the Nodes of instances that are proven gone.
type Controller struct {
	client   kubernetes.Interface
	nodes    corelisters.NodeLister
	synced   cache.InformerSynced
	prober   *Prober
	recorder record.EventRecorder

	running atomic.Bool
	slots   chan struct{} // one for each visit under way
	mu      sync.Mutex
	watched map[types.UID]*watch
}

// watch is what is known of a Node that is not ready. It is read and changed under the Controller's lock.
type watch struct {
	next time.Time // when its instance is asked for again
	busy bool      // a visit is under way
	told string    // the last Event about a doubt
}

// NewController makes one; Run starts it.
func NewController(client kubernetes.Interface, nodes corelisters.NodeLister, synced cache.InformerSynced, prober *Prober,
	recorder record.EventRecorder,
) *Controller {
	return &Controller{
		client: client, nodes: nodes, synced: synced, prober: prober, recorder: recorder,
		slots: make(chan struct{}, parallel), watched: map[types.UID]*watch{},
	}
}

// Running reports whether Nodes are being marked. The controller can be left out by --controllers as well.
func (c *Controller) Running() bool { return c.running.Load() }

// Run works until ctx ends. It must run in one process of the cluster at a time.
func (c *Controller) Run(ctx context.Context) {
	c.running.Store(true)
	defer c.running.Store(false)
	if !cache.WaitForCacheSync(ctx.Done(), c.synced) {
		return
	}
	var visits sync.WaitGroup
	defer visits.Wait() // whoever leads next must not meet them
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.round(ctx, &visits)
		}
	}
}

// round begins a visit for every Node that needs one.
func (c *Controller) round(ctx context.Context, visits *sync.WaitGroup) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Listing nodes failed")
		return
	}
	c.prober.Observe(nodes)
	c.drop(nodes)
	for _, node := range nodes {
		todo := c.begin(node)
		if todo == nothing {
			continue
		}
		visits.Go(func() {
			defer func() { <-c.slots }()
			next := c.visit(ctx, node, todo)
			c.mu.Lock()
			defer c.mu.Unlock()
			w := c.watched[node.UID]
			w.busy, w.next = false, time.Now().Add(next)
		})
	}
}

// begin decides about a Node and takes a slot if there is something to do; without a free one its turn comes in a later round.
func (c *Controller) begin(node *v1.Node) action {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watched[node.UID]
	if w == nil {
		w = &watch{}
	}
	if w.busy {
		return nothing
	}
	todo := decide(node, w.next, time.Now())
	if todo == nothing {
		if readiness.IsReady(node) {
			c.prober.Well(node.UID)
			delete(c.watched, node.UID)
		}
		return nothing
	}
	select {
	case c.slots <- struct{}{}:
		w.busy = true
		c.watched[node.UID] = w
		return todo
	default:
		return nothing
	}
}

// drop forgets Nodes that are no more.
func (c *Controller) drop(nodes []*v1.Node) {
	there := make(map[types.UID]bool, len(nodes))
	for _, node := range nodes {
		there[node.UID] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid, w := range c.watched {
		if !there[uid] && !w.busy {
			delete(c.watched, uid)
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
	ready, marked := readiness.IsReady(node), outofservice.Marked(node)
	switch {
	case ready && marked:
		return unmark // a machine that reports is not gone, whatever was answered about it
	case ready, now.Before(next):
		return nothing
	}
	return look
}

// visit does what was decided and returns when the Node's turn comes again.
func (c *Controller) visit(ctx context.Context, node *v1.Node, todo action) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var next time.Time
	var err error
	if todo == unmark {
		c.prober.Well(node.UID)
		err = c.unmark(ctx, node, "it reports to the cluster again")
	} else {
		next, err = c.look(ctx, node)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		klog.FromContext(ctx).Error(err, "Looking up the instance of a node failed", "node", klog.KObj(node))
	}
	if next.IsZero() {
		return revisit
	}
	return min(time.Until(next), revisit)
}

// look asks for the instance, does what the answer is good for, and returns when another look may tell more, zero if
// nothing hurries.
func (c *Controller) look(ctx context.Context, node *v1.Node) (next time.Time, err error) {
	verdict, err := c.prober.Look(ctx, node)
	if doubt, doubtful := errors.AsType[*DoubtError](err); doubtful {
		c.tell(node, doubt.Reason, fmt.Sprintf("Instance %s was not found, but %s", node.Spec.ProviderID, doubt.Text))
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return verdict.Next, c.obey(ctx, node, verdict)
}

// obey marks a Node or takes the mark away, as the verdict says.
func (c *Controller) obey(ctx context.Context, node *v1.Node, verdict Verdict) error {
	switch verdict.Presence {
	case Gone:
		return c.mark(ctx, node)
	case Replaced:
		c.tell(node, match.StaleProviderID, match.StaleText(node, verdict.Twins))
		if !verdict.Unvisited {
			return c.unmark(ctx, node, "another instance has its name or address")
		}
	case Present:
		return c.unmark(ctx, node, "its instance exists")
	case Suspected:
	}
	return nil
}

// tell makes an Event of a doubt when it is a new one.
func (c *Controller) tell(node *v1.Node, reason, message string) {
	c.mu.Lock()
	w := c.watched[node.UID]
	known := w.told == reason
	w.told = reason
	c.mu.Unlock()
	if !known {
		c.recorder.Event(node, v1.EventTypeWarning, reason, message)
	}
}

// mark says to Kubernetes that the machine will not come back.
func (c *Controller) mark(ctx context.Context, node *v1.Node) error {
	if _, already := outofservice.Effective(node); already {
		return nil
	}
	changed, err := patchTaints(ctx, c.client, node, func(fresh *v1.Node) []v1.Taint {
		if _, already := outofservice.Effective(fresh); already || readiness.IsReady(fresh) || readiness.IsReporting(fresh) {
			return nil
		}
		return append(slices.Clone(fresh.Spec.Taints), outofservice.Taint(metav1.Now()))
	})
	if err != nil {
		return fmt.Errorf("marking node %s out of service: %w", node.Name, err)
	}
	if changed {
		c.recorder.Eventf(node, v1.EventTypeWarning, reason.InstanceDeleted,
			"Instance %s does not exist any more (it was asked for by its ID three times or more, and is in no list). The node is marked out of service, so that its pods and disks move to other nodes now",
			node.Spec.ProviderID)
	}
	return nil
}

func (c *Controller) unmark(ctx context.Context, node *v1.Node, why string) error {
	if !outofservice.Marked(node) {
		return nil
	}
	changed, err := patchTaints(ctx, c.client, node, func(fresh *v1.Node) []v1.Taint {
		return slices.DeleteFunc(slices.Clone(fresh.Spec.Taints), outofservice.Is)
	})
	if err != nil {
		return fmt.Errorf("taking node %s back into service: %w", node.Name, err)
	}
	if changed {
		c.recorder.Eventf(node, v1.EventTypeNormal, reason.InstanceFound, "The node is no longer marked out of service: %s", why)
	}
	return nil
}
