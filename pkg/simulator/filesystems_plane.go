package simulator

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

func (s *Simulator) usedBytes(ctx context.Context, f fileSystem) (int64, error) {
	if s.cfg.FileSystems == nil || !f.Active {
		return 0, nil
	}
	return s.cfg.FileSystems.Used(ctx, f.ID)
}

// activateVFS makes the directory and then shows the file system as active.
func (s *Simulator) activateVFS(ctx context.Context, job jobs.Job) (commit, error) {
	if _, ok := s.fileSystems.Get(job.Target); !ok {
		return nil, nil
	}
	if s.cfg.FileSystems != nil {
		if err := s.cfg.FileSystems.Ensure(ctx, job.Target); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		s.changeVFS(tx, job.Target, func(f fileSystem) fileSystem { f.Active = true; return f })
		return nil
	}, nil
}

// finishVFSAttach shows the file system to the guest and then the attachment.
func (s *Simulator) finishVFSAttach(ctx context.Context, job jobs.Job) (commit, error) {
	f, ok := s.fileSystems.Get(job.Target)
	i := f.at(job.Arg)
	if !ok || i < 0 || f.Attachments[i].State != vfsAttaching {
		return nil, nil
	}
	a := f.Attachments[i]
	if s.cfg.FileSystems != nil {
		if err := s.cfg.FileSystems.Attach(ctx, f.ID, a.MountTag, a.Instance); err != nil {
			return nil, err
		}
	}
	return func(tx *store.Tx) error {
		// An instance that was destroyed meanwhile has begun the detach.
		s.changeAttachment(tx, f.ID, a.Instance, func(a *vfsAttachment) {
			if a.State == vfsAttaching {
				a.State = vfsAttached
			}
		})
		return nil
	}, nil
}

// finishVFSDetach takes the file system from the guest and then the attachment from the list. While something in the
// guest has it mounted the attachment stays.
func (s *Simulator) finishVFSDetach(ctx context.Context, job jobs.Job) (commit, error) {
	f, ok := s.fileSystems.Get(job.Target)
	i := f.at(job.Arg)
	if !ok || i < 0 || f.Attachments[i].State != vfsDetaching {
		return nil, nil
	}
	if s.cfg.FileSystems != nil {
		if err := s.cfg.FileSystems.Detach(ctx, f.ID, f.Attachments[i].MountTag, job.Arg); err != nil {
			return nil, errors.Join(err, s.rememberVFSHolder(f.ID, f.Attachments[i], err))
		}
	}
	return func(tx *store.Tx) error {
		s.changeVFS(tx, f.ID, func(f fileSystem) fileSystem { return f.without(job.Arg) })
		if _, exists := s.instances.GetIn(tx, job.Arg); !exists {
			s.scheduleSettle(tx, jobInstanceForget, job.Arg)
		}
		return nil
	}, nil
}

// rememberVFSHolder keeps who holds a file system for the status page; nil when err is not about a holder.
func (s *Simulator) rememberVFSHolder(id string, a vfsAttachment, err error) error {
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || busy.Holder == a.Holder {
		return nil
	}
	return s.update(func(tx *store.Tx) error {
		s.changeAttachment(tx, id, a.Instance, func(a *vfsAttachment) { a.Holder = busy.Holder })
		return nil
	})
}

// settleVFS makes one file system be published where the API says it is, and nowhere else; the directory of one that is
// gone is removed with its data.
func (s *Simulator) settleVFS(ctx context.Context, job jobs.Job) (commit, error) {
	if s.cfg.FileSystems == nil {
		return nil, nil
	}
	published, err := s.cfg.FileSystems.Attached(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which file systems are published: %w", err)
	}
	f, exists := s.fileSystems.Get(job.Target)
	var faults []error
	for _, p := range published {
		i := f.at(p.InstanceID)
		if p.ID != job.Target || (i >= 0 && f.Attachments[i].MountTag == p.MountTag) {
			continue
		}
		faults = append(faults, s.cfg.FileSystems.Detach(ctx, p.ID, p.MountTag, p.InstanceID))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if !exists {
		return nil, s.cfg.FileSystems.Remove(ctx, job.Target)
	}
	for _, a := range f.Attachments {
		if a.State == vfsAttached {
			faults = append(faults, s.cfg.FileSystems.Attach(ctx, f.ID, a.MountTag, a.Instance))
		}
	}
	return nil, errors.Join(faults...)
}

// fileSystemsToSettle names those that are published, have a directory, or should be published.
func (s *Simulator) fileSystemsToSettle(ctx context.Context) (map[string]bool, error) {
	ids := map[string]bool{}
	if s.cfg.FileSystems == nil {
		return ids, nil
	}
	published, err := s.cfg.FileSystems.Attached(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which file systems are published: %w", err)
	}
	dirs, err := s.cfg.FileSystems.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list file systems: %w", err)
	}
	for _, p := range published {
		ids[p.ID] = true
	}
	for _, id := range dirs {
		ids[id] = true
	}
	return ids, nil
}

func (s *Simulator) changeVFS(tx *store.Tx, id string, change func(f fileSystem) fileSystem) {
	if f, ok := s.fileSystems.GetIn(tx, id); ok {
		s.fileSystems.Put(tx, id, change(f))
	}
}

func (s *Simulator) changeAttachment(tx *store.Tx, id, instanceID string, change func(a *vfsAttachment)) {
	s.changeVFS(tx, id, func(f fileSystem) fileSystem {
		i := f.at(instanceID)
		if i < 0 {
			return f
		}
		a := f.Attachments[i]
		change(&a)
		return f.with(a)
	})
}
