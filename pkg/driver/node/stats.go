package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
)

// statsPatience is how long a look at a volume may take. A file system whose device is gone can hang for ever.
const statsPatience = 10 * time.Second

// NodeGetVolumeStats measures a published or staged volume: bytes and inodes of a file system, the size of a device.
// One look per volume is under way at a time, whatever its path: what hangs must not pile up.
func (s *Service) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	id, path := req.GetVolumeId(), req.GetVolumePath()
	switch {
	case id == "":
		return nil, missing("volume_id")
	case path == "":
		return nil, missing("volume_path")
	}
	if err := rpcerr.CheckVolumeID(id); err != nil {
		return nil, err
	}
	if err := s.work.Running(id); err != nil {
		return nil, asStatus(fmt.Errorf("volume %s: %w", id, err))
	}
	stager, err := s.stagerOf(id)
	if err != nil {
		return nil, asStatus(err)
	}
	answer := make(chan staging.Stats, 1) // a look that comes back late leaves its answer here
	err = s.looks.Do(ctx, strings.ToLower(id), fmt.Sprintf("volume %s at %s", id, path), statsPatience, func() error {
		stats, err := stager.Stats(id, path)
		answer <- stats
		return err
	})
	if err != nil {
		return nil, asStatus(err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: usage(<-answer)}, nil
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
