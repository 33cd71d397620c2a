package servicelb_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
	servicehelper "k8s.io/cloud-provider/service/helpers"
)

// lateWatch is late to show those Services that have an address.
type lateWatch struct {
	watch.Interface
	events chan watch.Event
}

func newLateWatch(follow watch.Interface) *lateWatch {
	late := &lateWatch{Interface: follow, events: make(chan watch.Event, 1000)}
	go func() {
		defer close(late.events)
		for event := range follow.ResultChan() {
			if s, ok := event.Object.(*v1.Service); ok && len(s.Status.LoadBalancer.Ingress) > 0 {
				time.Sleep(3 * time.Second) // of fake time
			}
			late.events <- event
		}
	}()
	return late
}

func (l *lateWatch) ResultChan() <-chan watch.Event { return l.events }

// A Service that needs no load balancer any more in the moment in which its address is published does not keep the address,
// though the controller does not see yet what it has just written itself.
func TestAddressGoesThatIsNotSeenYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		services := v1.SchemeGroupVersion.WithResource("services")
		w.reactToWatch("services", func(action clienttesting.Action) (bool, watch.Interface, error) {
			all, err := w.client.Tracker().Watch(services, action.GetNamespace())
			return true, newLateWatch(all), err
		})
		var changes sync.Once
		w.react("patch", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
			patch, ok := action.(clienttesting.PatchAction)
			if !ok || !strings.Contains(string(patch.GetPatch()), `"ip":`) {
				return false, nil, nil
			}
			var err error
			changes.Do(func() {
				var found runtime.Object
				if found, err = w.client.Tracker().Get(services, "shop", "web"); err != nil {
					return
				}
				s := found.(*v1.Service).DeepCopy() //nolint:forcetypeassert // there is nothing else
				s.Spec.Type = v1.ServiceTypeClusterIP
				err = w.client.Tracker().Update(services, s, "shop")
			})
			return err != nil, nil, err
		})
		w.start()
		s := w.service("web")
		w.eventually("it is a ClusterIP", func() bool { return w.fresh(s).Spec.Type == v1.ServiceTypeClusterIP })
		w.eventually("the finalizer goes", func() bool { return !servicehelper.HasLBFinalizer(w.fresh(s)) })
		w.later(time.Minute)
		w.none()
		if status := w.fresh(s).Status.LoadBalancer; len(status.Ingress) > 0 {
			t.Errorf("the status is %+v", status)
		}
	})
}
