package servicelb_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servicehelper "k8s.io/cloud-provider/service/helpers"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/ledger"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// restored returns a cluster of other machines with everything that was in this one's API server, in the same account.
func (w *world) restored(services ...*v1.Service) *world {
	w.Helper()
	clone := newCluster(w.T)
	clone.cloud, clone.api = w.cloud, w.api
	for _, name := range []string{"node-0", "node-1"} {
		clone.removeNode(name)
	}
	clone.ids = nil
	clone.addMachine("clone-0")
	clone.addMachine("clone-1")
	ledgers, err := w.client.CoreV1().ConfigMaps(ledger.Namespace).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for i := range ledgers.Items {
		clone.add(&ledgers.Items[i])
	}
	for _, s := range services {
		clone.add(w.fresh(s))
	}
	return clone
}

// destroy ends a machine.
func (w *world) destroy(id string) {
	w.Helper()
	w.order(http.MethodDelete, "/v2/instances/"+id)
}

// order is a request without a body that somebody else sends to the platform.
func (w *world) order(method, path string) {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), method, w.cloud.URL+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.cloud.Key)
	transport := &http.Transport{DialContext: w.cloud.Dial, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		w.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode/100 != 2 {
		w.Fatal(answer.Status, err)
	}
}

func (w *world) removeNode(name string) {
	w.Helper()
	if err := w.client.CoreV1().Nodes().Delete(w.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
}

// serves reports whether exactly these machines are behind the load balancer.
func (w *world) serves(lb vultr.LoadBalancer, ids []string) bool {
	w.Helper()
	now := w.truth(lb.ID).Instances
	if len(now) != len(ids) {
		return false
	}
	for i := range ids {
		if now[i] != ids[i] {
			return false
		}
	}
	return true
}

// A cluster that was restored from another one's backup neither takes that one's traffic nor deletes its load balancer.
func TestRestoredCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, second := w.service("web"), w.service("second", with(settings.Label, "www"))
		lb, other := w.settled(s), w.settled(second)
		w.later(10 * time.Minute)
		clone := w.restored(s, second)
		before := w.writes()
		clone.start()
		clone.wantEvent("as if this cluster was restored from another one's backup")
		for range 20 {
			w.later(time.Minute)
			if !w.serves(lb, w.ids) || !w.serves(other, w.ids) {
				t.Fatalf("backends %v and %v, production's are %v", w.truth(lb.ID).Instances, w.truth(other.ID).Instances, w.ids)
			}
		}
		if n, _ := metric(t, "doubted_load_balancers", ""); n != 2 {
			t.Errorf("metric %g", n)
		}
		clone.deleting(s)
		w.later(time.Hour)
		if n := w.writes() - before; n > 0 || !servicehelper.HasLBFinalizer(clone.fresh(s)) {
			t.Errorf("%d writes, finalizers %v", n, clone.fresh(s).Finalizers)
		}
		clone.edit(s, with(settings.Create, "false"))
		clone.finalizerGone(s, 10*time.Minute)
		w.truth(lb.ID)
		w.stop()
		clone.say(settings.AllowAdoption, other.ID)
		clone.within(time.Minute, "a person says whose it is", func() bool { return w.serves(other, clone.ids) })
		if n, _ := metric(t, "doubted_load_balancers", ""); n != 0 {
			t.Errorf("metric %g", n)
		}
	})
}

// A backup has the Nodes, too: those of the other cluster are here, but their kubelets report there. Whether this cluster has nodes of
// its own or none yet, the other one's traffic stays where it is, and a Service's end ends nothing there.
func TestRestoredClusterHasTheNodes(t *testing.T) {
	silent := map[string]func(*v1.Node){
		"given up": func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionUnknown },
		"not yet given up": func(n *v1.Node) {
			n.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(time.Now().Add(-time.Hour))
		},
	}
	for name, give := range silent {
		for _, own := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, nodes of its own: %t", name, own), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					s, second := w.service("web"), w.service("second", with(settings.Label, "www"))
					lb, other := w.settled(s), w.settled(second)
					w.later(10 * time.Minute)
					clone := w.restored(s, second)
					if !own {
						clone.removeNode("clone-0")
						clone.removeNode("clone-1")
					}
					for i, id := range w.ids {
						node := fmt.Sprintf("node-%d", i)
						clone.addNode(node, "vultr://"+id)
						clone.editNode(node, give)
					}
					before := w.writes()
					clone.start()
					clone.later(time.Minute)
					if events := clone.events(); has(events, "as if this cluster was restored") {
						t.Errorf("it is told before kubelets had time to report: %q", events)
					}
					clone.wantEvent("as if this cluster was restored from another one's backup")
					clone.deleting(s)
					clone.later(time.Hour)
					if n := w.writes() - before; n > 0 || !w.serves(lb, w.ids) || !w.serves(other, w.ids) {
						t.Fatalf("%d writes; backends %v and %v", n, w.truth(lb.ID).Instances, w.truth(other.ID).Instances)
					}
					if !servicehelper.HasLBFinalizer(clone.fresh(s)) {
						t.Error("the finalizer is gone")
					}
				})
			})
		}
	}
}

// What the other cluster's Service has by another controller's making is not taken over either, by what the backup says: not even its
// backends, which follow the nodes while a Service has faults.
func TestRestoredClusterTakesNothingOver(t *testing.T) {
	for name, change := range map[string]func(*v1.Service){"as it is": func(*v1.Service) {}, "with a fault": with(settings.NodeCount, "2")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCluster(t)
				lb := w.existing("www", behind(w.ids...))
				clone := w.restored()
				for i, id := range w.ids {
					node := fmt.Sprintf("node-%d", i)
					clone.addNode(node, "vultr://"+id)
					clone.editNode(node, func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionUnknown })
				}
				clone.service("web", old, www, change, func(s *v1.Service) {
					s.Annotations[string(settings.ID)] = lb.ID
					s.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: lb.IPv4, Hostname: "www"}}
				})
				before := w.writes()
				clone.start()
				clone.wantEvent("as if this cluster was restored from another one's backup")
				clone.later(time.Hour)
				if n := w.writes() - before; n > 0 {
					t.Errorf("%d writes", n)
				}
				w.untouched(lb)
			})
		})
	}
}

// Kubelets that come back after a while are this cluster's: nobody is told anything, and all goes on.
func TestKubeletsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.later(10 * time.Minute)
		w.stop()
		for i := range w.ids {
			w.editNode(fmt.Sprintf("node-%d", i), func(n *v1.Node) { n.Status.Conditions[0].Status = v1.ConditionUnknown })
		}
		w.edit(s, with(settings.Timeout, "30"))
		w.start()
		w.later(90 * time.Second)
		if w.truth(lb.ID).Timeout == 30 {
			t.Error("it is changed before anything says that it serves this cluster")
		}
		w.editNode("node-1", func(n *v1.Node) {
			n.Status.Conditions[0].Status, n.Status.Conditions[0].LastHeartbeatTime = v1.ConditionTrue, metav1.Now()
		})
		w.within(time.Minute, "the change is made", func() bool { return w.truth(lb.ID).Timeout == 30 })
		if has(w.events(), "as if this cluster was restored") {
			t.Error("it is told as another cluster's")
		}
	})
}

// A cluster whose machines were all replaced while no controller ran goes on when the old ones are gone.
func TestAllMachinesAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.service("web")
		lb := w.settled(s)
		w.stop()
		w.later(time.Hour)
		before := w.ids
		w.ids = nil
		for _, name := range []string{"node-0", "node-1"} {
			w.removeNode(name)
		}
		w.addMachine("new-0")
		w.addMachine("new-1")
		w.start()
		w.wantEvent("no nodes of this cluster")
		w.later(10 * time.Minute)
		if !w.serves(lb, before) {
			t.Errorf("backends %v", w.truth(lb.ID).Instances)
		}
		for _, id := range before {
			w.destroy(id)
		}
		w.within(6*time.Minute, "the new machines serve", func() bool { return w.serves(lb, w.ids) })
		// While it runs, all may be replaced.
		w.removeNode("new-0")
		w.removeNode("new-1")
		w.ids = nil
		w.addMachine("next-0")
		w.within(10*time.Minute, "the next machine serves", func() bool { return w.serves(lb, w.ids) })
	})
}

// A process that has not seen what serves deletes nothing unseen, and does not take a blank minute for its absence.
func TestDeletedUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCluster(t)
		w.tap()
		s := w.service("web")
		w.settled(s)
		w.later(10 * time.Minute)
		api := w.tap() // a new process
		api.hidden.Store(true)
		w.deleting(s)
		w.later(2 * time.Minute)
		if n := w.cloud.Count("delete_load_balancer"); n > 0 || !servicehelper.HasLBFinalizer(w.fresh(s)) {
			t.Errorf("%d deletions, finalizers %v", n, w.fresh(s).Finalizers)
		}
		api.hidden.Store(false)
		w.finalizerGone(s, time.Minute)
		w.none()
	})
}
