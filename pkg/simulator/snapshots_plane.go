package simulator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// cutSnapshot copies the volume's data. The answer that the snapshot is complete comes later.
func (s *Simulator) cutSnapshot(ctx context.Context, job jobs.Job) (commit, error) {
	snap, ok := s.snapshots.Get(job.Target)
	if !ok {
		return nil, nil
	}
	if b, ok := s.blocks.Get(snap.BlockID); ok {
		snap.SizeGB = b.SizeGB // it may have grown since
	}
	var err error
	if s.cfg.Disks != nil {
		err = s.cfg.Disks.Snapshot(ctx, snap.ID, snap.BlockID)
	}
	if lost := s.lostForGood(err, "block snapshot", snap.ID); lost != "" {
		return func(tx *store.Tx) error {
			s.changeSnapshot(tx, snap.ID, func(s *blockSnapshot) { s.State, s.Failure, s.Updated = snapshotError, lost, time.Now() })
			return nil
		}, nil
	}
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeSnapshot(tx, snap.ID, func(now *blockSnapshot) { now.SizeGB = snap.SizeGB })
		s.schedule(tx, jobSnapshotComplete, snap.ID, "", s.cfg.Delays.Snapshot)
		return nil
	}, nil
}

func (s *Simulator) completeSnapshot(_ context.Context, job jobs.Job) (commit, error) {
	return func(tx *store.Tx) error {
		s.changeSnapshot(tx, job.Target, func(s *blockSnapshot) { s.State, s.Updated = snapshotComplete, time.Now() })
		return nil
	}, nil
}

// settleSnapshot removes the file of a snapshot that is gone, once nothing is to be made from it any more.
func (s *Simulator) settleSnapshot(ctx context.Context, job jobs.Job) (commit, error) {
	if _, exists := s.snapshots.Get(job.Target); exists || s.cfg.Disks == nil {
		return nil, nil
	}
	for _, b := range s.blocks.All() {
		if b.SnapshotID == job.Target && !b.Active && b.Failure == "" {
			return nil, nil // the end of its restore asks again
		}
	}
	return nil, s.cfg.Disks.RemoveSnapshot(ctx, job.Target)
}

// snapshotsToSettle names the snapshots that have a file.
func (s *Simulator) snapshotsToSettle(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{}
	if s.cfg.Disks == nil {
		return ids, nil
	}
	files, err := s.cfg.Disks.Snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	for _, id := range files {
		ids[id] = true
	}
	return ids, nil
}

func (s *Simulator) changeSnapshot(tx *store.Tx, id string, change func(snap *blockSnapshot)) {
	if snap, ok := s.snapshots.GetIn(tx, id); ok {
		change(&snap)
		s.snapshots.Put(tx, id, snap)
	}
}

// lostForGood says why data cannot be copied, now or later, and "" when a new try may help. To try a copy of gigabytes
// again and again on a full disk would help nobody.
func (s *Simulator) lostForGood(err error, kind, id string) string {
	if !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrNoDisk) {
		return ""
	}
	s.log.Error(err, "Data could not be copied and will not be", "kind", kind, "id", id)
	return err.Error()
}
