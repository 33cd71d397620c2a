package servicelb

import (
	"context"
	"fmt"
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
)

const (
	// endpointsPause collects the changes of a Service's pods: a rolling update makes several in a moment.
	endpointsPause = time.Second
	// endpointsPatience is how long the start waits until it is known where pods are. Without that, load balancers have all
	// nodes as backends, and their health checks find out.
	endpointsPatience = 30 * time.Second
)

// byService is the index of EndpointSlices by the Service that they belong to.
const byService = "service"

// endpoints are the EndpointSlices of the cluster. The zero value knows of none.
type endpoints struct {
	indexer cache.Indexer
	synced  cache.InformerSynced
}

// watchEndpoints has changes of EndpointSlices add the keys of the Services that they matter to.
func (c *Controller) watchEndpoints(informer cache.SharedIndexInformer) error {
	if err := informer.AddIndexers(cache.Indexers{byService: servicesOf}); err != nil {
		return fmt.Errorf("watching EndpointSlices: %w", err)
	}
	part := func(object any) *discoveryv1.EndpointSlice {
		if last, missed := object.(cache.DeletedFinalStateUnknown); missed {
			object = last.Obj
		}
		part, _ := object.(*discoveryv1.EndpointSlice)
		return part
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { c.podsChanged(nil, part(object)) },
		UpdateFunc: func(before, after any) { c.podsChanged(part(before), part(after)) },
		DeleteFunc: func(object any) { c.podsChanged(part(object), nil) },
	})
	if err != nil {
		return fmt.Errorf("watching EndpointSlices: %w", err)
	}
	c.endpoints = endpoints{indexer: informer.GetIndexer(), synced: registration.HasSynced}
	return nil
}

// servicesOf returns the Service that an EndpointSlice belongs to, none for one that belongs to nobody.
func servicesOf(object any) ([]string, error) {
	part, ok := object.(*discoveryv1.EndpointSlice)
	if !ok || part.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{ownerOf(part).String()}, nil
}

func ownerOf(part *discoveryv1.EndpointSlice) key {
	return key{Namespace: part.Namespace, Name: part.Labels[discoveryv1.LabelServiceName]}
}

// podsChanged adds the keys of the Services for whose backends it matters that an EndpointSlice has changed; nil stands for
// one that is not there.
func (c *Controller) podsChanged(before, after *discoveryv1.EndpointSlice) {
	if before != nil && after != nil && ownerOf(before) == ownerOf(after) && maps.Equal(plan.Pods(before), plan.Pods(after)) {
		return
	}
	for _, part := range []*discoveryv1.EndpointSlice{before, after} {
		if part == nil {
			continue
		}
		name := ownerOf(part)
		service, err := c.services.Services(name.Namespace).Get(name.Name)
		if err != nil || !followsPods(service) || !c.wanted(service) {
			continue // one that is still to come is looked at when it does
		}
		c.queue.AddAfter(c.keyOf(service), endpointsPause)
	}
}

// followsPods reports whether the backends of a Service are the nodes that have its pods.
func followsPods(service *v1.Service) bool {
	return service.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
}

// awaitEndpoints waits until it is known where pods are, but not for ever: a role without the right to read EndpointSlices
// must not keep all load balancers from being looked after.
func (c *Controller) awaitEndpoints(ctx context.Context) {
	if c.endpoints.synced == nil {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, endpointsPatience)
	defer cancel()
	if !cache.WaitForCacheSync(waiting.Done(), c.endpoints.synced) && ctx.Err() == nil {
		klog.FromContext(ctx).Info("EndpointSlices can't be read; until they are, load balancers of Services with externalTrafficPolicy Local have " +
			"all nodes as backends. Has the role the right to list and watch endpointslices?")
	}
}

// pods returns what the nodes have of a Service's pods, by name, and whether that is known.
func (c *Controller) pods(service *v1.Service) (pods map[string]plan.Presence, known bool) {
	if c.endpoints.synced == nil || !c.endpoints.synced() {
		return nil, false
	}
	objects, err := c.endpoints.indexer.ByIndex(byService, nameOf(service).String())
	if err != nil {
		return nil, false // there is no such index
	}
	var parts []*discoveryv1.EndpointSlice
	for _, object := range objects {
		if part, ok := object.(*discoveryv1.EndpointSlice); ok {
			parts = append(parts, part)
		}
	}
	return plan.Pods(parts...), true
}
