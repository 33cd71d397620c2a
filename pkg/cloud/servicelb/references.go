package servicelb

import (
	"context"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// referenceKind is the kind of an object that annotations can name.
type referenceKind int

const (
	secretKind referenceKind = iota + 1
	configMapKind
)

// reference is an object that a Service's annotations name, and whose contents decide about the load balancer too.
type reference struct {
	kind            referenceKind
	namespace, name string
}

// references watches the objects that Services name, each one alone and by name, and adds the Services' keys when one
// changes. It keeps nothing of what is in them.
type references struct {
	client kubernetes.Interface
	add    func(key)

	mu      sync.Mutex
	active  bool
	wants   map[key][]reference         // Service to what it names
	watches map[reference]chan struct{} // closed to end the watch; nil for one that has not begun
	running sync.WaitGroup
}

func newReferences(client kubernetes.Interface, add func(key)) *references {
	return &references{client: client, add: add, wants: map[key][]reference{}, watches: map[reference]chan struct{}{}}
}

// run lets watches run until ctx ends.
func (r *references) run(ctx context.Context) {
	r.mu.Lock()
	r.active = true
	for object := range r.watches {
		r.start(object)
	}
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.active = false
	for object := range r.watches {
		r.end(object)
	}
	r.mu.Unlock()
	r.running.Wait()
}

// want says what a Service names now.
func (r *references) want(service key, named ...reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.wants[service]
	if slices.Equal(old, named) {
		return
	}
	delete(r.wants, service)
	if len(named) > 0 {
		r.wants[service] = slices.Clone(named)
	}
	for _, object := range old {
		if !r.wanted(object) {
			r.end(object)
		}
	}
	for _, object := range named {
		if _, there := r.watches[object]; !there {
			r.watches[object] = nil
			r.start(object)
		}
	}
}

func (r *references) wanted(object reference) bool {
	for _, named := range r.wants {
		if slices.Contains(named, object) {
			return true
		}
	}
	return false
}

// end ends a watch. It is called under the lock, as start is.
func (r *references) end(object reference) {
	if stop := r.watches[object]; stop != nil {
		close(stop)
	}
	delete(r.watches, object)
}

// start begins a watch, as soon as they may run.
func (r *references) start(object reference) {
	if !r.active {
		return
	}
	stop := make(chan struct{})
	r.watches[object] = stop
	_, informer := cache.NewInformerWithOptions(r.options(object))
	r.running.Go(func() { informer.Run(stop) })
}

// options are those of a watch: it tells of changes, and keeps nothing that is secret.
func (r *references) options(object reference) cache.InformerOptions {
	changed := func(any) { r.changed(object) }
	return cache.InformerOptions{
		ListerWatcher: r.listWatch(object),
		ObjectType:    object.kind.object(),
		Transform:     withoutContent,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: changed,
			UpdateFunc: func(before, after any) {
				old, isObject := before.(metav1.Object)
				fresh, alsoObject := after.(metav1.Object)
				if !isObject || !alsoObject || old.GetResourceVersion() != fresh.GetResourceVersion() {
					changed(after)
				}
			},
			DeleteFunc: changed,
		},
	}
}

func (k referenceKind) object() runtime.Object {
	if k == configMapKind {
		return &v1.ConfigMap{}
	}
	return &v1.Secret{}
}

func (r *references) listWatch(object reference) cache.ListerWatcher {
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, object.name).String()
	core := r.client.CoreV1()
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return core.Secrets(object.namespace).List(ctx, options)
	}
	follow := core.Secrets(object.namespace).Watch
	if object.kind == configMapKind {
		list = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return core.ConfigMaps(object.namespace).List(ctx, options)
		}
		follow = core.ConfigMaps(object.namespace).Watch
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = only
			return list(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = only
			return follow(ctx, options)
		},
	}, r.client)
}

// withoutContent keeps what tells two versions of an object apart, and nothing that is secret.
func withoutContent(object any) (any, error) {
	switch object := object.(type) {
	case *v1.Secret:
		return &v1.Secret{ObjectMeta: identity(&object.ObjectMeta)}, nil
	case *v1.ConfigMap:
		return &v1.ConfigMap{ObjectMeta: identity(&object.ObjectMeta)}, nil
	}
	return object, nil
}

func identity(meta *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion}
}

// changed adds the keys of the Services that name the object.
func (r *references) changed(object reference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for service, named := range r.wants {
		if slices.Contains(named, object) {
			r.add(service)
		}
	}
}
