package simulator

import (
	"context"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// recoverPlanes brings what really is on the machine in line with the state, which a process that was killed left
// behind: disks that should be plugged are, others are not, and nothing without an owner stays. What cannot be done now,
// because something still holds a disk, is tried again while the cloud runs.
func (s *Simulator) recoverPlanes(ctx context.Context) error {
	var settle []jobs.Job
	disks, err := s.disksToSettle(ctx)
	if err != nil {
		return err
	}
	for id := range disks {
		settle = append(settle, jobs.Job{Kind: jobDiskSettle, Target: id})
	}
	snapshots, err := s.snapshotsToSettle(ctx)
	if err != nil {
		return err
	}
	for id := range snapshots {
		settle = append(settle, jobs.Job{Kind: jobSnapshotSettle, Target: id})
	}
	fileSystems, err := s.fileSystemsToSettle(ctx)
	if err != nil {
		return err
	}
	for id := range fileSystems {
		settle = append(settle, jobs.Job{Kind: jobVFSSettle, Target: id})
	}
	balancers, err := s.balancersToSettle(ctx)
	if err != nil {
		return err
	}
	for id := range balancers {
		settle = append(settle, jobs.Job{Kind: jobBalancerSettle, Target: id})
	}
	for _, job := range settle {
		_, err := transitions[job.Kind](s, ctx, job)
		if err == nil {
			continue
		}
		s.log.Error(err, "A data plane could not be recovered and will be tried again", "kind", job.Kind, "target", job.Target)
		if err := s.update(func(tx *store.Tx) error { s.scheduleSettle(tx, job.Kind, job.Target); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// disksToSettle names the disks that are plugged, have a backing file, or should be plugged.
func (s *Simulator) disksToSettle(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{}
	if s.cfg.Disks == nil {
		return ids, nil
	}
	plugged, err := s.cfg.Disks.Plugged(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out what is plugged: %w", err)
	}
	files, err := s.cfg.Disks.Files(ctx)
	if err != nil {
		return nil, fmt.Errorf("list backing files: %w", err)
	}
	for id := range plugged {
		ids[id] = true
	}
	for _, id := range files {
		ids[id] = true
	}
	for id, b := range s.blocks.All() {
		if b.AttachedTo != "" {
			ids[id] = true
		}
	}
	return ids, nil
}

func (s *Simulator) balancersToSettle(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{}
	if s.cfg.Balancers == nil {
		return ids, nil
	}
	live, err := s.cfg.Balancers.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list load balancers: %w", err)
	}
	for _, id := range live {
		ids[id] = true
	}
	for id, l := range s.balancers.All() {
		if l.Active {
			ids[id] = true
		}
	}
	return ids, nil
}
