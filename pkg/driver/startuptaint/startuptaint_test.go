package startuptaint

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

const (
	ours  = `{"key":"block.csi.vultr.com/agent-not-ready","effect":"NoExecute"}`
	other = `{"key":"node.kubernetes.io/not-ready","effect":"NoSchedule","timeAdded":"2026-11-29T01:00:00Z"}`
)

// rig is a cluster with a Remover.
type rig struct {
	*testkube.Server

	t     *testing.T
	steps chan string // the requests, as they are answered
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return &rig{Server: testkube.New(t), t: t, steps: make(chan string, 1000)}
}

func (r *rig) node(name, uid string, taints ...string) {
	r.Put(nodes+"/"+name, fmt.Sprintf(`{"metadata":{"uid":%q,"labels":{"a":"b"}},"spec":{"taints":[%s]}}`, uid, strings.Join(taints, ",")))
}

func (r *rig) csiNode(name, uid, drivers string) {
	r.Put(csiNodes+"/"+name, fmt.Sprintf(`{"metadata":{"ownerReferences":[{"kind":"Node","uid":%q}]},"spec":{"drivers":[%s]}}`, uid, drivers))
}

const (
	serving   = `{"name":"other","nodeID":"x"},{"name":"block.csi.vultr.com","nodeID":"y","allocatable":{"count":11}}`
	unlimited = `{"name":"block.csi.vultr.com","nodeID":"y"}`
	notYet    = `{"name":"other","nodeID":"x","allocatable":{"count":11}}`
)

// start runs a Remover; fault is asked before each answer.
func (r *rig) start(fault func(step string) int) {
	r.t.Helper()
	r.Fault(func(method, path string) int {
		step := method + " " + path
		code := 0
		if fault != nil {
			code = fault(step)
		}
		r.steps <- step
		return code
	})
	kube, err := kubeapi.InCluster(r.Getenv, r.AccountDir)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	remover := New(kube, "block.csi.vultr.com")
	remover.first = 10 * time.Millisecond
	go func() { defer close(done); remover.Run(ctx) }()
	r.t.Cleanup(func() { cancel(); <-done })
}

// until waits for a request.
func (r *rig) until(step string) {
	r.t.Helper()
	for {
		select {
		case got := <-r.steps:
			if got == step {
				return
			}
		case <-r.t.Context().Done():
			r.t.Fatalf("%s never came", step)
		}
	}
}

func (r *rig) tainted(name string) bool { return strings.Contains(r.Object(nodes+"/"+name), Key) }

// settle has the Remover look at one more node, after all others: they are looked at in turn, so those before are done.
func (r *rig) settle(name string) {
	r.t.Helper()
	r.node(name, "uid-"+name, ours)
	r.csiNode(name, "uid-"+name, serving)
	r.until("PATCH " + nodes + "/" + name)
}

// TestTaints: a node loses the taint when its own CSINode shows the driver with a limit, and nothing else of it changes.
func TestTaints(t *testing.T) {
	r := newRig(t)
	r.node("ready", "1", other, ours, `{"key":"block.csi.vultr.com/agent-not-ready","value":"x","effect":"NoSchedule"}`)
	r.csiNode("ready", "1", serving)
	r.node("never", "2", ours)
	r.node("not-yet", "3", ours)
	r.csiNode("not-yet", "3", notYet)
	r.node("unlimited", "4", ours)
	r.csiNode("unlimited", "4", unlimited)
	r.node("made-again", "6", ours)
	r.csiNode("made-again", "5", serving)
	r.node("without", "7", other)
	r.csiNode("without", "7", serving)
	r.start(nil)
	r.settle("zz-more")
	if got := r.Object(nodes + "/ready"); r.tainted("ready") || !strings.Contains(got, `"timeAdded":"2026-11-29T01:00:00Z"`) || !strings.Contains(got, `"labels":{"a":"b"}`) {
		t.Errorf("ready is %s", got)
	}
	for _, name := range []string{"never", "not-yet", "unlimited", "made-again"} {
		if !r.tainted(name) {
			t.Errorf("%s has lost the taint", name)
		}
	}
	// The kubelets report a driver that is ready.
	r.csiNode("not-yet", "3", serving)
	r.csiNode("unlimited", "4", serving)
	r.csiNode("made-again", "6", serving)
	r.csiNode("gone", "8", serving)
	r.settle("zz-last")
	for _, name := range []string{"not-yet", "unlimited", "made-again"} {
		if r.tainted(name) {
			t.Errorf("%s has kept the taint", name)
		}
	}
	for _, request := range r.Requests() {
		if request == "PATCH "+nodes+"/without" || request == "PATCH "+nodes+"/gone" {
			t.Errorf("there was %s", request)
		}
	}
}

// TestConflict: what somebody else changes at the same time is kept.
func TestConflict(t *testing.T) {
	r := newRig(t)
	r.node("a", "1", ours)
	r.csiNode("a", "1", serving)
	var patches atomic.Int64
	r.start(func(step string) int {
		if step == "PATCH "+nodes+"/a" && patches.Add(1) == 1 {
			r.node("a", "1", other, ours)
		}
		return 0
	})
	r.settle("b")
	if got := r.Object(nodes + "/a"); r.tainted("a") || !strings.Contains(got, "not-ready\",") || patches.Load() != 2 {
		t.Errorf("after %d patches: %s", patches.Load(), got)
	}
}

// TestFailures: refusals, an apiserver that restarts and a version that is too old delay the removal, no more.
func TestFailures(t *testing.T) {
	r := newRig(t)
	r.node("a", "1", ours)
	r.csiNode("a", "1", serving)
	var patches, lists atomic.Int64
	r.start(func(step string) int {
		switch {
		case step == "PATCH "+nodes+"/a" && patches.Add(1) == 1:
			return http.StatusForbidden
		case step == "GET "+csiNodes && lists.Add(1) == 2:
			return http.StatusServiceUnavailable
		}
		return 0
	})
	for range 2 {
		r.until("PATCH " + nodes + "/a")
	}
	r.until("WATCH " + csiNodes)
	if r.tainted("a") || patches.Load() != 2 {
		t.Errorf("after %d patches it has the taint", patches.Load())
	}
	r.EndWatches()
	r.node("b", "2", ours)
	r.csiNode("b", "2", serving)
	r.until("PATCH " + nodes + "/b")
	r.Forget()
	r.EndWatches()
	r.node("c", "3", ours)
	r.csiNode("c", "3", serving)
	r.until("PATCH " + nodes + "/c")
}

// TestOneNodeKeepsNoOtherWaiting: a node that may not be changed, by some webhook's word, is tried again, and meanwhile those
// that are looked at after it lose their taints, and so do new ones.
func TestOneNodeKeepsNoOtherWaiting(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "b"} {
		r.node(name, "uid-"+name, ours)
		r.csiNode(name, "uid-"+name, serving)
	}
	var lets atomic.Bool
	r.start(func(step string) int {
		if step == "PATCH "+nodes+"/a" && !lets.Load() {
			return http.StatusForbidden
		}
		return 0
	})
	r.until("WATCH " + csiNodes)
	if r.tainted("b") {
		t.Error("b has the taint")
	}
	r.settle("c") // by the watch or, should it just have ended, by the next look at all
	for range 2 {
		r.until("PATCH " + nodes + "/a")
	}
	lets.Store(true)
	r.until("PATCH " + nodes + "/a")
	r.until("WATCH " + csiNodes)
	if !strings.Contains(r.Object(nodes+"/a"), `"taints":[]`) {
		t.Errorf("a is %s", r.Object(nodes+"/a"))
	}
}

// TestWatchesThatEndAtOnce are begun again after a pause, like anything that fails.
func TestWatchesThatEndAtOnce(t *testing.T) {
	r := newRig(t)
	r.start(func(step string) int {
		if step == "WATCH "+csiNodes {
			return http.StatusNoContent // a success without an event
		}
		return 0
	})
	for range 3 {
		r.until("WATCH " + csiNodes)
		if next := <-r.steps; next != "GET "+csiNodes {
			t.Fatalf("a watch that ended at once is followed by %s", next)
		}
	}
}
