package simulator

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// activateBlock makes the backing file, from the snapshot if there is one, and then shows the volume as active.
func (s *Simulator) activateBlock(ctx context.Context, job jobs.Job) (commit, error) {
	// Whatever becomes of the volume: a snapshot that was deleted was kept for it.
	ended := func(change func(b *block)) commit {
		return func(tx *store.Tx) error {
			s.changeBlock(tx, job.Target, change)
			if job.Arg != "" {
				s.scheduleSettle(tx, jobSnapshotSettle, job.Arg)
			}
			return nil
		}
	}
	b, ok := s.blocks.Get(job.Target)
	if !ok {
		return ended(func(*block) {}), nil
	}
	err := s.makeFile(ctx, b)
	if lost := s.lostForGood(err, "block", b.ID); lost != "" {
		return ended(func(b *block) { b.Failure, b.Active = lost, false }), nil
	}
	if err != nil {
		return nil, err
	}
	return ended(func(b *block) { b.Active = true }), nil
}

func (s *Simulator) makeFile(ctx context.Context, b block) error {
	if s.cfg.Disks == nil {
		return nil
	}
	if b.SnapshotID != "" {
		if err := s.cfg.Disks.Restore(ctx, b.ID, b.SnapshotID); err != nil {
			return err
		}
	}
	return s.cfg.Disks.Ensure(ctx, b.ID, b.sizeBytes())
}

// growBackingFile makes the backing file as large as the API says; the guest sees it later.
func (s *Simulator) growBackingFile(ctx context.Context, job jobs.Job) (commit, error) {
	b, ok := s.blocks.Get(job.Target)
	if !ok || !b.Active { // then it is made with its present size, and with its content
		return nil, nil
	}
	if err := s.ensureFile(ctx, b); err != nil {
		return nil, err
	}
	if s.cfg.GrowOnReattach && s.keeps(quirkLateGrowth) {
		return nil, nil
	}
	wait := s.cfg.Delays.GuestGrowth
	if !s.keeps(quirkLateGrowth) {
		wait = 0
	}
	return func(tx *store.Tx) error {
		s.schedule(tx, jobBlockRefresh, b.ID, "", wait)
		return nil
	}, nil
}

// refreshGuest lets the guest see the volume's present size.
func (s *Simulator) refreshGuest(ctx context.Context, job jobs.Job) (commit, error) {
	b, ok := s.blocks.Get(job.Target)
	if !ok || s.cfg.Disks == nil || b.AttachedTo == "" {
		return nil, nil
	}
	return nil, s.cfg.Disks.Refresh(ctx, b.ID)
}

// bootSeesGrowth lets a guest that starts again see the present sizes of its volumes, as a kernel does that looks at its
// devices for the first time.
func (s *Simulator) bootSeesGrowth(tx *store.Tx, instanceID string) {
	for id, b := range s.blocks.AllIn(tx) {
		if b.AttachedTo == instanceID {
			s.schedule(tx, jobBlockRefresh, id, "", 0)
		}
	}
}

// settleDisk makes the disk of one volume be where the API says it is, and nowhere else; that of a volume that is gone
// is removed.
func (s *Simulator) settleDisk(ctx context.Context, job jobs.Job) (commit, error) {
	if s.cfg.Disks == nil {
		return nil, nil
	}
	plugged, err := s.cfg.Disks.Plugged(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out what is plugged: %w", err)
	}
	b, exists := s.blocks.Get(job.Target)
	if at, ok := plugged[job.Target]; ok && at != b.AttachedTo && !b.goingTo(at) {
		if err := s.cfg.Disks.Unplug(ctx, job.Target, at); err != nil {
			return nil, errors.Join(err, s.rememberHolder(b, err))
		}
	}
	switch {
	case !exists && s.isBeingCopied(job.Target):
		return nil, errBeingCopied
	case !exists:
		return nil, s.cfg.Disks.Remove(ctx, job.Target)
	case b.AttachedTo != "":
		// Also when it counts as plugged: a plug that a kill cut off, or whose device is gone since the machine was
		// started again, is completed by this; a complete one is left alone.
		return nil, s.plug(ctx, b, b.AttachedTo)
	}
	return nil, nil
}

var errBeingCopied = errors.New("a snapshot that was asked for before its volume was deleted is still to be taken of the disk")

// isBeingCopied reports whether a snapshot of the volume was accepted and its data is not copied yet.
func (s *Simulator) isBeingCopied(blockID string) bool {
	for _, job := range s.jobs.All() {
		if snap, ok := s.snapshots.Get(job.Target); ok && job.Kind == jobSnapshotCut && snap.BlockID == blockID {
			return true
		}
	}
	return false
}

// goingTo reports whether an attach to the instance is under way.
func (b block) goingTo(instanceID string) bool {
	return b.Op != nil && b.Op.Kind == opAttach && b.Op.Instance == instanceID
}

func (s *Simulator) ensureFile(ctx context.Context, b block) error {
	if s.cfg.Disks == nil {
		return nil
	}
	return s.cfg.Disks.Ensure(ctx, b.ID, b.sizeBytes())
}

func (s *Simulator) plug(ctx context.Context, b block, instanceID string) error {
	if s.cfg.Disks == nil {
		return nil
	}
	if err := s.cfg.Disks.Ensure(ctx, b.ID, b.sizeBytes()); err != nil {
		return err
	}
	return s.cfg.Disks.Plug(ctx, b.ID, b.mountID(), instanceID)
}

func (s *Simulator) unplug(ctx context.Context, id, instanceID string) error {
	if s.cfg.Disks == nil {
		return nil
	}
	return s.cfg.Disks.Unplug(ctx, id, instanceID)
}

// tellPlugged tells the machine of a disk that it got; tellUnplugged of one that it lost.
func (s *Simulator) tellPlugged(ctx context.Context, job jobs.Job) (commit, error) {
	b, server, ok := s.diskNews(job)
	if !ok || b.AttachedTo != server.ID {
		return nil, nil
	}
	return nil, s.withMachine(ctx, "disk-plugged", server, func(ctx context.Context, m Machine) error {
		return m.DiskPlugged(ctx, server.machineInfo(), MachineDisk{ID: b.ID, Serial: b.mountID()})
	})
}

func (s *Simulator) tellUnplugged(ctx context.Context, job jobs.Job) (commit, error) {
	b, server, ok := s.diskNews(job)
	if !ok || b.AttachedTo == server.ID {
		return nil, nil
	}
	return nil, s.withMachine(ctx, "disk-unplugged", server, func(ctx context.Context, m Machine) error {
		return m.DiskUnplugged(ctx, server.machineInfo(), MachineDisk{ID: b.ID, Serial: b.mountID()})
	})
}

// diskNews finds the volume and the instance of a notice; there is nobody to tell when the instance is gone.
func (s *Simulator) diskNews(job jobs.Job) (block, instance, bool) {
	b, ok := s.blocks.Get(job.Target)
	if !ok {
		return block{}, instance{}, false
	}
	server, ok := s.instances.Get(job.Arg)
	return b, server, ok && !server.Deleting
}
