package servicelb_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// local has connections go only to nodes that have a pod of the Service.
func local(s *v1.Service) {
	s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyLocal, 32000
}

// pod is a pod of a Service on a node.
type pod struct {
	node                        string
	ready, serving, terminating bool
}

func readyOn(node string) pod  { return pod{node, true, true, false} }
func endingOn(node string) pod { return pod{node, false, true, true} }
func failedOn(node string) pod { return pod{node, false, false, false} }

// runs says which pods a Service has now.
func (w *world) runs(s *v1.Service, pods ...pod) {
	w.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for i, p := range pods {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.244.0.%d", i+1)}, NodeName: &p.node,
			Conditions: discoveryv1.EndpointConditions{Ready: &p.ready, Serving: &p.serving, Terminating: &p.terminating},
		})
	}
	api := w.client.DiscoveryV1().EndpointSlices(s.Namespace)
	_, err := api.Update(w.Context(), slice, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = api.Create(w.Context(), slice, metav1.CreateOptions{})
	}
	if err != nil {
		w.Fatal(err)
	}
}

// machine returns the instance behind a node.
func (w *world) machine(node string) string {
	w.Helper()
	found, err := w.client.CoreV1().Nodes().Get(w.Context(), node, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return found.Spec.ProviderID[len("vultr://"):]
}

func (w *world) machines(nodes ...string) []string {
	w.Helper()
	var ids []string
	for _, node := range nodes {
		ids = append(ids, w.machine(node))
	}
	slices.Sort(ids)
	return ids
}

// backendsOf returns the backends of a load balancer as the platform has them, without a call.
func (w *world) backendsOf(id string) []string {
	w.Helper()
	for _, view := range w.cloud.Sim.View().LoadBalancers {
		if view.ID == id {
			return view.Instances
		}
	}
	w.Fatalf("there is no load balancer %s", id)
	return nil
}

func (w *world) on(id string, nodes ...string) func() bool {
	w.Helper()
	want := w.machines(nodes...)
	return func() bool { return slices.Equal(w.backendsOf(id), want) }
}

// With policy Local the backends are the nodes that have pods, and follow them within seconds.
func TestLocalBackendsFollowPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 3 {
			w.addMachine(fmt.Sprintf("node-%d", i+2))
		}
		plain := w.service("plain")
		s := w.service("web", local)
		w.runs(s, readyOn("node-0"), failedOn("node-3"))
		w.runs(plain, readyOn("node-0"))
		lb := w.settled(s)
		all := w.settled(plain)
		w.within(time.Minute, "only the node with the pod is a backend", w.on(lb.ID, "node-0"))
		if lb := w.truth(lb.ID); lb.HealthCheck.Port != 32000 {
			t.Errorf("health check %+v", lb.HealthCheck)
		}
		w.later(10 * time.Minute)
		writes := w.writes()

		w.runs(s, readyOn("node-0"), readyOn("node-1"))
		w.within(3*time.Second, "a second node is one", w.on(lb.ID, "node-0", "node-1"))
		w.later(time.Minute)
		w.runs(s, endingOn("node-0"), readyOn("node-1"))
		w.within(3*time.Second, "the one whose pod ends is none, while it still answers", w.on(lb.ID, "node-1"))
		w.runs(s, readyOn("node-1"))
		w.later(time.Minute)
		if n := w.writes() - writes; n != 2 {
			t.Errorf("%d writes for two changes", n)
		}

		// Another process finds everything as it should be.
		w.start()
		w.later(20 * time.Minute)
		if n := w.writes() - writes; n != 2 {
			t.Errorf("%d writes more, nothing has changed", n-2)
		}
		if got := w.backendsOf(all.ID); len(got) != 5 {
			t.Errorf("the Service of policy Cluster has the backends %v", got)
		}

		// A Node that is not ready is no backend, though its pod is not known to have failed.
		w.runs(s, readyOn("node-1"), readyOn("node-2"))
		w.within(3*time.Second, "both are backends", w.on(lb.ID, "node-1", "node-2"))
		w.later(time.Minute)
		w.editNode("node-1", ready(false))
		w.within(5*time.Second, "one is", w.on(lb.ID, "node-2"))

		w.edit(s, func(s *v1.Service) {
			s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = v1.ServiceExternalTrafficPolicyCluster, 0
		})
		w.within(5*time.Second, "all ready nodes are", w.on(lb.ID, "node-0", "node-2", "node-3", "node-4"))
		w.edit(s, local)
		w.within(5*time.Second, "only one again", w.on(lb.ID, "node-2"))
	})
}

// A pod moves to a node that was no backend: no connection may meet a node whose pod does not answer, at no moment, and there
// is always one that does. The pod goes on answering for some seconds, as pods do that are to lose no connection.
func TestMovedPodLosesNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addMachine("node-2")
		s := w.service("web", local)
		w.runs(s, readyOn("node-0"))
		lb := w.settled(s)
		w.within(time.Minute, "the node with the pod is the backend", w.on(lb.ID, "node-0"))
		w.later(10 * time.Minute)
		w.moves(s, lb.ID)
	})
}

// moves has the only pod of a Service, which is on node-0, move on from node to node, of which there are three.
func (w *world) moves(s *v1.Service, id string) {
	w.Helper()
	const answers = 12 * time.Second
	for move := range 6 {
		from, to := fmt.Sprintf("node-%d", move%3), fmt.Sprintf("node-%d", (move+1)%3)
		writes := w.writes()
		steps := []struct {
			pods  []pod
			lasts time.Duration
		}{
			{[]pod{readyOn(from), failedOn(to)}, 3 * time.Second},
			{[]pod{endingOn(from), readyOn(to)}, answers},
			{[]pod{readyOn(to)}, 11 * time.Minute},
		}
		for i, step := range steps {
			w.runs(s, step.pods...)
			answering := map[string]bool{}
			for _, p := range step.pods {
				answering[w.machine(p.node)] = p.serving
			}
			for end := time.Now().Add(step.lasts); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // of the fake clock
				backends := w.backendsOf(id)
				if len(backends) == 0 || slices.ContainsFunc(backends, func(id string) bool { return !answering[id] }) {
					w.Fatalf("move %d, step %d: of the backends %v not all answer", move, i, backends)
				}
			}
		}
		if !w.on(id, to)() {
			w.Errorf("move %d: the backends are %v", move, w.backendsOf(id))
		}
		if n := w.writes() - writes; n != 2 {
			w.Errorf("move %d: %d writes, want one that adds and one that removes", move, n)
		}
	}
	if events := w.events(); has(events, "Warning") {
		w.Errorf("events %q", events)
	}
}

// A node leaves at once when its pod is gone without having been seen to end, and its successor is there.
func TestPodThatIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", local)
		w.runs(s, readyOn("node-0"))
		lb := w.settled(s)
		w.within(time.Minute, "the node with the pod is the backend", w.on(lb.ID, "node-0"))
		w.later(time.Minute)
		w.runs(s, readyOn("node-1"))
		w.within(3*time.Second, "the other one is", w.on(lb.ID, "node-1"))
	})
}

// While no pod answers nothing is written at first: a Service that is restarted finds its backends again. After a while
// all nodes are backends, so that nothing depends on this controller any more.
func TestServiceWithoutPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", local)
		w.runs(s, readyOn("node-0"))
		lb := w.settled(s)
		w.within(time.Minute, "the node with the pod is the backend", w.on(lb.ID, "node-0"))
		w.later(time.Minute)
		writes := w.writes()
		w.runs(s, failedOn("node-0"))
		w.later(4 * time.Minute)
		w.runs(s, readyOn("node-0"))
		w.later(time.Minute)
		if n := w.writes() - writes; n != 0 {
			t.Errorf("%d writes though the pod came back where it was", n)
		}
		w.runs(s)
		w.later(4*time.Minute + 30*time.Second)
		if !w.on(lb.ID, "node-0")() {
			t.Errorf("the last backends are kept for a while: %v", w.backendsOf(lb.ID))
		}
		w.within(time.Minute, "all are backends", w.on(lb.ID, "node-0", "node-1"))
		w.addMachine("node-2")
		w.within(time.Minute, "a new one as well", w.on(lb.ID, "node-0", "node-1", "node-2"))
		w.runs(s, readyOn("node-2"))
		w.within(3*time.Second, "the one with the pod is", w.on(lb.ID, "node-2"))
	})
}

// A pod whose readiness comes and goes is taken out at once each time it serves, and costs few writes.
func TestPodThatFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web", local)
		w.runs(s, readyOn("node-0"), readyOn("node-1"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		writes := w.writes()
		for range 60 {
			w.runs(s, readyOn("node-0"), failedOn("node-1"))
			w.later(5 * time.Second)
			if !w.on(lb.ID, "node-0")() {
				t.Fatalf("backends %v while a pod is not ready", w.backendsOf(lb.ID))
			}
			w.runs(s, readyOn("node-0"), readyOn("node-1"))
			w.later(10 * time.Second)
		}
		if n := w.writes() - writes; n > 10 {
			t.Errorf("%d writes for 60 flaps", n)
		}
		w.within(6*time.Minute, "it is back", w.on(lb.ID, "node-0", "node-1"))
	})
}

// Without the right to read EndpointSlices, load balancers are looked after all the same, and have all nodes.
func TestEndpointSlicesCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		refused := apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "", nil)
		w.react("list", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
		w.start()
		s := w.service("web", local)
		w.runs(s, readyOn("node-0"))
		lb := w.settled(s)
		w.later(10 * time.Minute)
		if !w.on(lb.ID, "node-0", "node-1")() {
			t.Errorf("backends %v", w.backendsOf(lb.ID))
		}
		w.edit(s, with(settings.Timeout, "30"))
		w.shows(lb.ID, "has the new timeout", func(l vultr.LoadBalancer) bool { return l.Timeout == 30 })
	})
}
