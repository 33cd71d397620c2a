package instances

import (
	"context"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// tagPause is how long an instance that lacks its tag is left alone: lists may be late to show it, and whoever takes it away
// again has a reason.
const tagPause = time.Hour

// tagged remembers when instances were given their tag. The zero value knows none.
type tagged struct {
	mu sync.Mutex
	at map[string]time.Time
}

// due reports whether the instance may be given its tag now, and notes that it is.
func (t *tagged) due(id string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, there := t.at[id]; there && now.Sub(last) < tagPause {
		return false
	}
	if t.at == nil || len(t.at) > maxKnown {
		t.at = map[string]time.Time{}
	}
	t.at[id] = now
	return true
}

// tag gives the instance of a Node the tag that the cluster's have. Tags are replaced as a whole, so they are read right before.
func (i *Instances) tag(ctx context.Context, node *v1.Node, listed vultr.Instance) {
	tag := i.options.Tag
	if tag == "" || node.Spec.ProviderID == "" || slices.Contains(listed.Tags, tag) || !i.tagged.due(listed.ID, time.Now()) {
		return
	}
	in, err := i.api.Instance(ctx, listed.ID)
	if err == nil && !slices.Contains(in.Tags, tag) {
		err = i.options.SetTags(ctx, in, append(slices.Clone(in.Tags), tag))
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "An instance could not be given the tag of the cluster", "node", klog.KObj(node), "instance", listed.ID, "tag", tag)
	}
}
