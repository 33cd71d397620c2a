package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
)

// statsPatience is how long a look at a volume may take. A file system whose device is gone can hang for ever.
const statsPatience = 10 * time.Second

// looks are the looks at volumes that are under way, by path. One that hangs cannot be ended; it must at least
// not be joined by another one every minute.
type looks struct {
	mu    sync.Mutex
	paths map[string]bool
}

func (l *looks) begin(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paths[path] {
		return false
	}
	if l.paths == nil {
		l.paths = map[string]bool{}
	}
	l.paths[path] = true
	return true
}

func (l *looks) end(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.paths, path)
}

// NodeGetVolumeStats measures a published or staged volume: bytes and inodes of a file system, the size of a device.
func (s *Service) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	switch {
	case req.GetVolumeId() == "":
		return nil, missing("volume_id")
	case req.GetVolumePath() == "":
		return nil, missing("volume_path")
	}
	if err := rpcerr.CheckVolumeID(req.GetVolumeId()); err != nil {
		return nil, err
	}
	path := req.GetVolumePath()
	if !s.looks.begin(path) {
		return nil, status.Errorf(codes.Unavailable, "an earlier look at %s has not come back", path)
	}
	type result struct {
		usage []*csi.VolumeUsage
		err   error
	}
	done := make(chan result, 1)
	go func() {
		usage, err := s.usage(req.GetVolumeId(), path)
		// Ended before it is answered: who got the answer may ask again at once.
		s.looks.end(path)
		done <- result{usage, err}
	}()
	timer := time.NewTimer(statsPatience)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, asStatus(r.err)
		}
		return &csi.NodeGetVolumeStatsResponse{Usage: r.usage}, nil
	case <-timer.C:
		return nil, status.Errorf(codes.Unavailable, "%s does not answer", path)
	case <-ctx.Done():
		return nil, asStatus(fmt.Errorf("looking at %s: %w", path, ctx.Err()))
	}
}

func (s *Service) usage(volumeID, path string) ([]*csi.VolumeUsage, error) {
	at, err := s.locate(volumeID, path)
	if err != nil {
		return nil, err
	}
	if at.block {
		size, err := device.Measure(at.device)
		return []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: size}}, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, fmt.Errorf("measuring the file system at %s: %w", path, err)
	}
	return fsUsage(st), nil
}

// fsUsage reads a statfs. Inodes are left out where the file system has no fixed number of them.
func fsUsage(st unix.Statfs_t) []*csi.VolumeUsage {
	bytes := func(blocks uint64) int64 { return int64(blocks) * st.Bsize } //nolint:gosec // below 2^63
	usage := []*csi.VolumeUsage{{
		Unit: csi.VolumeUsage_BYTES, Total: bytes(st.Blocks), Available: bytes(st.Bavail), Used: bytes(st.Blocks - st.Bfree),
	}}
	if st.Files > 0 {
		usage = append(usage, &csi.VolumeUsage{
			Unit:  csi.VolumeUsage_INODES,
			Total: int64(st.Files), Available: int64(st.Ffree), Used: int64(st.Files - st.Ffree), //nolint:gosec // below 2^63
		})
	}
	return usage
}
