package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
)

// statsPatience is how long a look at a volume may take. A file system whose device is gone can hang for ever.
const statsPatience = 10 * time.Second

// staleStats is how old the measurement may be that is returned for a volume that does not answer.
const staleStats = 15 * time.Minute

// NodeGetVolumeStats measures a published or staged volume: bytes and inodes of a file system, the size of a device.
// One look per volume is under way at a time, whatever its path: what hangs must not pile up. Until it answers again,
// the last measurement counts for a while.
func (s *Service) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	id, path := req.GetVolumeId(), req.GetVolumePath()
	if err := s.checkVolumePath(id, path); err != nil {
		return nil, about(id, err)
	}
	if err := s.work.Running(id); err != nil {
		return nil, asStatus(fmt.Errorf("volume %s: %w", id, err))
	}
	stager, err := s.stagerOf(id, path)
	if err != nil {
		return nil, about(id, err)
	}
	answer := make(chan staging.Stats, 1) // a look that comes back late leaves its answer here
	err = s.looks.Do(ctx, strings.ToLower(id), fmt.Sprintf("volume %s at %s", id, path), min(statsPatience, s.cfg.Patience), func() error {
		stats, err := stager.Stats(id, path)
		answer <- stats
		return err
	})
	if hanging, ok := errors.AsType[*looks.HangingError](err); ok {
		if stats, age, ok := s.measured.recent(id, path, staleStats); ok {
			klog.FromContext(ctx).Info("A volume does not answer, its last measurement is returned", "volumeID", id, "path", path, "age", age, "err", hanging)
			return &csi.NodeGetVolumeStatsResponse{Usage: usage(stats)}, nil
		}
		return nil, status.Errorf(codes.Unavailable, "%v, and there is no measurement of the last %s", hanging, staleStats)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.measured.forget(id)
		}
		return nil, about(id, err)
	}
	stats := <-answer
	s.measured.keep(id, path, stats)
	return &csi.NodeGetVolumeStatsResponse{Usage: usage(stats)}, nil
}

// measurements are the last ones of each path at which a volume was asked for. The zero value is ready.
type measurements struct {
	mu  sync.Mutex
	all map[string]map[string]measurement // by the volume's ID, then by path
}

type measurement struct {
	stats staging.Stats
	at    time.Time
}

func (m *measurements) keep(id, path string, stats staging.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id = strings.ToLower(id)
	if m.all == nil {
		m.all = map[string]map[string]measurement{}
	}
	if m.all[id] == nil {
		m.all[id] = map[string]measurement{}
	}
	m.all[id][path] = measurement{stats, time.Now()}
}

// recent returns the last measurement unless it is older than the limit.
func (m *measurements) recent(id, path string, limit time.Duration) (staging.Stats, time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.all[strings.ToLower(id)][path]
	age := time.Since(last.at)
	return last.stats, age, ok && age <= limit
}

// forget drops the measurements of a volume that failed, or that is taken from a path.
func (m *measurements) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, strings.ToLower(id))
}

func usage(s staging.Stats) []*csi.VolumeUsage {
	one := func(unit csi.VolumeUsage_Unit, a staging.Amounts) *csi.VolumeUsage {
		return &csi.VolumeUsage{Unit: unit, Total: a.Total, Available: a.Available, Used: a.Used}
	}
	all := []*csi.VolumeUsage{one(csi.VolumeUsage_BYTES, s.Bytes)}
	if s.Inodes != nil {
		all = append(all, one(csi.VolumeUsage_INODES, *s.Inodes))
	}
	return all
}
