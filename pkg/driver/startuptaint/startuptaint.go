// Package startuptaint lets pods onto new nodes when the driver can serve them.
//
// The scheduler takes a node whose CSINode does not list the driver yet for one without a limit of volumes, and brings it
// more than it can have. An administrator prevents that by registering nodes with the taint Key. It is removed here, in the
// controller: to change Nodes is a right that must not lie on every node.
package startuptaint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/kubeapi"
)

// Key is the key of the taint, whatever its value and effect.
const Key = "block.csi.vultr.com/agent-not-ready"

const (
	nodes    = "/api/v1/nodes"
	csiNodes = "/apis/storage.k8s.io/v1/csinodes"
	// Sizes of pages: a Node is some ten times as large as a CSINode.
	nodePage, csiNodePage = 50, 500
	// firstPause and maxPause are between two tries when something fails.
	firstPause, maxPause = time.Second, 5 * time.Minute
	// conflicts is how often in a row somebody else may change a Node at the same time.
	conflicts = 5
)

// Remover removes the taint. Two may run at once.
type Remover struct {
	kube   *kubeapi.Client
	driver string
	first  time.Duration // firstPause
}

// New returns the Remover of a driver. It needs the rights to list and watch CSINodes, and to get, list and patch Nodes.
func New(kube *kubeapi.Client, driver string) *Remover {
	return &Remover{kube: kube, driver: driver, first: firstPause}
}

// csiNode has the fields of storage/v1's CSINode that are used.
type csiNode struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
		Owners          []struct {
			UID string `json:"uid"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		Drivers []struct {
			Name        string `json:"name"`
			Allocatable *struct {
				Count *int32 `json:"count"`
			} `json:"allocatable"`
		} `json:"drivers"`
	} `json:"spec"`
}

// serves reports whether the driver is registered on the node, with a limit that the scheduler can see.
func (c *csiNode) serves(driver string) bool {
	for _, d := range c.Spec.Drivers {
		if d.Name == driver {
			return d.Allocatable != nil && d.Allocatable.Count != nil
		}
	}
	return false
}

// isOf reports whether the CSINode is this Node's, and not one that a Node of the same name has left.
func (c *csiNode) isOf(n *node) bool {
	for _, o := range c.Metadata.Owners {
		if o.UID == n.Metadata.UID {
			return true
		}
	}
	return false
}

// node has the fields of core/v1's Node that are used.
type node struct {
	Metadata struct {
		Name            string `json:"name"`
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		// Taints are kept as they are, because they are written back.
		Taints []json.RawMessage `json:"taints"`
	} `json:"spec"`
}

// others returns the taints that are not ours, and whether there are any that are.
func (n *node) others() (others []json.RawMessage, tainted bool) {
	others = []json.RawMessage{}
	for _, raw := range n.Spec.Taints {
		var t struct {
			Key string `json:"key"`
		}
		if err := json.Unmarshal(raw, &t); err == nil && t.Key == Key {
			tainted = true
			continue
		}
		others = append(others, raw)
	}
	return others, tainted
}

// errRefused says that some nodes keep the taint, each for a reason of its own, while others lose theirs.
var errRefused = errors.New("the apiserver refuses to let nodes be changed")

// Run removes taints until the context ends. What fails is tried again.
func (r *Remover) Run(ctx context.Context) {
	for pause := r.first; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		began := time.Now()
		err := r.follow(ctx, pause)
		if ctx.Err() != nil {
			return
		}
		klog.FromContext(ctx).Info("Start-up taints are looked for again", "reason", err.Error())
		if errors.Is(err, errRefused) && time.Since(began) >= pause {
			continue // new nodes were let in meanwhile
		}
		if time.Since(began) > maxPause {
			pause = r.first
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // spreading load needs no secrecy
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// follow looks at all nodes once and then at each whose CSINode changes. It returns when something fails. A node that cannot
// be changed keeps no other one waiting: errRefused comes when it is to be tried again, after the time given.
func (r *Remover) follow(ctx context.Context, again time.Duration) error {
	var refused error
	// one releases a node, and returns what concerns all of them.
	one := func(c csiNode) error {
		err := r.release(ctx, c)
		if kubeapi.IsRefused(err) {
			refused, err = fmt.Errorf("%w: %w", errRefused, err), nil
		}
		return err
	}
	version, err := r.lookAtAll(ctx, one)
	if err != nil {
		return err
	}
	for began := time.Now(); ; {
		watching, cancel := ctx, context.CancelFunc(func() {})
		if refused != nil {
			watching, cancel = context.WithDeadline(ctx, began.Add(again))
		}
		err := r.watch(watching, &version, one)
		cancel()
		if refused != nil && (err == nil || watching.Err() != nil) {
			return refused
		}
		if err != nil {
			return err
		}
	}
}

// shortWatch is how long a watch goes on at least.
const shortWatch = time.Second

// errShort is returned for watches that end as soon as they begin: they are not begun again at once.
var errShort = errors.New("the apiserver ended a watch at once")

// watch looks at each node whose CSINode changes after the version, until the apiserver ends the watch.
func (r *Remover) watch(ctx context.Context, version *string, one func(csiNode) error) error {
	began := time.Now()
	err := kubeapi.Watch(ctx, r.kube, csiNodes, *version, func(e kubeapi.Event[csiNode]) error {
		*version = e.Object.Metadata.ResourceVersion
		if e.Type != "ADDED" && e.Type != "MODIFIED" || !e.Object.serves(r.driver) {
			return nil
		}
		return one(e.Object)
	})
	if err == nil && time.Since(began) < shortWatch {
		return errShort
	}
	return err
}

// lookAtAll looks at all nodes and returns the version from which CSINodes are to be watched.
func (r *Remover) lookAtAll(ctx context.Context, one func(csiNode) error) (string, error) {
	serving := map[string]csiNode{}
	version, err := kubeapi.List(ctx, r.kube, csiNodes, csiNodePage, func(c csiNode) error {
		if c.serves(r.driver) {
			serving[c.Metadata.Name] = c
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	_, err = kubeapi.List(ctx, r.kube, nodes, nodePage, func(n node) error {
		c, ok := serving[n.Metadata.Name]
		if _, tainted := n.others(); !ok || !tainted {
			return nil
		}
		return one(c)
	})
	return version, err
}

// release removes the taint from the node of a CSINode. Nothing else of the Node is touched: what somebody else changed
// since it was read is a conflict, and it is read again.
func (r *Remover) release(ctx context.Context, c csiNode) error {
	path := nodes + "/" + url.PathEscape(c.Metadata.Name)
	for try := 1; ; try++ {
		var n node
		err := r.kube.Get(ctx, path, &n)
		if kubeapi.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		others, tainted := n.others()
		if !tainted || !c.isOf(&n) {
			return nil
		}
		patch := map[string]any{
			"metadata": map[string]string{"resourceVersion": n.Metadata.ResourceVersion}, "spec": map[string]any{"taints": others},
		}
		err = r.kube.Do(ctx, http.MethodPatch, path, kubeapi.MergePatch, patch, nil)
		switch {
		case err == nil:
			klog.FromContext(ctx).Info("Removed the start-up taint, the driver serves the node", "node", c.Metadata.Name, "taint", Key)
			return nil
		case kubeapi.IsConflict(err) && try < conflicts:
			continue
		}
		return fmt.Errorf("removing the taint %s of node %s: %w", Key, c.Metadata.Name, err)
	}
}
