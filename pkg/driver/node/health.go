package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/health"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/looks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Examiner is a Stager that can say what is wrong with its volumes.
type Examiner interface {
	// Examine returns what is wrong with a volume on this node, by the paths at which it is or was to be; it may have none.
	// It is NotFound for one of which nothing is here. It may hang: the service bounds it.
	Examine(volumeID string, paths ...string) ([]volume.Condition, error)
}

// NodeGetVolumeHealth says what is wrong with a volume on this node. It makes no API call, and one that does not answer is
// said to do so in time.
func (s *Service) NodeGetVolumeHealth(ctx context.Context, req *csi.NodeGetVolumeHealthRequest) (*csi.NodeGetVolumeHealthResponse, error) {
	id := req.GetVolumeId()
	if err := rpcerr.CheckVolumeID(id); err != nil {
		return nil, err
	}
	var paths []string
	for field, path := range map[string]string{"volume_publish_path": req.GetVolumePublishPath(), "staging_target_path": req.GetStagingTargetPath()} {
		if path == "" {
			continue
		}
		if err := s.checkPath(field, path); err != nil {
			return nil, about(id, err)
		}
		paths = append(paths, path)
	}
	stager, err := s.stagerOf(id, paths...)
	if err != nil {
		return nil, about(id, err)
	}
	conditions, err := s.examine(ctx, stager, id, paths)
	if err != nil {
		return nil, about(id, err)
	}
	return &csi.NodeGetVolumeHealthResponse{VolumeHealth: health.ToCSI(id, conditions)}, nil
}

func (s *Service) examine(ctx context.Context, stager Stager, id string, paths []string) ([]volume.Condition, error) {
	examiner, can := stager.(Examiner)
	if !can {
		return nil, nil
	}
	answer := make(chan []volume.Condition, 1) // a look that comes back late leaves its answer here
	what := fmt.Sprintf("volume %s at %s", id, strings.Join(paths, ", "))
	err := s.looks.Do(ctx, "health of "+strings.ToLower(id), what, min(statsPatience, s.cfg.Patience), func() error {
		conditions, err := examiner.Examine(id, paths...)
		answer <- conditions
		return err
	})
	if hanging, ok := errors.AsType[*looks.HangingError](err); ok {
		return []volume.Condition{{Severity: volume.Inaccessible, Reason: "NotAnswering", Message: hanging.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	return <-answer, nil
}

// NodeGetStorageHealth says what keeps this node from using any volume: what its readiness is judged by.
func (s *Service) NodeGetStorageHealth(ctx context.Context, _ *csi.NodeGetStorageHealthRequest) (*csi.NodeGetStorageHealthResponse, error) {
	resp := &csi.NodeGetStorageHealthResponse{}
	err := s.looks.Do(ctx, "storage", "this node's list of disks and mounts", min(statsPatience, s.cfg.Patience), func() error { return s.Check(ctx) })
	if err != nil && ctx.Err() != nil {
		return nil, asStatus(err)
	}
	if err != nil {
		resp.BackendHealth = append(resp.BackendHealth, &csi.NodeGetStorageHealthResponse_StorageBackendHealth{
			Status: csi.StorageHealthErrorType_STORAGE_UNREACHABLE, Reason: "NodeCannotServe", Message: err.Error(),
		})
	}
	return resp, nil
}
