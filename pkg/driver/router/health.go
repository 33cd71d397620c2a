package router

import (
	"context"
	"maps"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// ExamineAll returns the volumes of all kinds with which something is wrong, and what. If one kind cannot be examined it
// returns an error: who asks takes a volume that is left out for a healthy one.
func (r *Router) ExamineAll(ctx context.Context, maxAge time.Duration) (map[string][]volume.Condition, error) {
	all := map[string][]volume.Condition{}
	for _, b := range r.backends {
		examiner, can := b.(volume.Examiner)
		if !can {
			continue
		}
		some, err := examiner.ExamineAll(ctx, maxAge)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, some)
	}
	return all, nil
}
