// Package servicelb keeps the platform's load balancers in step with the Services of a cluster. It takes the place of
// the service controller of k8s.io/cloud-provider, under its name, and keeps what users know of it: the finalizer, the
// reasons of Events, the label that excludes Nodes.
//
// The key of its one queue is a load balancer, named by the Service that it serves, or by one of those that share it. Whatever
// can make a load balancer differ from what it should be adds a key: Services, Nodes, Secrets with certificates, a timer, and the
// platform while it is still busy. A sync goes one way:
//
//	observe (informers, ledger, one shared list) -> resolve and plan (pure) -> apply -> report
//
// Two rules are above all others: never a second load balancer for one Service or for those that share one, and never a write to
// one that is not proven to be theirs. The proof is the ledger or the label with the Service's UID, never an annotation.
package servicelb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	coreinformers "k8s.io/client-go/informers/core/v1"
	discoveryinformers "k8s.io/client-go/informers/discovery/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/witness"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// The bounds of the pause after a failed sync of one load balancer.
const (
	firstBackoff   = 5 * time.Second
	longestBackoff = 5 * time.Minute
	// loadRetry is the pause after a failed read of the ledger.
	loadRetry = 5 * time.Second
	// syncTimeout bounds one sync, so that an answer that never comes holds up one worker only for so long.
	syncTimeout = ledger.MaxAhead
)

// API is what is needed of the cloud.
type API interface {
	LoadBalancer(ctx context.Context, id string) (vultr.LoadBalancer, error)
	LoadBalancers(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error)
	CreateLoadBalancer(ctx context.Context, region string, settings vultr.LoadBalancerSettings) (vultr.LoadBalancer, error)
	UpdateLoadBalancer(ctx context.Context, id string, settings vultr.LoadBalancerSettings) error
	DeleteLoadBalancer(ctx context.Context, id string) error
	DeleteCertificate(ctx context.Context, loadBalancerID string) error
	DeleteAutoSSL(ctx context.Context, loadBalancerID string) error
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
	// KeySince returns since when the present key is in use.
	KeySince() time.Time
}

// Config is what the controller needs.
type Config struct {
	API      API
	Client   kubernetes.Interface
	Recorder record.EventRecorder
	Services coreinformers.ServiceInformer
	Nodes    coreinformers.NodeInformer
	// EndpointSlices say where pods are, for Services with externalTrafficPolicy Local; without them these have all nodes as
	// backends.
	EndpointSlices discoveryinformers.EndpointSliceInformer
	// Region returns the region for a new load balancer in front of these nodes.
	Region func(ctx context.Context, nodes []*v1.Node) (string, error)
	// LabelInStatus writes the load balancer's label into the Service's status beside the address, as the official
	// controller does.
	LabelInStatus bool
	// VPC is the network that load balancers in front of nodes in several VPCs prefer, "" for none.
	VPC string
	// Defaults are the administrator's values of settings that a Service does not state.
	Defaults settings.Defaults
	// KubeProxyPort is where kube-proxy answers on every node whether it works; 0 is its usual port.
	KubeProxyPort int
	// ClassOnly leaves Services alone that do not have this cloud's class: another controller serves them.
	ClassOnly bool
	// KeepDrift tells of what somebody changed at a load balancer on the platform, and leaves it so.
	KeepDrift bool
	// DriftPeriod is how often all load balancers are compared with what they should be; 0 switches that off.
	DriftPeriod time.Duration
}

// Controller is the controller for Services of type LoadBalancer.
type Controller struct {
	Config

	services corelisters.ServiceLister
	nodes    corelisters.NodeLister
	synced   []cache.InformerSynced
	queue    workqueue.TypedRateLimitingInterface[key]
	account  *witness.Witness
	ledger   *ledger.Ledger
	refs     *references
	memories memories
	sets     sets
	missing  missing
	refusal  refusal
	gone     missing // load balancers that were deleted here and that lists may show for a while yet
	pace     pace
	gate     gate
	waves    *waves
	failure  failure
	lane     lane
	flaps    flaps
	words    *words
	atWork   underWay
	doubts   doubts
	searches searches
	hosts    hosts
	abroad   abroad
	taking   taking
	// endpoints are set before the informers start.
	endpoints endpoints
	began     time.Time // when this process began to lead, as far as it matters: when it read the ledger
	loaded    atomic.Bool
}

// New returns a controller; Run starts it. It has to be made before the informers start.
func New(config Config) (*Controller, error) {
	prefix := ledger.Prefix
	if config.ClassOnly {
		prefix = ledger.ClassPrefix
	}
	c := &Controller{
		Config:   config,
		services: config.Services.Lister(),
		nodes:    config.Nodes.Lister(),
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[key](firstBackoff, longestBackoff),
			workqueue.TypedRateLimitingQueueConfig[key]{Name: "service"},
		),
		account:  witness.New(config.API, config.Nodes.Lister()),
		ledger:   ledger.NewAt(config.Client, prefix),
		pace:     newPace(),
		memories: memories{known: map[types.UID]*memory{}},
		missing:  missing{since: map[string]time.Time{}},
		gone:     missing{since: map[string]time.Time{}},
		words:    newWords(),
		atWork:   underWay{all: map[key]key{}},
		doubts:   doubts{all: map[key]bool{}},
	}
	c.refs = newReferences(config.Client, c.referred)
	c.waves = newWaves(c.enqueueAll)
	c.waves.prepare = c.readAhead
	registerMetrics()
	services, err := config.Services.Informer().AddEventHandler(c.serviceHandler())
	if err != nil {
		return nil, fmt.Errorf("watching Services: %w", err)
	}
	nodes, err := config.Nodes.Informer().AddEventHandler(c.nodeHandler())
	if err != nil {
		return nil, fmt.Errorf("watching Nodes: %w", err)
	}
	c.synced = []cache.InformerSynced{services.HasSynced, nodes.HasSynced}
	if config.EndpointSlices != nil {
		if err := c.watchEndpoints(config.EndpointSlices.Informer()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Run works until ctx ends, with this many workers. It must run in one process of the cluster at a time.
func (c *Controller) Run(ctx context.Context, workers int) {
	var running sync.WaitGroup
	defer running.Wait() // whoever leads next must not meet them
	defer c.queue.ShutDown()
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) || !c.load(ctx) {
		return
	}
	c.awaitEndpoints(ctx)
	klog.FromContext(ctx).Info("Started the controller for load balancers", "workers", workers)
	c.lane.free = max(workers/2, 1)
	for range workers {
		running.Go(func() { c.work(ctx) })
	}
	running.Go(func() { c.waves.run(ctx) })
	running.Go(func() { c.refs.run(ctx) })
	running.Go(func() { c.listen(ctx) })
	running.Go(func() { c.keepHouse(ctx) })
	running.Go(func() { c.watchDrift(ctx) })
	<-ctx.Done()
	c.queue.ShutDown()
}

// load reads the ledger: without it nothing is known to be ours, and nothing may be made.
func (c *Controller) load(ctx context.Context) bool {
	err := wait.PollUntilContextCancel(ctx, loadRetry, true, func(ctx context.Context) (bool, error) {
		err := c.ledger.Load(ctx)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Load balancers are left alone until it can be read which of them are ours")
		}
		c.began = time.Now()
		c.loaded.Store(err == nil)
		return err == nil, nil
	})
	for uid, entry := range c.ledger.All() {
		c.hosts.set(uid, entry)
	}
	return err == nil
}

func (c *Controller) work(ctx context.Context) {
	for {
		name, shutdown := c.queue.Get()
		if shutdown {
			return
		}
		if names, free := c.claim(name); free {
			c.process(ctx, name)
			c.atWork.end(names...)
		} else {
			c.queue.AddAfter(name, claimPause)
		}
		c.queue.Done(name)
	}
}

// process syncs one load balancer and decides when its turn comes again.
func (c *Controller) process(ctx context.Context, name key) {
	logger := klog.FromContext(ctx).WithValues("service", name)
	ctx, cancel := context.WithTimeout(klog.NewContext(ctx, logger), syncTimeout)
	defer cancel()
	leave, ok := c.lane.enter(name, time.Now())
	if !ok {
		c.queue.AddAfter(name, jitter(lanePause))
		return
	}
	came, err := c.sync(ctx, name)
	leave()
	c.watch(ctx, name, came.about, err)
	if errors.Is(err, context.DeadlineExceeded) {
		c.lane.late(name, time.Now())
	}
	waiting, isWaiting := errors.AsType[*waitError](err)
	switch {
	case err == nil:
		c.queue.Forget(name)
		if came.next > 0 {
			c.queue.AddAfter(name, came.next)
		}
	case isWaiting:
		logger.V(2).Info("Waiting", "why", waiting.why, "for", waiting.after)
		after := waiting.after
		if !waiting.exact {
			after = jitter(after)
		}
		c.queue.AddAfter(name, after)
	case errors.Is(context.Cause(ctx), context.Canceled):
		// This process does not lead any more.
	case vultr.IsKeyRefused(err):
		logger.Error(err, "The API key is refused")
		c.queue.Forget(name)
		c.queue.AddAfter(name, jitter(c.refusal.left(time.Now())))
	default:
		logger.Error(err, "Syncing a load balancer failed; it is repeated with growing pauses")
		c.queue.AddRateLimited(name)
		if came.next > 0 {
			c.queue.AddAfter(name, came.next) // what is wrong with one Service holds up none that shares its load balancer
		}
	}
}

// jitter spreads what would come at once, by up to a tenth. It never shortens: what is waited for comes no sooner.
func jitter(d time.Duration) time.Duration { return wait.Jitter(d, 0.1) }

// waitError is the end of a sync that has to wait for the platform. It is no failure: it makes no Event.
type waitError struct {
	after time.Duration
	why   string
	// exact is set when it is known when what is waited for comes.
	exact bool
}

func (e *waitError) Error() string { return "waiting: " + e.why }

func waitFor(after time.Duration, format string, args ...any) error {
	return &waitError{after: after, why: fmt.Sprintf(format, args...)}
}

// waitExactly is waitFor without jitter.
func waitExactly(after time.Duration, format string, args ...any) error {
	return &waitError{after: after, why: fmt.Sprintf(format, args...), exact: true}
}
