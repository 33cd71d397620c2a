package servicelb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// previewPause is how long people have to read what will change at a load balancer that was taken over.
const previewPause = 10 * time.Second

// preview tells what will change at a load balancer that was taken over, before the first change of it, and once. It returns an
// error to wait after that. While the Service has faults nothing but the backends changes, which follow the nodes.
func (c *Controller) preview(ctx context.Context, s *scene, lb vultr.LoadBalancer, diff plan.Change) error {
	if s.reading.Err != nil {
		return nil //nolint:nilerr // the faults have been told; see above
	}
	if left := time.Until(s.memory.previewed.Add(previewPause)); left > 0 && !diff.Empty() {
		return waitExactly(left, "what will change at load balancer %s was told", lb.ID)
	}
	if !s.entry.Unseen {
		return nil
	}
	entry := s.entry
	entry.Unseen = false
	if diff.Empty() {
		return c.write(ctx, s, entry)
	}
	c.Recorder.Eventf(s.service, v1.EventTypeNormal, reason.LoadBalancerWouldChange,
		"Load balancer %s, which was taken over, will be changed in %s: %s", lb.ID, previewPause, c.inWords(s, lb, diff))
	s.memory.previewed = time.Now()
	if err := c.write(ctx, s, entry); err != nil {
		return err
	}
	return waitExactly(previewPause, "what will change at load balancer %s was told", lb.ID)
}

// longestWords bounds the text of a change in an Event.
const longestWords = 800

// inWords says what a change makes of a load balancer.
func (c *Controller) inWords(s *scene, lb vultr.LoadBalancer, diff plan.Change) string {
	names := map[string]string{}
	for _, node := range s.nodes {
		if id, err := providerid.Parse(node.Spec.ProviderID); err == nil {
			names[strings.ToLower(id)] = node.Name
		}
	}
	texts := make([]string, 0, len(diff.Fields))
	for _, difference := range plan.Differences(lb, diff, names) {
		text := difference.String()
		if difference.Is == "" && difference.Wanted == "" {
			text = difference.Field // a certificate is shown to nobody
		}
		texts = append(texts, text)
	}
	words := strings.Join(texts, "; ")
	if len(words) > longestWords {
		return strings.ToValidUTF8(words[:longestWords], "") + " ... (" + strings.Join(diff.Fields, ", ") + ")"
	}
	return words
}

// settingsOf tells what is asked of a load balancer from something else, whatever its backends are.
func settingsOf(want plan.Desired) string {
	want.Instances, want.KeepInstances = nil, false
	if want.VPCOfNodes {
		want.VPC = nil // which follows the nodes, too
	}
	text, err := json.Marshal(want)
	if err != nil {
		return err.Error() // there is nothing in it that has no JSON
	}
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:8])
}
