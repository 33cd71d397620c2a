package simulator

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/jobs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/store"
)

// commit is the change of state that ends a transition; nil changes nothing.
type commit func(tx *store.Tx) error

// transition does what is due: first whatever takes time on the data planes, then, by the commit it returns, the change
// that everybody sees. It may be cut off anywhere and run again.
type transition func(s *Simulator, ctx context.Context, job jobs.Job) (commit, error)

// The kinds of transitions. Their names are in state files.
const (
	jobBlockActivate    = "block-activate"
	jobBlockAttach      = "block-attach"
	jobBlockDetach      = "block-detach"
	jobBlockGrow        = "block-grow"
	jobBlockRefresh     = "block-refresh"
	jobDiskSettle       = "disk-settle"
	jobSnapshotCut      = "snapshot-cut"
	jobSnapshotComplete = "snapshot-complete"
	jobSnapshotSettle   = "snapshot-settle"

	jobVFSActivate   = "vfs-activate"
	jobVFSAttach     = "vfs-attach"
	jobVFSDetach     = "vfs-detach"
	jobVFSSettle     = "vfs-settle"
	jobDiskPlugged   = "machine-disk-plugged"
	jobDiskUnplugged = "machine-disk-unplugged"

	jobInstanceBoot    = "instance-boot"
	jobInstanceReady   = "instance-ready"
	jobInstanceHalt    = "instance-halt"
	jobInstanceStart   = "instance-start"
	jobInstanceReboot  = "instance-reboot"
	jobInstanceDestroy = "instance-destroy"
	jobInstanceForget  = "instance-forget"

	jobBalancerActivate = "balancer-activate"
	jobBalancerAddress  = "balancer-address"
	jobBalancerSettle   = "balancer-settle"

	jobInstanceComplete  = "instance-complete"
	jobInstanceResize    = "instance-resize"
	jobInstanceReinstall = "instance-reinstall"
	jobInstanceUserData  = "instance-user-data"

	jobMetalReady = "bare-metal-ready"
	jobMetalPower = "bare-metal-power"

	jobClusterReady  = "cluster-ready"
	jobClusterVolume = "cluster-volume"

	jobDeparture  = "departure"
	jobFirewall   = "firewall"
	jobVPCAddress = "vpc-address"
	jobVPCMove    = "vpc-move"
)

var transitions = map[string]transition{
	jobBlockActivate:    (*Simulator).activateBlock,
	jobBlockAttach:      (*Simulator).finishAttach,
	jobBlockDetach:      (*Simulator).finishDetach,
	jobBlockGrow:        (*Simulator).growBackingFile,
	jobBlockRefresh:     (*Simulator).refreshGuest,
	jobDiskSettle:       (*Simulator).settleDisk,
	jobSnapshotCut:      (*Simulator).cutSnapshot,
	jobSnapshotComplete: (*Simulator).completeSnapshot,
	jobSnapshotSettle:   (*Simulator).settleSnapshot,

	jobVFSActivate:   (*Simulator).activateVFS,
	jobVFSAttach:     (*Simulator).finishVFSAttach,
	jobVFSDetach:     (*Simulator).finishVFSDetach,
	jobVFSSettle:     (*Simulator).settleVFS,
	jobDiskPlugged:   (*Simulator).tellPlugged,
	jobDiskUnplugged: (*Simulator).tellUnplugged,

	jobInstanceBoot:    (*Simulator).bootInstance,
	jobInstanceReady:   (*Simulator).readyInstance,
	jobInstanceHalt:    (*Simulator).finishHalt,
	jobInstanceStart:   (*Simulator).finishStart,
	jobInstanceReboot:  (*Simulator).finishReboot,
	jobInstanceDestroy: (*Simulator).destroyInstance,
	jobInstanceForget:  (*Simulator).forgetInstance,

	jobBalancerActivate: (*Simulator).activateBalancer,
	jobBalancerAddress:  (*Simulator).showBalancerAddress,
	jobBalancerSettle:   (*Simulator).settleBalancer,

	jobInstanceComplete:  (*Simulator).completeInstance,
	jobInstanceResize:    (*Simulator).finishResize,
	jobInstanceReinstall: (*Simulator).finishReinstall,
	jobInstanceUserData:  (*Simulator).showUserData,

	jobMetalReady: (*Simulator).readyMetal,
	jobMetalPower: (*Simulator).finishMetalPower,

	jobClusterReady:  (*Simulator).readyCluster,
	jobClusterVolume: (*Simulator).destroyVolume,

	jobDeparture:  (*Simulator).finishDeparture,
	jobFirewall:   (*Simulator).finishFirewall,
	jobVPCAddress: (*Simulator).showVPCAddresses,
	jobVPCMove:    (*Simulator).finishMove,
}

const (
	// transitionTimeout bounds one try of a transition, without what its machine takes; it is then tried again.
	transitionTimeout = 2 * time.Minute
	// copyTimeout bounds one that copies a disk.
	copyTimeout = 2 * time.Hour
)

// timeoutOf bounds one try of a transition.
func (s *Simulator) timeoutOf(kind string) time.Duration {
	if kind == jobSnapshotCut || kind == jobBlockActivate {
		return copyTimeout
	}
	return transitionTimeout + 2*s.cfg.MachineTimeout // one that kills a machine and starts it again calls it twice
}

// schedule makes a transition of target due after the delay, before scaling. Transitions that share the target or one
// of the other keys never run at the same time.
func (s *Simulator) schedule(tx *store.Tx, kind, target, arg string, delay time.Duration, keys ...string) {
	if !s.keeps(quirkAsynchronous) {
		delay = 0
	}
	job := jobs.Job{
		ID: newID(), Seq: s.nextSeq(), Kind: kind, Target: target, Arg: arg,
		Keys: append([]string{target}, keys...), Due: time.Now().Add(s.scaled(delay)),
	}
	s.jobs.Put(tx, job.ID, job)
}

// scheduleSettle makes a transition due now that brings a data plane in line with the state as it then is. One that is
// open already is replaced: what it would do, the new one does.
func (s *Simulator) scheduleSettle(tx *store.Tx, kind, target string) {
	job := jobs.Job{
		ID: kind + "/" + target, Seq: s.nextSeq(), Kind: kind, Target: target,
		Keys: []string{target}, Due: time.Now(),
	}
	s.jobs.Put(tx, job.ID, job)
}

func (s *Simulator) openJobs() []jobs.Job {
	out := make([]jobs.Job, 0, s.jobs.Len())
	for _, j := range s.jobs.All() {
		out = append(out, j)
	}
	return out
}

func (s *Simulator) runJob(ctx context.Context, job jobs.Job) error {
	run, ok := transitions[job.Kind]
	if !ok {
		return fmt.Errorf("unknown transition %q", job.Kind)
	}
	runCtx, cancel := context.WithTimeout(ctx, s.timeoutOf(job.Kind))
	defer cancel()
	finish, err := run(s, runCtx, job)
	if err != nil {
		if ctx.Err() == nil && s.scheduler.Failures()[job.ID].Error != err.Error() {
			s.log.Info("A transition failed and will be tried again", "kind", job.Kind, "target", job.Target, "reason", err.Error())
		}
		return err
	}
	return s.update(func(tx *store.Tx) error {
		// A settling transition that was asked for again while it ran stays open.
		if now, ok := s.jobs.GetIn(tx, job.ID); ok && now.Seq == job.Seq {
			s.jobs.Delete(tx, job.ID)
		}
		if finish == nil {
			return nil
		}
		return finish(tx)
	})
}

// sorted returns the rows of a table in the order of their creation.
func sorted[T any](rows iter.Seq2[string, T], seq func(T) int64) []T {
	var out []T
	for _, r := range rows {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b T) int { return int(seq(a) - seq(b)) })
	return out
}
