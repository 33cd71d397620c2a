package simulator

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

type attachRequest struct {
	InstanceID string `json:"instance_id"`
	Live       *bool  `json:"live"`
}

// live is false when it is left out: the guest is restarted.
func (s *Simulator) live(flag *bool) bool {
	if flag == nil {
		return !s.keeps(quirkLiveDefault)
	}
	return *flag
}

func (s *Simulator) attachBlock(c *call) (int, any, error) {
	var req attachRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	return s.writeBlock(c, func(tx *store.Tx, b block) error {
		if err := uuid.Validate(req.InstanceID); err != nil {
			return wire.BadRequest("Invalid instance-id.")
		}
		if bad := s.mayAttach(b, s.attachTarget(tx, req.InstanceID)); bad != nil {
			return bad
		}
		b.Op = &blockOp{Kind: opAttach, Instance: req.InstanceID, Live: s.live(req.Live)}
		s.blocks.Put(tx, b.ID, b)
		s.schedule(tx, jobBlockAttach, b.ID, "", s.cfg.Delays.Attach, req.InstanceID)
		return nil
	})
}

func (s *Simulator) attachTarget(tx *store.Tx, id string) attachTarget {
	var t attachTarget
	t.server, t.exists = s.instances.GetIn(tx, id)
	_, t.isMetal = s.metals.GetIn(tx, id)
	for _, b := range s.blocks.AllIn(tx) {
		if b.AttachedTo == id || (b.Op != nil && b.Op.Kind == opAttach && b.Op.Instance == id) {
			t.volumes++
		}
	}
	return t
}

func (s *Simulator) detachBlock(c *call) (int, any, error) {
	var req attachRequest
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	return s.writeBlock(c, func(tx *store.Tx, b block) error {
		server, _ := s.instances.GetIn(tx, b.AttachedTo)
		if bad := s.mayDetach(b, server); bad != nil {
			return bad
		}
		b.Op = &blockOp{Kind: opDetach, Instance: b.AttachedTo, Live: s.live(req.Live)}
		s.blocks.Put(tx, b.ID, b)
		s.schedule(tx, jobBlockDetach, b.ID, "", s.cfg.Delays.Detach, b.AttachedTo)
		return nil
	})
}

// finishAttach plugs the disk, restarts the guest if the attach is not live, and then shows the attachment.
func (s *Simulator) finishAttach(ctx context.Context, job jobs.Job) (commit, error) {
	b, ok := s.blocks.Get(job.Target)
	if !ok || b.Op == nil || b.Op.Kind != opAttach {
		return nil, nil
	}
	server, ok := s.instances.Get(b.Op.Instance)
	if !ok || server.Deleting {
		return func(tx *store.Tx) error {
			s.changeBlock(tx, b.ID, func(b *block) { b.Op = nil })
			s.scheduleSettle(tx, jobDiskSettle, b.ID)
			s.scheduleSettle(tx, jobInstanceForget, b.Op.Instance)
			return nil
		}, nil
	}
	plug := func(ctx context.Context) error { return s.plug(ctx, b, server.ID) }
	restarted, err := s.aroundRestart(ctx, server, b.Op.Live, plug)
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeBlock(tx, b.ID, func(b *block) { b.AttachedTo, b.Op = server.ID, nil })
		s.countRestart(tx, server.ID, restarted)
		s.schedule(tx, jobDiskPlugged, b.ID, server.ID, 0, server.ID)
		return nil
	}, nil
}

// finishDetach unplugs the disk, with the guest stopped if the detach is not live, and then shows that it is detached.
// While something in the guest holds the disk the attachment stays visible.
func (s *Simulator) finishDetach(ctx context.Context, job jobs.Job) (commit, error) {
	b, ok := s.blocks.Get(job.Target)
	if !ok || b.Op == nil || b.Op.Kind == opAttach {
		return nil, nil
	}
	server, exists := s.instances.Get(b.Op.Instance)
	unplug := func(ctx context.Context) error { return s.unplug(ctx, b.ID, b.Op.Instance) }
	restarted, err := s.aroundRestart(ctx, server, b.Op.Live || !exists, unplug)
	if err != nil {
		return nil, errors.Join(err, s.rememberHolder(b, err))
	}
	return func(tx *store.Tx) error {
		s.changeBlock(tx, b.ID, func(b *block) { b.AttachedTo, b.Op, b.Holder = "", nil, "" })
		s.countRestart(tx, server.ID, restarted)
		if exists {
			s.schedule(tx, jobDiskUnplugged, b.ID, server.ID, 0, server.ID)
		} else {
			s.scheduleSettle(tx, jobInstanceForget, b.Op.Instance)
		}
		return nil
	}, nil
}

// aroundRestart does work while the guest is down, or at once if the change is live or the guest does not run. It
// reports whether the guest was restarted.
func (s *Simulator) aroundRestart(ctx context.Context, server instance, live bool, work func(context.Context) error) (bool, error) {
	if live || server.Power != powerRunning {
		return false, work(ctx)
	}
	if err := s.killMachine(ctx, server); err != nil {
		return false, err
	}
	if err := work(ctx); err != nil {
		return false, err
	}
	return true, s.startMachine(ctx, server)
}

func (s *Simulator) countRestart(tx *store.Tx, instanceID string, restarted bool) {
	if restarted {
		s.changeInstance(tx, instanceID, func(i *instance) { i.Reboots++ })
		s.bootSeesGrowth(tx, instanceID)
	}
}

// rememberHolder keeps who holds a disk for the status page; nil when err is not about a holder.
func (s *Simulator) rememberHolder(b block, err error) error {
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || busy.Holder == b.Holder {
		return nil
	}
	return s.update(func(tx *store.Tx) error {
		s.changeBlock(tx, b.ID, func(b *block) { b.Holder = busy.Holder })
		return nil
	})
}

func (s *Simulator) changeBlock(tx *store.Tx, id string, change func(b *block)) {
	if b, ok := s.blocks.GetIn(tx, id); ok {
		change(&b)
		s.blocks.Put(tx, id, b)
	}
}

// linger begins the detach of what an instance had that is being destroyed.
func (s *Simulator) linger(tx *store.Tx, instanceID string) {
	lag := s.cfg.Delays.Detach
	if !s.keeps(quirkLinger) {
		lag = 0
	}
	for id, b := range s.blocks.AllIn(tx) {
		if b.AttachedTo != instanceID || b.Op != nil {
			continue
		}
		if !s.keeps(quirkSurvives) {
			s.blocks.Delete(tx, id)
			s.scheduleSettle(tx, jobDiskSettle, id)
			continue
		}
		b.Op = &blockOp{Kind: opLinger, Instance: instanceID, Live: true}
		s.blocks.Put(tx, id, b)
		s.schedule(tx, jobBlockDetach, id, "", lag)
	}
}
