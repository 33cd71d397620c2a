package servicelb_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clienttesting "k8s.io/client-go/testing"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// refusePatches has the API server refuse patches of a Service: all of them, or those of its annotations.
func (w *world) refusePatches(name string, annotationsOnly bool) *atomic.Bool {
	w.Helper()
	refuses := &atomic.Bool{}
	refuses.Store(true)
	w.react("patch", "services", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch, ok := action.(clienttesting.PatchAction)
		if !ok || patch.GetName() != name || !refuses.Load() || annotationsOnly && patch.GetSubresource() != "" {
			return false, nil, nil
		}
		if annotationsOnly { // its owner has filled them up to the API server's limit, which any tenant can do
			return true, nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, name, field.ErrorList{
				field.TooLong(field.NewPath("metadata", "annotations"), "", 262144),
			})
		}
		return true, nil, apierrors.NewForbidden(v1.Resource("services"), name, errors.New("denied by a policy"))
	})
	return refuses
}

// The oldest one's annotations can't be written, since they are as long as may be. All others follow their nodes and their ports all the
// same, and can go.
func TestAnnotationsOfTheOldestAreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.add(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bank"}})
		w.allowSharing("shop", "www")
		w.allowSharing("bank", "www")
		w.refusePatches("first", true)
		w.service("first", www, on(80, 30080), aged(time.Hour))
		second := w.service("second", www, on(443, 30443), in("bank"))
		third := w.service("third", www, on(8080, 32080), in("bank"))
		w.later(20 * time.Minute)
		lb := w.only()
		for _, s := range []*v1.Service{second, third} {
			if got := w.fresh(s).Annotations[string(settings.ID)]; got != lb.ID {
				t.Errorf("%s names load balancer %q", s.Name, got)
			}
		}
		w.edit(second, also(8443, 31443))
		w.later(20 * time.Minute)
		if now := leads(w.truth(lb.ID)); now != "443:30443 8080:32080 80:30080 8443:31443" {
			t.Errorf("the new port of bank/second is not served: %s", now)
		}
		w.editNode("node-0", ready(false))
		w.later(10 * time.Minute)
		if !w.on(lb.ID, "node-1")() {
			t.Errorf("the node that has failed is a backend still: %v", w.backendsOf(lb.ID))
		}
		w.deleting(third)
		w.later(time.Hour)
		if servicehelper.HasLBFinalizer(w.fresh(third)) {
			t.Errorf("bank/third can't be deleted for what is wrong with shop/first; events %q", w.events())
		}
	})
}

// The same for one that shares nothing: its nodes are followed.
func TestAnnotationsAreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.refusePatches("web", true)
		w.service("web")
		w.later(20 * time.Minute)
		lb := w.only()
		w.editNode("node-0", ready(false))
		w.later(10 * time.Minute)
		if !w.on(lb.ID, "node-1")() {
			t.Errorf("the node that has failed is a backend still: %v; events %q", w.backendsOf(lb.ID), w.events())
		}
	})
}
