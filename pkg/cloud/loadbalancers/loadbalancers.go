// Package loadbalancers keeps the platform's load balancers in step with the Services of a cluster.
//
// What must be so is decided by package balancer; this package finds the load balancer of a Service, makes, changes
// and deletes it, and may be interrupted and run again at any point. Two rules are above all others: never a second
// load balancer for one Service, and never a write to one that is not the Service's.
package loadbalancers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
	cloudprovider "k8s.io/cloud-provider"
	cloudproviderapi "k8s.io/cloud-provider/api"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/quiet"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// API is what is needed of the cloud.
type API interface {
	LoadBalancer(ctx context.Context, id string) (vultr.LoadBalancer, error)
	LoadBalancers(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.LoadBalancer], error)
	CreateLoadBalancer(ctx context.Context, region string, settings vultr.LoadBalancerSettings) (vultr.LoadBalancer, error)
	UpdateLoadBalancer(ctx context.Context, id string, settings vultr.LoadBalancerSettings) error
	DeleteLoadBalancer(ctx context.Context, id string) error
	DeleteCertificate(ctx context.Context, loadBalancerID string) error
	Instances(ctx context.Context, maxAge time.Duration) (vultr.List[vultr.Instance], error)
}

// Guard decides whether a list proves that a load balancer was never made.
type Guard interface {
	AttemptEnded(name string)
	Seen(name string)
	Absent(name string, listBegan time.Time) error
}

// Config is what the load balancers need beside the cloud.
type Config struct {
	API      API
	Guard    Guard
	Client   kubernetes.Interface
	Recorder record.EventRecorder
	Services corelisters.ServiceLister
	Nodes    corelisters.NodeLister
	// Region returns the region for a new load balancer in front of these nodes.
	Region func(ctx context.Context, nodes []*v1.Node) (string, error)
	// LabelInStatus writes the load balancer's label into the Service's status beside the address, as the official
	// controller does.
	LabelInStatus bool
}

// Balancers implements cloudprovider.LoadBalancer.
type Balancers struct {
	Config

	locks    keyedLock
	memories memories
	pace     pace
}

var _ cloudprovider.LoadBalancer = (*Balancers)(nil)

// New makes one.
func New(config Config) *Balancers {
	return &Balancers{Config: config, locks: newKeyedLock(), memories: newMemories(), pace: newPace()}
}

// Forget drops what this process remembers of a Service that is no more.
func (b *Balancers) Forget(uid types.UID) { b.memories.drop(uid) }

// GetLoadBalancerName returns the label of the load balancers that are made here. It is the official default, so
// that a load balancer is found again by whichever controller looks for it.
func (b *Balancers) GetLoadBalancerName(_ context.Context, _ string, service *v1.Service) string {
	return cloudprovider.DefaultLoadBalancerName(service)
}

// GetLoadBalancer tells whether the Service has a load balancer. "No" is an answer only when it is proven.
func (b *Balancers) GetLoadBalancer(ctx context.Context, _ string, service *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	service = b.newest(service)
	if !plan.Managed(service) {
		return nil, false, nil
	}
	unlock, err := b.locks.lock(ctx, service.UID)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	found, err := b.find(ctx, service)
	if _, shared := errors.AsType[*TakenError](err); shared && !wanted(service) {
		b.kept(service, err.Error())
		return nil, false, nil
	}
	if err != nil || found == nil {
		return nil, false, err
	}
	status, ready := plan.Status(found.lb, service, plan.Read(service).Desired, b.LabelInStatus)
	if !ready {
		status = service.Status.LoadBalancer.DeepCopy()
	}
	return status, true, nil
}

// EnsureLoadBalancer makes or changes the load balancer of a Service until it is as asked for.
func (b *Balancers) EnsureLoadBalancer(ctx context.Context, _ string, service *v1.Service, nodes []*v1.Node) (*v1.LoadBalancerStatus, error) {
	service = b.newest(service)
	if !plan.Managed(service) {
		return nil, cloudprovider.ImplementedElsewhere
	}
	unlock, err := b.locks.lock(ctx, service.UID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return b.ensure(ctx, service, nodes)
}

// UpdateLoadBalancer does the same when only the nodes changed. The Service that is given may be an old copy, so the
// newest one decides.
func (b *Balancers) UpdateLoadBalancer(ctx context.Context, _ string, service *v1.Service, nodes []*v1.Node) error {
	newest := b.newest(service)
	if !plan.Managed(newest) {
		return cloudprovider.ImplementedElsewhere
	}
	if newest.UID != service.UID || !wanted(newest) {
		return nil // on its way out; deletion is dealt with elsewhere
	}
	unlock, err := b.locks.lock(ctx, newest.UID)
	if err != nil {
		return err
	}
	defer unlock()
	if !servicehelper.HasLBFinalizer(newest) {
		// What is made for it now could be left behind when it is deleted.
		return quiet.Wait(shortestWait, "the Service has no finalizer yet")
	}
	_, err = b.ensure(ctx, newest, nodes)
	return err
}

func (b *Balancers) ensure(ctx context.Context, service *v1.Service, nodes []*v1.Node) (*v1.LoadBalancerStatus, error) {
	reading := plan.Read(service)
	b.tell(service, reading.Warnings)
	found, err := b.find(ctx, service)
	if _, faulty := errors.AsType[*settings.ValueError](err); faulty {
		return nil, reading.Err // it is among these
	}
	if err != nil {
		return nil, both(err, reading.Err)
	}
	if found == nil {
		return b.create(ctx, service, nodes, reading)
	}
	return b.update(ctx, service, nodes, reading, found)
}

// newest returns the Service as the informer knows it, or the given one if it knows none of that UID.
func (b *Balancers) newest(service *v1.Service) *v1.Service {
	known, err := b.Services.Services(service.Namespace).Get(service.Name)
	if err != nil || known.UID != service.UID || isOlder(known, service) {
		return service
	}
	return known
}

// isOlder compares resource versions where they can be compared: as numbers.
func isOlder(known, given *v1.Service) bool {
	return versionOf(known) < versionOf(given)
}

// wanted tells whether a Service is to have a load balancer, and not on its way to lose it.
func wanted(service *v1.Service) bool {
	return service.DeletionTimestamp == nil && service.Spec.Type == v1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil
}

// others returns the other Services that have or want a load balancer of this controller.
func (b *Balancers) others(service *v1.Service) ([]*v1.Service, error) {
	all, err := b.Services.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	var others []*v1.Service
	for _, other := range all {
		if other.UID != service.UID && (wanted(other) || servicehelper.HasLBFinalizer(other)) && plan.Managed(other) {
			others = append(others, other)
		}
	}
	return others, nil
}

// value returns an annotation without the white space around it, which templates leave there.
func value(service *v1.Service, key settings.Key) string {
	return strings.TrimSpace(service.Annotations[string(key)])
}

// both joins what went wrong with the faults of the Service. A mere reason to wait gives way to faults: it would keep
// them out of the Events.
func both(err, faults error) error {
	if _, waiting := errors.AsType[*cloudproviderapi.RetryError](err); waiting && faults != nil {
		return faults
	}
	return errors.Join(err, faults)
}
