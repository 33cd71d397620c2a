package servicelb

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/plan"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/reason"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// spread decides in which further regions a load balancer has parts. What the Service asked for once and asks for no more is taken
// back; what somebody else put there stays.
func (c *Controller) spread(s *scene, home string, want *plan.Desired) {
	message := ""
	switch {
	case want.GlobalRegions != nil:
		others := slices.DeleteFunc(slices.Clone(*want.GlobalRegions), func(region vultr.GlobalRegion) bool { return region.Region == home })
		if len(others) < len(*want.GlobalRegions) {
			message = fmt.Sprintf("%s names %s, which is the load balancer's own region", settings.GlobalRegions, home)
		}
		want.GlobalRegions = &others
	case s.leaderless(): // as the rest that there is once for all they stay as they are
	case s.entry.Regions:
		want.GlobalRegions = &[]vultr.GlobalRegion{}
	}
	if s.memory.news(aboutRegions, message) {
		c.Recorder.Event(s.service, v1.EventTypeWarning, reason.LoadBalancerSettings, message)
	}
}

// noteRegions writes down that a load balancer may have parts in other regions, before it has: they are paid for, so they must go
// when the Service does not ask for them any more, also if this process dies meanwhile.
func (c *Controller) noteRegions(ctx context.Context, s *scene, change vultr.LoadBalancerSettings) error {
	if s.entry.Regions || change.GlobalRegions == nil || len(*change.GlobalRegions) == 0 {
		return nil
	}
	entry := s.entry
	entry.Regions = true
	return c.write(ctx, s, entry)
}
