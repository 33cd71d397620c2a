package blockstage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/blockfs"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// prepareAndMount opens the device's disk if it is encrypted, looks at what is inside, makes a file system if it must and
// may, and mounts it. It returns the device that it mounted.
func (s *Stager) prepareAndMount(ctx context.Context, d device.Device, v staging.Volume, path string) (_ device.Device, err error) {
	in := inside{Device: d}
	if v.Encryption != "" {
		defer func() { err = s.closeAfter(ctx, v, err) }()
		if in, err = s.open(ctx, v, d.Serial); err != nil {
			return d, err
		}
	}
	if err := s.unprotect(in.Device, v.Use); err != nil {
		return d, err
	}
	return in.Device, s.prepareInside(ctx, in, v, path)
}

// planInside looks at what is on a device that is there and decides what to do with it. The record of staging stands when
// this returns, before anything is written to the device or mounted.
func (s *Stager) planInside(ctx context.Context, in inside, v staging.Volume) (blockfs.Plan, error) {
	d := in.Device
	if err := step.At(ctx, step.Probe); err != nil {
		return blockfs.Plan{}, err
	}
	recorded := make(chan error, 1)
	go func() { recorded <- s.cfg.State.WriteStaged(s.newRecord(v, d)) }() // which waits for another disk
	findings, err := blockfs.Findings{}, error(nil)                        // nobody wrote yet to what was just encrypted
	if !in.made {
		findings, err = blockfs.Probe(ctx, d)
	}
	if err := <-recorded; err != nil {
		return blockfs.Plan{}, err
	}
	if err != nil {
		return blockfs.Plan{}, unjudged(d, err)
	}
	intent, err := s.cfg.State.Intent(v.ID)
	if err != nil {
		return blockfs.Plan{}, err
	}
	r := request(v)
	r.Fresh = in.fresh
	return blockfs.Decide(r, d, findings, intent, s.cfg.BootID)
}

// prepareInside is prepareAndMount for a device that is there.
func (s *Stager) prepareInside(ctx context.Context, in inside, v staging.Volume, path string) error {
	d := in.Device
	plan, err := s.planInside(ctx, in, v)
	if err != nil {
		return err
	}
	if err := mount.CheckOptions(plan.Type.Name(), v.Use.Options); err != nil {
		return volume.Errorf(volume.Invalid, "%w", err)
	}
	if err := s.cfg.KernelHas(plan.Type.Name()); err != nil {
		return volume.Errorf(volume.InUse, "%s is left as it is: %w; the volume needs a node whose kernel has %s, a new one can have %s",
			describe(d), err, plan.Type.Name(), filesystem.All[0].Name())
	}
	if plan.Action == blockfs.UseExisting {
		if in.fresh && !v.Use.ReadOnly {
			if err := s.keep(ctx, v, d.Serial); err != nil {
				return err
			}
		}
		err := s.mountExisting(ctx, d, plan.Type, v, path)
		if err == nil || !plan.OrFormat || ctx.Err() != nil || unfinished(err) {
			return err
		}
		klog.FromContext(ctx).Info("The file system is unfinished, formatting it again", "device", d.Path, "err", err)
		plan.Overwrite = true
	}
	return s.formatAndMount(ctx, in, v, plan, path)
}

// unjudged is the error of a device of which nobody knows what is on it.
func unjudged(d device.Device, err error) error {
	if errors.Is(err, unix.EBUSY) {
		err = fmt.Errorf("%w: %s", err, strings.Join(device.Users(d), "; "))
	}
	return volume.Errorf(volume.InUse, "%s cannot be judged and is left as it is: %w", describe(d), err)
}

// keep is markUsed for a call.
func (s *Stager) keep(ctx context.Context, v staging.Volume, serial string) error {
	//nolint:contextcheck // it outlives the call
	return s.cfg.Work.Do(ctx, v.ID, StageCall, func(task *longwork.Task) error { return s.markUsed(task, v, serial) })
}

// intend records that a device is about to be formatted.
func (s *Stager) intend(ctx context.Context, v staging.Volume, d device.Device, r blockfs.Request) error {
	if err := step.At(ctx, step.IntentWrite); err != nil {
		return err
	}
	t, err := filesystem.Of(r.FSType)
	if err != nil {
		return err
	}
	return s.cfg.State.WriteIntent(state.Intent{
		VolumeID: v.ID, Serial: d.Serial, FSType: t.Name(), Layer: r.Encryption, BootID: s.cfg.BootID, DiskSeq: d.Seq,
	})
}

// unfinished reports whether an error only says that long work has not come to its end.
func unfinished(err error) bool {
	_, running := errors.AsType[*longwork.RunningError](err)
	return running || errors.Is(err, longwork.ErrEnding)
}

// mountExisting mounts the file system that is on the device.
func (s *Stager) mountExisting(ctx context.Context, d device.Device, t filesystem.Type, v staging.Volume, path string) error {
	if !v.Use.ReadOnly {
		if err := step.At(ctx, step.Check); err != nil {
			return err
		}
		if err := s.check(ctx, d, t, v.ID); err != nil {
			return err
		}
	}
	return mountAndProve(ctx, d, t, v.Use, path)
}

// check repairs what can be repaired without losing anything.
func (s *Stager) check(ctx context.Context, d device.Device, t filesystem.Type, volumeID string) error {
	tools := t.Check(d.Path)
	if len(tools) == 0 {
		return nil
	}
	err := s.runLong(ctx, volumeID, StageCall, d, tools)
	if errors.Is(err, unix.EBUSY) {
		return volume.Errorf(volume.InUse, "the file system on %s cannot be checked, because something uses the device: %w", describe(d), err)
	}
	if err != nil && !unfinished(err) {
		return volume.Errorf(volume.InUse, "the file system on %s has faults that are not repaired without being told to: %w", describe(d), err)
	}
	return err
}

// runLong has the process run tools, and waits for them as long as the call lasts.
func (s *Stager) runLong(ctx context.Context, volumeID, call string, d device.Device, tools []filesystem.Tool) error {
	//nolint:contextcheck // the tools outlive the call
	return s.cfg.Work.Do(ctx, volumeID, call, func(task *longwork.Task) error { return s.runAll(task, d, tools) })
}

// runAll runs tools one after the other. Before each, the device must still be the one that was judged, as a tool gets
// no more than a path.
func (s *Stager) runAll(task *longwork.Task, d device.Device, tools []filesystem.Tool) error {
	for _, t := range tools {
		if err := s.checks.run(task, d, t, func() error { return s.proveAgain(d) }); err != nil {
			return err
		}
	}
	return nil
}

// formatAndMount makes a file system and mounts it. The record of the intent stands before the first write and
// goes after the mount.
func (s *Stager) formatAndMount(ctx context.Context, in inside, v staging.Volume, plan blockfs.Plan, path string) error {
	d := in.Device
	format, err := params.FormatOf(plan.Type.Name(), v.Context)
	if err != nil {
		return err
	}
	r := request(v)
	r.FSType = plan.Type.Name()
	if err := s.intend(ctx, v, d, r); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Making a file system", "device", d.Path, "fsType", plan.Type.Name(), "overwrite", plan.Overwrite)
	wish := filesystem.Wish{Overwrite: plan.Overwrite, Kernel: filesystem.OldestToMount(), Format: format}
	//nolint:contextcheck // mkfs outlives the call
	err = s.cfg.Work.Do(ctx, v.ID, StageCall, func(task *longwork.Task) error {
		err := s.formatter.Make(task, d, plan.Type, wish, func(waited bool) error {
			return s.judgeAgain(task.Context(), in, plan, waited)
		})
		if err != nil || !in.fresh {
			return err
		}
		return s.markUsed(task, v, d.Serial)
	})
	if err != nil {
		return err
	}
	return mountAndProve(ctx, d, plan.Type, v.Use, path)
}

// judgeAgain is proveAgain for a device that is about to be formatted. If there was a wait, one that was blank before has to be
// so still: the volume may have been elsewhere meanwhile, and before Linux 5.15 nothing else tells. What is inside an encryption
// needs no second look, it is gone when its disk is.
func (s *Stager) judgeAgain(ctx context.Context, in inside, plan blockfs.Plan, waited bool) error {
	if err := s.proveAgain(in.Device); err != nil || !waited || plan.Overwrite || in.made || in.fresh {
		return err
	}
	found, err := blockfs.Probe(ctx, in.Device)
	if err != nil {
		return unjudged(in.Device, err)
	}
	if !found.Blank {
		return volume.Errorf(volume.InUse, "%s is left as it is: it was blank, and while its format waited for its turn somebody wrote to it (found: %q, first at byte %d)",
			describe(in.Device), found.Signature, found.NonZeroAt)
	}
	return nil
}

// proveAgain returns an error unless the serial still belongs to the device that was judged.
func (s *Stager) proveAgain(d device.Device) error {
	now, err := s.layer.Again(d)
	if err != nil {
		return volume.Errorf(volume.InUse, "device %s is left as it is, it is no longer proven to be the disk: %w", d.Path, err)
	}
	if now.Seq != d.Seq {
		return volume.Errorf(volume.InUse, "%s is left as it is, it was unplugged and plugged in again", describe(d))
	}
	if now.Number != d.Number || now.Path != d.Path {
		return volume.Errorf(volume.InUse, "device %s (%s) is left as it is, serial %s has moved to %s (%s)", d.Path, d.Number, d.Serial, now.Path, now.Number)
	}
	return nil
}

// mountOptions are the options for mounting the file system: those of the user, once, and those that it needs.
func mountOptions(t filesystem.Type, u staging.Use) []string {
	needed := t.MountOptions()
	if u.ReadOnly {
		needed = append(needed, "ro")
	}
	options := append([]string{}, u.Options...)
	for _, o := range needed {
		if !slices.Contains(options, o) {
			options = append(options, o)
		}
	}
	return options
}

// mountAndProve mounts the device by its path and then asks the kernel which device it mounted.
func mountAndProve(ctx context.Context, d device.Device, t filesystem.Type, u staging.Use, path string) error {
	if err := step.At(ctx, step.Mount); err != nil {
		return err
	}
	if err := mount.FileSystem(ctx, d.Path, path, t.Name(), mountOptions(t, u)); err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	if mounted && entry.Number == d.Number {
		return nil
	}
	err = volume.Errorf(volume.InUse, "mounting %s gave device %s instead of %s, it was replaced meanwhile", d.Path, entry.Number, d.Number)
	return errors.Join(err, mount.Unmount(ctx, path))
}
