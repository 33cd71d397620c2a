package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cloudproviderapi "k8s.io/cloud-provider/api"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
)

const (
	// initialiseSoon is how long a Node may wait for its data without anybody being told: its instance may be new.
	initialiseSoon = 30 * time.Second
	// tellAgain is when it is told again, at the soonest, if the reason is another one then.
	tellAgain = 10 * time.Minute
)

// waiting remembers the Nodes that can't be initialised. The library says why in its log alone. The zero value knows none.
type waiting struct {
	mu    sync.Mutex
	nodes map[types.UID]wait
}

type wait struct {
	since, told time.Time
	text        string
}

// failed notes that a Node could not be initialised, and reports whether that is to be told.
func (w *waiting) failed(uid types.UID, text string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes == nil {
		w.nodes = map[types.UID]wait{}
	}
	known, there := w.nodes[uid]
	if !there {
		known.since = now
	}
	is := now.Sub(known.since) >= initialiseSoon && known.text != text && (known.told.IsZero() || now.Sub(known.told) >= tellAgain)
	if is {
		known.told, known.text = now, text
	}
	w.nodes[uid] = known
	return is
}

func (w *waiting) forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.nodes, uid)
}

// tellWaiting makes an Event of a Node that has not been initialised for a while, with the error. What has an Event of its own
// is not told twice.
func (i *Instances) tellWaiting(ctx context.Context, node *v1.Node, err error) {
	uninitialised := slices.ContainsFunc(node.Spec.Taints, func(t v1.Taint) bool { return t.Key == cloudproviderapi.TaintExternalCloudProvider })
	if err == nil || !uninitialised {
		i.waiting.forget(node.UID)
		return
	}
	if errors.Is(ctx.Err(), context.Canceled) || i.tells(node.UID, instanceNotMatched, foreignProviderID) {
		return // this process ends, which is no reason; or it was told
	}
	if i.waiting.failed(node.UID, err.Error(), time.Now()) {
		i.recorder.Event(node, v1.EventTypeWarning, reason.NodeNotInitialised, fmt.Sprintf("This node can't be initialised yet, and so gets no pods: %v", err))
	}
}

// tells reports whether the last word about a Node for one of the reasons stands.
func (i *Instances) tells(uid types.UID, reasons ...string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.ContainsFunc(reasons, func(reason string) bool { return i.told[uid][reason] != "" })
}
