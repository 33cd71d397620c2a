package loadbalancers_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	cloudprovider "k8s.io/cloud-provider"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// refusePatches makes the API server answer err to every change of a Service until the returned function is called.
func (w *world) refusePatches(err error) (stop func()) {
	refuse := true
	w.client.PrependReactor("patch", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuse, nil, err
	})
	return func() { refuse = false }
}

// The label that a load balancer is made with is the proof whose it is until another proof is written down.
func TestNoNewLabelBeforeTheOwnerIsWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Label, "storefront"))
		name := cloudprovider.DefaultLoadBalancerName(s)
		w.existing(name) // made by a process that died before it wrote anything down
		stop := w.refusePatches(errors.New("the API server is down"))
		w.eventually("the change is tried", func() bool {
			_, err := w.ensure(s)
			return err != nil && !isWait(err)
		})
		if label := w.only().Label; label != name {
			t.Fatalf("label %q, want %q", label, name)
		}
		w.restart()
		stop()
		w.settled(s)
		if label := w.only().Label; label != "storefront" {
			t.Errorf("label %q", label)
		}
		w.restart()
		w.gone(s)
		if left := w.balancers(); len(left) != 0 {
			t.Errorf("left behind: %+v", left)
		}
	})
}

func TestNodesMakeNoLoadBalancerWithoutFinalizer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settled(w.service("other")) // the settle time is over now
		s := w.service("web", func(s *v1.Service) { s.Finalizers = nil })
		if err := w.lbs.UpdateLoadBalancer(t.Context(), "", s, w.nodes); !isWait(err) {
			t.Errorf("got %v, want to be asked again", err)
		}
		w.only()
	})
}

func TestMalformedIDDoesNotKeepAServiceFromBeingDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", with(settings.Label, "storefront"))
		w.settled(s)
		w.edit(s, with(settings.ID, "storefront"), func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP })
		w.restart()
		w.gone(s)
		if left := w.balancers(); len(left) != 0 {
			t.Errorf("left behind: %+v", left)
		}
	})
}

func TestDeletedForAServiceThatWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		old := w.fresh(s)
		w.refusePatches(apierrors.NewConflict(schema.GroupResource{Resource: "services"}, s.Name, errors.New("another UID")))
		w.eventually("the load balancer is deleted", func() bool {
			return w.lbs.EnsureLoadBalancerDeleted(t.Context(), "", old) == nil
		})
		if left := w.balancers(); len(left) != 0 {
			t.Errorf("left behind: %+v", left)
		}
	})
}

func TestRefusedBackendsDoNotEmptyTheLoadBalancer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		w.settled(s)
		before := w.only().Instances
		node := w.addNode("ghost", "vultr://cccccccc-66fd-4dfb-b839-443f2e6c0b60") // the cloud does not know it
		if err := w.lbs.UpdateLoadBalancer(t.Context(), "", w.fresh(s), []*v1.Node{node}); err == nil {
			t.Error("want the refusal")
		}
		if after := w.only().Instances; !slices.Equal(before, after) {
			t.Errorf("backends %v, want %v", after, before)
		}
	})
}

func TestOwnOneIsDeletedThoughAnotherWasNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, label := range []string{"", "storefront"} {
			s := w.service("web" + label)
			if label != "" {
				w.edit(s, with(settings.Label, label))
			}
			w.settled(s)
			theirs := w.existing("theirs" + label)
			w.edit(s, with(settings.ID, theirs.ID))
			w.settled(s)
			w.restart()
			w.gone(s)
			if left := w.balancers(); len(left) != 1 || left[0].ID != theirs.ID {
				t.Fatalf("left behind: %+v, want %s", left, theirs.ID)
			}
			if err := w.api.DeleteLoadBalancer(t.Context(), theirs.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}
