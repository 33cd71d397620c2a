package servicelb_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
)

// many makes this many Services in front of three nodes and waits until the process has been quiet for a while.
func (w *world) many(services int) {
	w.Helper()
	w.addMachine("node-2")
	var all []*v1.Service
	for i := range services {
		all = append(all, w.service(fmt.Sprintf("many%d", i)))
	}
	for _, s := range all {
		w.settled(s)
	}
	w.later(10 * time.Minute)
}

// follow returns how long it takes until all load balancers have this many backends.
func (w *world) follow(backends int) time.Duration {
	w.Helper()
	began, is := time.Now(), w.backends(backends)
	for !is() {
		if time.Since(began) > patience {
			w.Fatalf("not within %s", patience)
		}
		time.Sleep(100 * time.Millisecond) // of fake time; only what is waited for ends the wait
	}
	return time.Since(began)
}

// A node that fails, or whose Node is deleted, is out of a hundred load balancers within five seconds. What costs no traffic while it
// is waited for takes its time, at the usual rate.
func TestFailedNodeLeavesManyLoadBalancers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.many(100)
		w.editNode("node-0", ready(false))
		if took := w.follow(2); took > 5*time.Second {
			t.Errorf("a node that is not ready was a backend for %s", took)
		}
		w.later(5 * time.Minute)
		w.editNode("node-0", ready(true))
		if took := w.follow(3); took < 12*time.Second {
			t.Errorf("a node that is ready again was a backend of all after %s", took)
		}
		w.later(5 * time.Minute)
		w.editNode("node-1", func(n *v1.Node) { n.Labels[v1.LabelNodeExcludeBalancers] = "" })
		if took := w.follow(2); took < 9*time.Second {
			t.Errorf("a node that works and is excluded was out of all after %s", took)
		}
		w.later(5 * time.Minute)
		if err := w.client.CoreV1().Nodes().Delete(w.Context(), "node-2", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if took := w.follow(1); took > 5*time.Second {
			t.Errorf("a node that was deleted was a backend for %s", took)
		}
	})
}

// A platform that takes its time for lists is asked for one, while it is waited for further nodes that fail.
func TestSlowListsDelayFailedNodesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.many(40)
		for method, took := range map[string]time.Duration{"GET": 1500 * time.Millisecond, "PATCH": 250 * time.Millisecond} {
			w.cloud.Fault(simulator.Fault{Method: method, Path: "/load-balancers", Action: simulator.FaultLatency, LatencyMS: int(took.Milliseconds())})
		}
		before := w.cloud.Count("list_load_balancers")
		w.editNode("node-0", ready(false))
		if took := w.follow(2); took > 4500*time.Millisecond {
			t.Errorf("a node that is not ready was a backend for %s", took)
		}
		if lists := w.cloud.Count("list_load_balancers") - before; lists != 1 {
			t.Errorf("%d lists for one node that failed", lists)
		}
	})
}
