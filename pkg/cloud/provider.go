package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/breaker"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/instances"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/recovery"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/roster"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/servicelb"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/slim"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// component is the name under which Events are made.
const component = "vultr-cloud-controller-manager"

// metadataTimeout bounds how long a new load balancer waits for the metadata service.
const metadataTimeout = 10 * time.Second

// API is what is needed of the cloud.
type API interface {
	instances.API
	roster.API
	servicelb.API
	SetTags(ctx context.Context, in vultr.Instance, tags []string) error
}

// Provider implements cloudprovider.Interface. It is complete after Initialize and SetInformers, which the library
// calls in the process that leads.
type Provider struct {
	api     API
	options Options

	client    kubernetes.Interface
	recorder  record.EventRecorder
	instances *instances.Instances
	balancers *servicelb.Controller
	recovery  *recovery.Controller
	failure   error // why there is no controller for load balancers

	await func() // returns when this process leads; nil is at once
	// synced is whether the cache of Nodes is filled, nil before anything is started.
	synced atomic.Pointer[cache.InformerSynced]
}

var (
	_ cloudprovider.Interface    = (*Provider)(nil)
	_ cloudprovider.InformerUser = (*Provider)(nil)
)

// NewProvider makes a provider that uses the given cloud.
func NewProvider(api API, options Options) *Provider { return &Provider{api: api, options: options} }

// ErrNotStarted is returned by Ready before this process leads.
var ErrNotStarted = errors.New("the controllers are not started yet")

// Await sets what Initialize calls before anything else: it returns when this process leads. It has to be set before.
func (p *Provider) Await(lead func()) { p.await = lead }

// Ready returns why the controllers of Nodes do not work yet.
func (p *Provider) Ready() error {
	synced := p.synced.Load()
	switch {
	case synced == nil:
		return ErrNotStarted
	case !(*synced)():
		return errors.New("the cache of Nodes is not filled yet")
	}
	return nil
}

// Initialize is called when this process is to lead.
func (p *Provider) Initialize(builder cloudprovider.ControllerClientBuilder, stop <-chan struct{}) {
	if p.await != nil {
		p.await()
	}
	p.client = builder.ClientOrDie(component)
	broadcaster := record.NewBroadcaster(record.WithContext(wait.ContextForChannel(stop)))
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: p.client.CoreV1().Events("")})
	p.recorder = broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: component})
}

// SetInformers is called after Initialize and before any controller starts.
func (p *Provider) SetInformers(factory informers.SharedInformerFactory) {
	nodes := factory.Core().V1().Nodes()
	synced := cache.InformerSynced(nodes.Informer().HasSynced)
	p.synced.Store(&synced)
	// Its error says that the informer has started; then the cache is larger, and that is all.
	_ = nodes.Informer().SetTransform(slim.Node)
	shared := roster.New(p.api)
	prober := recovery.NewProber(p.api, shared, nodes.Lister(), breaker.New(p.options.NodeDeletionLimit))
	marking := func() bool { return false }
	if p.options.FastNodeRecovery {
		p.recovery = recovery.NewController(p.client, nodes.Lister(), nodes.Informer().HasSynced, prober, p.recorder)
		marking = p.recovery.Running
	}
	departures := recovery.NewDepartures(prober, p.client, marking)
	options, err := p.options.instanceOptions(p.client.CoreV1().Nodes(), p.api)
	if err != nil {
		p.failure = err // Validate has found it before
		return
	}
	p.instances = instances.New(p.api, shared, nodes.Lister(), departures, p.recorder, options)
	seen(nodes.Informer(), p.instances.Seen)
	forget(nodes.Informer(), prober.Forget, p.instances.Forget)
	endpointSlices := factory.Discovery().V1().EndpointSlices()
	_ = endpointSlices.Informer().SetTransform(slim.EndpointSlice) // as with Nodes
	_ = factory.Core().V1().Services().Informer().SetTransform(slim.Service)
	defaults, err := p.options.Defaults()
	if err != nil {
		p.failure = err // Validate has found it before
		return
	}
	p.balancers, p.failure = servicelb.New(servicelb.Config{
		API:            p.api,
		Client:         p.client,
		Recorder:       p.recorder,
		Services:       factory.Core().V1().Services(),
		Nodes:          nodes,
		EndpointSlices: endpointSlices,
		Region:         p.region,
		VPC:            options.Choice.VPC,
		LabelInStatus:  p.options.LabelInStatus,
		DriftPeriod:    p.options.DriftPeriod,
		KeepDrift:      !p.options.DriftRepair,
		ClassOnly:      p.options.ClassOnly,
		KubeProxyPort:  p.options.KubeProxyPort,
		Defaults:       defaults,
	})
}

// forget drops what is remembered of an object when that is deleted.
func forget(informer cache.SharedIndexInformer, drops ...func(types.UID)) {
	// Its error says that the informer has stopped: then this process does not lead any more.
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		if last, missed := object.(cache.DeletedFinalStateUnknown); missed {
			object = last.Obj
		}
		known, ok := object.(metav1.Object)
		if !ok {
			return
		}
		for _, drop := range drops {
			drop(known.GetUID())
		}
	}})
}

// seen tells of every Node as soon as it is known.
func seen(informer cache.SharedIndexInformer, tell func(*v1.Node)) {
	// Its error says that the informer has stopped: then this process does not lead any more.
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		if node, ok := object.(*v1.Node); ok {
			tell(node)
		}
	}})
}

// Recovery returns the controller of fast node recovery, nil if it is off.
func (p *Provider) Recovery() *recovery.Controller { return p.recovery }

// LoadBalancers returns the controller for Services of type LoadBalancer.
func (p *Provider) LoadBalancers() (*servicelb.Controller, error) { return p.balancers, p.failure }

// LoadBalancer is not supported: the library's controller for Services, which alone would use it, is replaced.
func (p *Provider) LoadBalancer() (cloudprovider.LoadBalancer, bool) { return nil, false }

// InstancesV2 returns the instances.
func (p *Provider) InstancesV2() (cloudprovider.InstancesV2, bool) {
	return p.instances, p.instances != nil
}

// Instances is not supported: InstancesV2 replaces it.
func (p *Provider) Instances() (cloudprovider.Instances, bool) { return nil, false }

// Zones is not supported: InstancesV2 replaces it.
func (p *Provider) Zones() (cloudprovider.Zones, bool) { return nil, false }

// Clusters is not supported.
func (p *Provider) Clusters() (cloudprovider.Clusters, bool) { return nil, false }

// Routes is not supported: the platform has no routes of its own.
func (p *Provider) Routes() (cloudprovider.Routes, bool) { return nil, false }

// ProviderName returns the scheme of provider IDs.
func (p *Provider) ProviderName() string { return ProviderName }

// HasClusterID is true: load balancers are told apart by the UIDs of Services, which differ between clusters.
func (p *Provider) HasClusterID() bool { return true }

// region decides where a new load balancer is made.
func (p *Provider) region(ctx context.Context, nodes []*v1.Node) (string, error) {
	if p.options.Region != "" {
		return strings.ToLower(p.options.Region), nil
	}
	switch regions := plan.Regions(nodes); len(regions) {
	case 1:
		return regions[0], nil
	case 0:
	default:
		return "", fmt.Errorf("the nodes are in several regions (%s), so --vultr-region must say where load balancers are made", strings.Join(regions, ", "))
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	md, err := vultr.NewMetadata(p.options.MetadataURL).Get(ctx)
	if err == nil && md.Region == "" {
		err = errors.New("the metadata service names none")
	}
	if err != nil {
		return "", fmt.Errorf("the region is not known: no node has one yet and --vultr-region is not set: %w", err)
	}
	return md.Region, nil
}
