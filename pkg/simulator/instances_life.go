package simulator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// readyInstance ends a create: the machine runs.
func (s *Simulator) readyInstance(ctx context.Context, job jobs.Job) (commit, error) {
	return s.powerOn(ctx, job, serverOK)
}

func (s *Simulator) finishStart(ctx context.Context, job jobs.Job) (commit, error) {
	return s.powerOn(ctx, job, serverOK)
}

func (s *Simulator) powerOn(ctx context.Context, job jobs.Job, status string) (commit, error) {
	i, ok := s.instances.Get(job.Target)
	if !ok || i.Deleting {
		return nil, nil
	}
	if err := s.startMachine(ctx, i); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeInstance(tx, i.ID, func(i *instance) { i.Power, i.Server = powerRunning, status })
		s.bootSeesGrowth(tx, i.ID)
		s.settleBalancersOf(tx, i.ID)
		return nil
	}, nil
}

// settledInstance returns an instance that accepts changes.
func (s *Simulator) settledInstance(tx *store.Tx, id string) (instance, error) {
	i, ok := s.instances.GetIn(tx, id)
	switch {
	case !ok:
		return i, errNoInstance
	case i.Deleting:
		return i, wire.BadRequest("Server is pending destruction")
	case i.locked() && s.keeps(quirkLockedWindow):
		return i, wire.BadRequest("Server is currently locked")
	}
	return i, nil
}

// power accepts a change of power of instances that are settled: of all that are named, or of none.
func (s *Simulator) power(kind string, delay time.Duration, ids ...string) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		for _, id := range ids {
			i, err := s.settledInstance(tx, id)
			if err != nil {
				return err
			}
			s.schedule(tx, kind, i.ID, "", delay+s.powerBacklog(tx, i.ID))
		}
		return nil
	})
	return s.noContent(), nil, err
}

// powerAll does the same for the instances that a body names.
func (s *Simulator) powerAll(c *call, kind string, delay time.Duration) (int, any, error) {
	var req struct {
		IDs []string `json:"instance_ids"`
	}
	if err := c.decode(&req); err != nil {
		return 0, nil, err
	}
	if len(req.IDs) == 0 {
		return 0, nil, ours("Invalid instance_ids.")
	}
	return s.power(kind, delay, req.IDs...)
}

// powerBacklog tells how long the changes of power take that were accepted before, in unscaled time: the last one that
// was asked for has to be the last one that happens.
func (s *Simulator) powerBacklog(tx *store.Tx, id string) time.Duration {
	var last time.Duration
	for _, job := range s.jobs.AllIn(tx) {
		if job.Target == id && slices.Contains([]string{jobInstanceHalt, jobInstanceStart, jobInstanceReboot, jobMetalPower}, job.Kind) {
			last = max(last, time.Until(job.Due))
		}
	}
	return time.Duration(float64(last) / s.cfg.TimeScale)
}

func (s *Simulator) haltInstance(c *call) (int, any, error) {
	return s.power(jobInstanceHalt, s.cfg.Delays.Halt, c.id())
}

func (s *Simulator) startInstance(c *call) (int, any, error) {
	return s.power(jobInstanceStart, s.cfg.Delays.Start, c.id())
}

func (s *Simulator) rebootInstance(c *call) (int, any, error) {
	return s.power(jobInstanceReboot, s.cfg.Delays.Reboot, c.id())
}

func (s *Simulator) haltInstances(c *call) (int, any, error) {
	return s.powerAll(c, jobInstanceHalt, s.cfg.Delays.Halt)
}

func (s *Simulator) startInstances(c *call) (int, any, error) {
	return s.powerAll(c, jobInstanceStart, s.cfg.Delays.Start)
}

func (s *Simulator) rebootInstances(c *call) (int, any, error) {
	return s.powerAll(c, jobInstanceReboot, s.cfg.Delays.Reboot)
}

// finishHalt shows "stopped" only when no process of the machine lives.
func (s *Simulator) finishHalt(ctx context.Context, job jobs.Job) (commit, error) {
	i, ok := s.instances.Get(job.Target)
	if !ok || i.Deleting {
		return nil, nil
	}
	if err := s.killMachine(ctx, i); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeInstance(tx, i.ID, func(i *instance) { i.Power = powerStopped })
		s.settleBalancersOf(tx, i.ID)
		return nil
	}, nil
}

func (s *Simulator) finishReboot(ctx context.Context, job jobs.Job) (commit, error) {
	i, ok := s.instances.Get(job.Target)
	if !ok || i.Deleting {
		return nil, nil
	}
	err := s.withMachine(ctx, "reboot", i, func(ctx context.Context, m Machine) error { return m.Reboot(ctx, i.machineInfo()) })
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.changeInstance(tx, i.ID, func(i *instance) { i.Power, i.Reboots = powerRunning, i.Reboots+1 })
		s.bootSeesGrowth(tx, i.ID)
		s.settleBalancersOf(tx, i.ID)
		return nil
	}, nil
}

// destroyPatience is how long a delete waits for the machine's death before it answers all the same. The instance stays
// visible until then, however long it takes.
const destroyPatience = 10 * time.Second

func (s *Simulator) deleteInstance(c *call) (int, any, error) {
	err := s.update(func(tx *store.Tx) error {
		i, ok := s.instances.GetIn(tx, c.id())
		if !ok {
			return errNoInstance
		}
		if i.Deleting {
			return wire.BadRequest("Server is pending destruction")
		}
		s.beginDestroy(tx, i.ID)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(c.req.Context(), destroyPatience)
	defer cancel()
	s.waitUntil(ctx, func() bool { _, exists := s.instances.Get(c.id()); return !exists })
	return s.noContent(), nil, nil
}

// beginDestroy begins the end of an instance, if it has not begun.
func (s *Simulator) beginDestroy(tx *store.Tx, id string) {
	i, ok := s.instances.GetIn(tx, id)
	if !ok || i.Deleting {
		return
	}
	i.Deleting = true
	s.instances.Put(tx, id, i)
	s.schedule(tx, jobInstanceDestroy, id, "", 0)
}

// destroyInstance lets the instance and what it had go, once no process of its machine lives.
func (s *Simulator) destroyInstance(ctx context.Context, job jobs.Job) (commit, error) {
	i, ok := s.instances.Get(job.Target)
	if !ok {
		return nil, nil
	}
	if err := s.killMachine(ctx, i); err != nil {
		return nil, err
	}
	return func(tx *store.Tx) error {
		s.linger(tx, i.ID)
		s.lingerVFS(tx, i.ID)
		s.dropBackend(tx, i.ID)
		now, _ := s.instances.GetIn(tx, i.ID)
		s.instances.Delete(tx, i.ID)
		s.freeReservedIPs(tx, i.ID)
		s.forgetNode(tx, i.ID)
		s.depart(tx, departure{head: now.head, Instance: true, Address: now.MainIP, VPCs: now.vpcIDs()})
		s.scheduleSettle(tx, jobInstanceForget, i.ID)
		return nil
	}, nil
}

// forgetInstance removes the directories of an instance that is gone, once nothing is attached to it any more.
func (s *Simulator) forgetInstance(ctx context.Context, job jobs.Job) (commit, error) {
	if _, exists := s.instances.Get(job.Target); exists || s.hasStorage(job.Target) {
		return nil, nil // the end of the last attachment asks again
	}
	var faults []error
	if s.cfg.FileSystems != nil { // first: what is theirs is within what is the disks'
		faults = append(faults, s.cfg.FileSystems.Forget(ctx, job.Target))
	}
	if s.cfg.Disks != nil {
		faults = append(faults, s.cfg.Disks.Forget(ctx, job.Target))
	}
	if err := errors.Join(faults...); err != nil { // somebody keeps files of his own there
		s.log.Error(err, "The directory of a destroyed instance is left", "instance", job.Target)
	}
	return nil, nil
}

// hasStorage reports whether something is attached to the instance or about to be.
func (s *Simulator) hasStorage(instanceID string) bool {
	for _, b := range s.blocks.All() {
		if b.AttachedTo == instanceID || b.goingTo(instanceID) {
			return true
		}
	}
	for _, f := range s.fileSystems.All() {
		if f.at(instanceID) >= 0 {
			return true
		}
	}
	return false
}

func (s *Simulator) changeInstance(tx *store.Tx, id string, change func(i *instance)) {
	if i, ok := s.instances.GetIn(tx, id); ok {
		change(&i)
		s.instances.Put(tx, id, i)
	}
}

func (s *Simulator) startMachine(ctx context.Context, i instance) error {
	return s.withMachine(ctx, "start", i, func(ctx context.Context, m Machine) error { return m.Start(ctx, i.machineInfo()) })
}

func (s *Simulator) killMachine(ctx context.Context, i instance) error {
	return s.withMachine(ctx, "kill", i, func(ctx context.Context, m Machine) error { return m.Kill(ctx, i.machineInfo()) })
}

// withMachine calls the machine of an instance, if machines there are, for a bounded time.
func (s *Simulator) withMachine(ctx context.Context, what string, i instance, do func(context.Context, Machine) error) error {
	if s.cfg.Machine == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.MachineTimeout)
	defer cancel()
	if err := do(ctx, s.cfg.Machine); err != nil {
		return &machineError{what: what, instance: i.ID, err: err}
	}
	return nil
}

// machineError is a machine hook that failed; it will be called again.
type machineError struct {
	what, instance string
	err            error
}

func (e *machineError) Error() string {
	return "machine of " + e.instance + ": " + e.what + ": " + e.err.Error()
}

func (e *machineError) Unwrap() error { return e.err }
