package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// PeakMemory is the most that all programs of the cluster have used together since
// its start, in bytes, without the kernel's file cache; 0 where the machine does
// not count memory.
func (c *Cluster) PeakMemory() int64 { return c.peak.Load() }

// watchMemory samples until the function that it returns is called; the cluster may outlive the caller's ctx.
func (c *Cluster) watchMemory(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		for ctx.Err() == nil {
			c.peak.Store(max(c.peak.Load(), memory(c.run.cgroup())))
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
	}()
	return stop
}

// memory is what is used by the processes of a cgroup and those below it.
func memory(path string) int64 {
	points, err := cgroup.Hierarchies()
	if err != nil {
		return 0
	}
	for _, point := range points {
		content, err := os.ReadFile(filepath.Join(point, path, "memory.stat"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			// Version 1 calls it total_rss, version 2 anon.
			fields := strings.Fields(line)
			if len(fields) != 2 || fields[0] != "total_rss" && fields[0] != "anon" {
				continue
			}
			if used, err := strconv.ParseInt(fields[1], 10, 64); err == nil && used > 0 {
				return used
			}
		}
	}
	return 0
}
