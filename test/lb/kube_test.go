package lb

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// kube is the API server: client-go's tracker of objects with what that lacks. Objects have versions, a write that knows an
// older version or another UID is refused, and what has finalizers is only marked deleted until it has none.
type kube struct {
	clienttesting.ObjectTracker
	mu      sync.Mutex // a write reads first
	version int
}

func newKube() *kube {
	return &kube{ObjectTracker: clienttesting.NewObjectTracker(scheme.Scheme, scheme.Codecs.UniversalDecoder())}
}

// reaction is how a request to the API server ends.
type reaction = func() (bool, runtime.Object, error)

// client returns a client of its own. Each of its requests but for watches goes by way of around.
func (k *kube) client(around func(action clienttesting.Action, do reaction) (bool, runtime.Object, error)) *fake.Clientset {
	c, react := &fake.Clientset{}, clienttesting.ObjectReaction(k)
	c.AddReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		return around(action, func() (bool, runtime.Object, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return react(action)
		})
	})
	c.AddWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		var options metav1.ListOptions
		if watching, ok := action.(clienttesting.WatchActionImpl); ok {
			options = watching.ListOptions
		}
		follow, err := k.Watch(action.GetResource(), action.GetNamespace(), options)
		return true, follow, err
	})
	return c
}

// directly is for a client to which nothing happens on the way.
func directly(_ clienttesting.Action, do reaction) (bool, runtime.Object, error) { return do() }

// stamp gives an object its next version.
func (k *kube) stamp(object metav1.Object) {
	k.version++
	object.SetResourceVersion(strconv.Itoa(k.version))
}

// Create adds an object, with the fields that the API server sets.
func (k *kube) Create(gvr schema.GroupVersionResource, object runtime.Object, namespace string, options ...metav1.CreateOptions) error {
	fresh, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	k.stamp(fresh)
	if fresh.GetUID() == "" {
		fresh.SetUID(types.UID(fmt.Sprintf("%08d-43b6-4d94-b8f5-1c5c0e0a3c11", k.version)))
	}
	if fresh.GetCreationTimestamp().Time.IsZero() {
		fresh.SetCreationTimestamp(metav1.Now())
	}
	return k.ObjectTracker.Create(gvr, object, namespace, options...)
}

// Update replaces an object.
func (k *kube) Update(gvr schema.GroupVersionResource, object runtime.Object, namespace string, options ...metav1.UpdateOptions) error {
	fresh, err := k.admit(gvr, object, namespace)
	if err != nil {
		return err
	}
	if err := k.ObjectTracker.Update(gvr, object, namespace, options...); err != nil {
		return err
	}
	return k.finalize(gvr, fresh, namespace)
}

// Patch replaces an object by what a patch made of it.
func (k *kube) Patch(gvr schema.GroupVersionResource, object runtime.Object, namespace string, options ...metav1.PatchOptions) error {
	fresh, err := k.admit(gvr, object, namespace)
	if err != nil {
		return err
	}
	if err := k.ObjectTracker.Patch(gvr, object, namespace, options...); err != nil {
		return err
	}
	return k.finalize(gvr, fresh, namespace)
}

// Delete removes an object, or marks it deleted while it has finalizers.
func (k *kube) Delete(gvr schema.GroupVersionResource, namespace, name string, options ...metav1.DeleteOptions) error {
	object, err := k.Get(gvr, namespace, name)
	if err != nil {
		return err
	}
	there, err := meta.Accessor(object)
	switch {
	case err != nil:
		return err
	case len(there.GetFinalizers()) == 0:
		return k.ObjectTracker.Delete(gvr, namespace, name, options...)
	case there.GetDeletionTimestamp() != nil:
		return nil
	}
	now := metav1.Now()
	there.SetDeletionTimestamp(&now)
	k.stamp(there)
	return k.ObjectTracker.Update(gvr, object, namespace)
}

var errOutdated = errors.New("the object has been modified")

// admit refuses a write that is about another state of the object, and gives the new one its version.
func (k *kube) admit(gvr schema.GroupVersionResource, object runtime.Object, namespace string) (metav1.Object, error) {
	fresh, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	old, err := k.Get(gvr, namespace, fresh.GetName())
	if err != nil {
		return nil, err
	}
	there, err := meta.Accessor(old)
	if err != nil {
		return nil, err
	}
	other := fresh.GetResourceVersion() != "" && fresh.GetResourceVersion() != there.GetResourceVersion()
	if other || fresh.GetUID() != "" && fresh.GetUID() != there.GetUID() {
		return nil, apierrors.NewConflict(gvr.GroupResource(), fresh.GetName(), errOutdated)
	}
	fresh.SetUID(there.GetUID())
	k.stamp(fresh)
	return fresh, nil
}

// finalize removes an object that is deleted when it has no finalizer any more.
func (k *kube) finalize(gvr schema.GroupVersionResource, fresh metav1.Object, namespace string) error {
	if fresh.GetDeletionTimestamp() == nil || len(fresh.GetFinalizers()) > 0 {
		return nil
	}
	return k.ObjectTracker.Delete(gvr, namespace, fresh.GetName())
}
