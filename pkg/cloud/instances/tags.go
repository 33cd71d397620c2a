package instances

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const (
	// tagPause is how long an instance that lacks its tag is left alone: lists may be late to show it, and whoever takes it away
	// again has a reason.
	tagPause = time.Hour
	// tagTimeout bounds what is done about one instance: its Node's addresses wait for that, and they matter more. If the API does
	// not do it, no instance is given its tag for tagRest: a thousand would wait that long each.
	tagTimeout, tagRest = 20 * time.Second, time.Minute
)

// tagged remembers when instances were given their tag. The zero value knows none.
type tagged struct {
	mu     sync.Mutex
	at     map[string]time.Time
	failed time.Time // when the API did not do it
}

// due reports whether the instance may be given its tag now, and notes that it is.
func (t *tagged) due(id string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.failed) < tagRest {
		return false
	}
	if last, there := t.at[id]; there && now.Sub(last) < tagPause {
		return false
	}
	if t.at == nil || len(t.at) > maxKnown {
		t.at = map[string]time.Time{}
	}
	t.at[id] = now
	return true
}

// rest notes that the API does not do it for now.
func (t *tagged) rest(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = now
}

// tag gives the instance of a Node the tag that the cluster's have. Tags are replaced as a whole, so they are read right before.
func (i *Instances) tag(ctx context.Context, node *v1.Node, listed vultr.Instance) {
	tag := i.options.Tag
	if tag == "" || node.Spec.ProviderID == "" || slices.Contains(listed.Tags, tag) || !i.tagged.due(listed.ID, time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tagTimeout)
	defer cancel()
	in, err := i.api.Instance(ctx, listed.ID)
	if err == nil && !slices.Contains(in.Tags, tag) {
		err = i.options.SetTags(ctx, in, append(slices.Clone(in.Tags), tag))
	}
	if err == nil {
		return
	}
	if refusal, ok := errors.AsType[*vultr.Error](err); !ok || refusal.Status == 0 || refusal.Status >= http.StatusInternalServerError {
		i.tagged.rest(time.Now())
	}
	klog.FromContext(ctx).Error(err, "An instance could not be given the tag of the cluster", "node", klog.KObj(node), "instance", listed.ID, "tag", tag)
}
