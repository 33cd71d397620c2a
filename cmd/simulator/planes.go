package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/balancer"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/disks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/machine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/vfs"
)

// planes are the parts of the cloud that touch this machine; nil for those that are off.
type planes struct {
	disks       *disks.Plane
	fileSystems *vfs.Plane // with the disks, or nil as they are
	balancers   *balancer.Plane
	// before is what was plugged when the program started: left by one that was killed or told to keep its disks.
	before map[string]string
	// seen is the same of file systems.
	seen []simulator.FileSystemAttachment
}

// openPlanes proves that the machine can be used as the options want, without attaching anything yet.
func openPlanes(ctx context.Context, o *options) (*planes, error) {
	p := &planes{}
	var faults []error
	var err error
	if !o.noDisks {
		if p.disks, err = disks.New(o.state); err == nil {
			p.before, err = p.disks.Plugged(ctx)
		}
		faults = append(faults, err)
		if p.fileSystems, err = vfs.New(o.state); err == nil {
			p.seen, err = p.fileSystems.Attached(ctx)
		}
		faults = append(faults, err)
	}
	if o.balancers == "on" {
		p.balancers, err = balancer.New(balancer.Config{
			Range: o.lbRange, RangeV6: o.lbRangeV6, Bridge: o.balancerBridge,
			StateFile: filepath.Join(o.state, "addresses.json"), Logger: klog.FromContext(ctx),
		})
		faults = append(faults, err)
	}
	return p, errors.Join(faults...)
}

// config is that of the cloud. A plane that is off stays nil there: an interface that holds a nil pointer would not be.
func (p *planes) config(o *options, log klog.Logger) simulator.Config {
	config := simulator.Config{
		StateDir: o.state, Keys: o.keys, RateLimit: o.rateLimit, RateLimitBy: simulator.RateLimitBy(o.rateLimitBy),
		TimeScale: o.timeScale, Delays: o.delays, ReadLags: o.readLags, GrowOnReattach: o.growOnReattach, InstanceRange: o.vmIPs, Logger: log,
		LegacyVPC2: o.legacyVPC2, MaxInstances: o.maxInstances,
		WrapSnapshots: o.wrapSnapshots, MinHighPerfGB: o.minHighPerf,
	}
	if p.disks != nil {
		config.Disks, config.FileSystems = p.disks, p.fileSystems
	}
	if p.balancers != nil {
		config.Balancers = p.balancers
	}
	if o.machineHook != "" {
		hook := &machine.Hook{Command: o.machineHook, Timeout: o.machineHookTimeout}
		if p.disks != nil {
			hook.Dir = p.instanceDir
		}
		config.Machine, config.MachineTimeout = hook, o.machineHookTimeout
	}
	return config
}

// instanceDir makes sure that a machine finds its directories, before its first disk too.
func (p *planes) instanceDir(id string) (string, error) {
	return p.disks.InstanceDir(id), errors.Join(p.disks.Prepare(id), p.fileSystems.Prepare(id))
}

// undo takes away what a start that failed attached. What was there before stays as it was.
func (p *planes) undo(ctx context.Context) error {
	var faults []error
	if p.balancers != nil {
		faults = append(faults, p.balancers.Close())
	}
	if p.disks != nil {
		isNew := func(id, instance string) bool { return p.before[id] != instance }
		faults = append(faults, p.detachNew(ctx), p.unplug(ctx, isNew))
	}
	return errors.Join(faults...)
}

// close ends the load balancers and takes all disks away, unless they are to be kept.
func (p *planes) close(ctx context.Context, keepDisks bool) error {
	var faults []error
	if p.balancers != nil {
		faults = append(faults, p.balancers.Close())
	}
	if p.disks != nil && !keepDisks {
		faults = append(faults, p.fileSystems.Release(ctx), p.unplug(ctx, func(string, string) bool { return true }))
	}
	return errors.Join(faults...)
}

// detachNew detaches the file systems that were not there before.
func (p *planes) detachNew(ctx context.Context) error {
	now, err := p.fileSystems.Attached(ctx)
	faults := []error{err}
	for _, a := range now {
		if !slices.Contains(p.seen, a) {
			faults = append(faults, p.fileSystems.Detach(ctx, a.ID, a.MountTag, a.InstanceID), p.fileSystems.Forget(ctx, a.InstanceID))
		}
	}
	return errors.Join(faults...)
}

func (p *planes) unplug(ctx context.Context, wanted func(id, instance string) bool) error {
	plugged, err := p.disks.Plugged(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for id, instance := range plugged {
		if !wanted(id, instance) {
			continue
		}
		if err := p.disks.Unplug(ctx, id, instance); err != nil {
			faults = append(faults, fmt.Errorf("a disk stays attached: %w", err))
		}
	}
	return errors.Join(faults...)
}

// sweep removes the directories of instances that are no more.
func (p *planes) sweep(ctx context.Context, view simulator.View) {
	if p.disks == nil {
		return
	}
	known := map[string]bool{}
	for _, i := range view.Instances {
		known[i.ID] = true
	}
	ids, err := p.disks.Instances()
	for _, id := range ids {
		if !known[id] {
			err = errors.Join(err, p.fileSystems.Forget(ctx, id), p.disks.Forget(ctx, id))
		}
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "Directories of former instances are left")
	}
}
