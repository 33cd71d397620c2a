package cluster

import (
	"context"
	"slices"
)

// AddImages gives every worker, also those that come later, images that Options did not name. Archives are in the cache.
func (c *Cluster) AddImages(ctx context.Context, archives ...string) error {
	for _, archive := range archives {
		if !slices.Contains(c.config.Artifacts.Images, archive) {
			c.config.Artifacts.Images = append(c.config.Artifacts.Images, archive)
		}
	}
	if err := c.run.writeConfig(c.config); err != nil {
		return err
	}
	return c.eachWorker(ctx, func(m *machine) error { return m.importImages(ctx) })
}
