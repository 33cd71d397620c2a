package servicelb

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	servicehelper "k8s.io/cloud-provider/service/helpers"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// The waves in which changes of Nodes are answered: a write to each load balancer for a wave, not for a Node.
const (
	// urgentPause collects Nodes that stop to get traffic.
	urgentPause = time.Second
	// calmPause is how quiet it must have been after Nodes that begin to get traffic, and calmLimit how long they wait at most.
	calmPause = 5 * time.Second
	calmLimit = 30 * time.Second
)

// statusPause is how long a status stays that somebody else wrote.
const statusPause = 30 * time.Second

func (c *Controller) serviceHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { c.enqueue(object) },
		UpdateFunc: func(before, after any) {
			old, isService := before.(*v1.Service)
			fresh, alsoService := after.(*v1.Service)
			switch {
			case !isService || !alsoService:
				c.enqueue(after)
			case c.concerns(old, fresh):
				if old.UID != fresh.UID || shareLabel(old) != shareLabel(fresh) {
					c.enqueueMates(old)
				}
				c.enqueue(after)
			case c.overwritten(old, fresh):
				c.queue.AddAfter(c.keyOf(fresh), statusPause) // whoever wrote it may do so again at once
			}
		},
		DeleteFunc: func(object any) {
			c.enqueue(object)
			if service, ok := object.(*v1.Service); ok {
				c.enqueueMates(service)
			}
		},
	}
}

func (c *Controller) enqueue(object any) {
	if last, missed := object.(cache.DeletedFinalStateUnknown); missed {
		object = last.Obj
	}
	if service, ok := object.(*v1.Service); ok {
		c.add(service)
	}
}

// enqueueMates adds the load balancers of those with which a Service may have shared one, or have kept them from having one.
func (c *Controller) enqueueMates(service *v1.Service) {
	all, err := c.services.List(labels.Everything())
	if err != nil || shareLabel(service) == "" {
		return
	}
	for _, other := range all {
		if other.UID != service.UID && shareLabel(other) == shareLabel(service) && c.mayShare(other) {
			c.add(other)
		}
	}
}

// concerns reports whether a change of a Service can matter to its load balancer. What this controller itself writes, its
// finalizer, annotation and the status, must not wake it up again: a sync that failed would be repeated without a pause.
func (c *Controller) concerns(old, fresh *v1.Service) bool {
	return old.UID != fresh.UID || !old.DeletionTimestamp.Equal(fresh.DeletionTimestamp) ||
		!equality.Semantic.DeepEqual(old.Spec, fresh.Spec) ||
		servicehelper.HasLBFinalizer(old) && !servicehelper.HasLBFinalizer(fresh) ||
		!maps.Equal(asked(old), asked(fresh)) || c.names(old, fresh)
}

// overwritten reports whether somebody else has changed the status.
func (c *Controller) overwritten(old, fresh *v1.Service) bool {
	return !equality.Semantic.DeepEqual(old.Status.LoadBalancer, fresh.Status.LoadBalancer) && !c.wrote(fresh)
}

// names reports whether the Service names another load balancer now, and not the one that was noted here.
func (c *Controller) names(old, fresh *v1.Service) bool {
	id := text(fresh, settings.ID)
	if id == "" || id == text(old, settings.ID) {
		return false
	}
	noted := c.memories.of(fresh.UID).noted.Load()
	return noted == nil || *noted != id
}

// asked returns the annotations without the note that this controller writes.
func asked(service *v1.Service) map[string]string {
	asked := maps.Clone(service.Annotations)
	delete(asked, string(settings.ID))
	return asked
}

// wrote reports whether the Service's status is what was written last.
func (c *Controller) wrote(service *v1.Service) bool {
	last := c.memories.of(service.UID).status.Load()
	return last != nil && equality.Semantic.DeepEqual(*last, service.Status.LoadBalancer)
}

func (c *Controller) nodeHandler() cache.ResourceEventHandler {
	node := func(object any) *v1.Node {
		if last, missed := object.(cache.DeletedFinalStateUnknown); missed {
			object = last.Obj
		}
		node, _ := object.(*v1.Node)
		return node
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { c.nodeChanged(nil, node(object)) },
		UpdateFunc: func(before, after any) {
			c.nodeChanged(node(before), node(after))
		},
		DeleteFunc: func(object any) { c.nodeChanged(node(object), nil) },
	}
}

// nodeChanged announces a change that can matter to load balancers; nil stands for a Node that is not there.
func (c *Controller) nodeChanged(before, after *v1.Node) {
	var old, fresh standing
	if before != nil {
		old = standingOf(before)
	}
	if after != nil {
		fresh = standingOf(after)
	}
	switch {
	case old != fresh:
		c.flapped(before, after, old, fresh)
		c.waves.announce(old.serves() && !fresh.serves())
	case before != nil && after != nil && !maps.Equal(before.Labels, after.Labels) && c.selects():
		c.waves.announce(false)
	}
}

// enqueueAll adds every load balancer that there is or is to be.
func (c *Controller) enqueueAll() {
	all, err := c.services.List(labels.Everything())
	if err != nil {
		return // a lister over an informer has no errors
	}
	for _, service := range all {
		if c.wanted(service) {
			c.queue.Add(c.keyOf(service))
		}
	}
}

// waves turns many changes into few calls.
type waves struct {
	call    func()
	changed chan bool
	// prepare is called when a wave turns out to be urgent, beside it; nil is nothing.
	prepare   func(ctx context.Context)
	preparing sync.WaitGroup
	// gathering is set while a wave has begun and its call is still to come.
	gathering atomic.Bool
}

func newWaves(call func()) *waves { return &waves{call: call, changed: make(chan bool, 1)} }

// announce tells of a change and never blocks.
func (w *waves) announce(urgent bool) {
	for {
		select {
		case w.changed <- urgent:
			return
		case waiting := <-w.changed:
			urgent = urgent || waiting
		}
	}
}

// pending reports whether a call is to come for changes that were announced.
func (w *waves) pending() bool { return w.gathering.Load() || len(w.changed) > 0 }

// run calls after each wave, until ctx ends.
func (w *waves) run(ctx context.Context) {
	defer w.preparing.Wait()
	for {
		var urgent bool
		select {
		case <-ctx.Done():
			return
		case urgent = <-w.changed:
		}
		w.gathering.Store(true)
		if !w.gather(ctx, urgent) {
			return
		}
		w.gathering.Store(false)
		klog.FromContext(ctx).V(2).Info("Nodes have changed, all load balancers are looked at")
		w.call()
	}
}

// gather waits until a wave is over. It returns false when ctx ended.
func (w *waves) gather(ctx context.Context, urgent bool) bool {
	began := time.Now()
	ends := began.Add(calmPause)
	if urgent {
		ends = began.Add(urgentPause)
		w.prepared(ctx)
	}
	for {
		timer := time.NewTimer(time.Until(ends))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
			return true
		case more := <-w.changed:
			timer.Stop()
			switch {
			case urgent: // its end is fixed; what came meanwhile is in it
			case more:
				urgent, ends = true, time.Now().Add(urgentPause)
				w.prepared(ctx)
			default:
				ends = earlier(time.Now().Add(calmPause), began.Add(calmLimit))
			}
		}
	}
}

func (w *waves) prepared(ctx context.Context) {
	if w.prepare != nil {
		w.preparing.Go(func() { w.prepare(ctx) })
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
