package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/e2e/cgroup"
)

// WatchMemory samples what all programs of the cluster use together, without the
// kernel's file cache, until the context ends. The function gives the most so far,
// in bytes; 0 where the machine does not count memory.
func (c *Cluster) WatchMemory(ctx context.Context) func() int64 {
	var peak atomic.Int64
	go func() {
		for {
			peak.Store(max(peak.Load(), memory(c.run.cgroup())))
			select {
			case <-ctx.Done():
				return
			case <-time.After(2 * time.Second):
			}
		}
	}()
	return peak.Load
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
