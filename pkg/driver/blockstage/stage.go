package blockstage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Stage finds the disk of a volume and, unless it is to be used as a block device, mounts its file system at the
// path, making it first on a disk that is proven blank. For a block device it writes no byte.
func (s *Stager) Stage(ctx context.Context, v staging.Volume, path string) error {
	serial, err := serialOf(v)
	if err != nil {
		return err
	}
	record, err := s.record(v.ID, serial)
	if err != nil {
		return err
	}
	if err := s.checkLayer(v, record); err != nil {
		return err
	}
	disk, err := s.wait(ctx, serial)
	if err != nil {
		return err
	}
	d, err := s.deviceOf(v.ID, v.Encryption, disk)
	if err != nil && !errors.Is(err, errClosed) {
		return err
	}
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithValues("volumeID", v.ID, "serial", serial))
	table, err := mount.Read()
	if err != nil {
		return err
	}
	if v.Use.Block {
		return s.stageBlock(ctx, v, d, record, table, path)
	}
	if nodes := nodesOf(table, d); len(nodes) > 0 {
		return volume.Errorf(volume.InUse, "volume %s is published as a block device at %s and cannot be mounted as well", v.ID, strings.Join(nodes.Paths(), ", "))
	}
	err = s.stageMount(ctx, d, v, record, table, path)
	if record == nil {
		s.forgetFailed(ctx, v.ID, path, err)
	}
	return err
}

// forgetFailed forgets that a volume was to be staged, of which nothing was known before a call that failed for good. The kubelet
// takes that for the word that nothing is staged, and never unstages it: the record would say for ever that its disk is missing.
func (s *Stager) forgetFailed(ctx context.Context, volumeID, path string, failure error) {
	if failure == nil || unfinished(failure) || volume.ReasonOf(failure) == volume.Busy || ctx.Err() != nil {
		return
	}
	table, err := mount.Read()
	if err == nil {
		if _, mounted := table.At(path); !mounted {
			err = s.cfg.State.ClearStaged(volumeID)
		}
	}
	if err != nil {
		klog.FromContext(ctx).Info("The record of a volume that could not be staged is left", "err", err)
	}
}

// stageMount brings the device to the staging path, from wherever an earlier attempt left it.
func (s *Stager) stageMount(ctx context.Context, d device.Device, v staging.Volume, record *state.Staged, table mount.Table, path string) error {
	entry, mounted := table.At(path)
	if mounted {
		taken, err := s.takeAway(ctx, d, v, record, table, entry, path)
		if err != nil {
			return err
		}
		mounted = !taken
	}
	if mounted {
		return s.stageMounted(ctx, d, entry, v, record, path)
	}
	if err := mount.MakeDir(path); err != nil {
		return err
	}
	d, err := s.prepareAndMount(ctx, d, v, path)
	if err != nil {
		return err
	}
	if err := s.afterMount(ctx, d, v, path); err != nil {
		return err
	}
	return s.protect(d, v.Use)
}

// stageMounted does what is left to do for a mount that is there: an earlier attempt was cut off after it, or another driver
// made it.
func (s *Stager) stageMounted(ctx context.Context, d device.Device, entry mount.Entry, v staging.Volume, record *state.Staged, path string) error {
	if record == nil {
		// A record without a stay of the disk is all that is known.
		r := s.newRecord(v, d)
		r.BootID, r.DiskSeq = "", 0
		if err := s.cfg.State.WriteStaged(r); err != nil {
			return err
		}
	}
	if err := s.cfg.State.ClearIntent(v.ID); err != nil {
		return err
	}
	if err := s.growStaged(ctx, d, entry, v, path); err != nil {
		return err
	}
	return s.protect(d, v.Use)
}

// takeAway takes away what is mounted at the staging path when it is of no use any more: a mount of a disk that was
// unplugged, or of a file system that failed and that no pod has. What is of use must be what was asked for.
func (s *Stager) takeAway(
	ctx context.Context, d device.Device, v staging.Volume, record *state.Staged, table mount.Table, entry mount.Entry, path string,
) (bool, error) {
	if err := s.gone(record, entry); err != nil {
		klog.FromContext(ctx).Info("The disk of the mount at the staging path was unplugged, taking the mount away", "path", path, "device", entry.Number, "why", err)
		return true, detach(ctx, path)
	}
	if entry.Number != d.Number {
		dead, err := mount.Corrupt(ctx, path)
		if err != nil {
			return false, err
		}
		if dead {
			klog.FromContext(ctx).Info("What is mounted at the staging path is dead, taking it away", "path", path, "device", entry.Number)
			return true, detach(ctx, path)
		}
	}
	if entry.Number == d.Number {
		writable := !v.Use.ReadOnly && s.writable(record, table, entry)
		err := s.health(ctx, d, entry, writable)
		if errors.Is(err, filesystem.ErrFailed) {
			if others := table.Others(d.Number, path); len(others) > 0 {
				return false, volume.Errorf(volume.InUse, "%w. Pods have it at %s: when they have ended, staging checks it and mounts it again",
					err, strings.Join(others.Paths(), ", "))
			}
			klog.FromContext(ctx).Info("The staged file system has failed, mounting it again", "path", path, "device", d.Path, "why", err)
			return true, mount.Unmount(ctx, path)
		}
		if err != nil {
			return false, err
		}
	}
	return false, checkStaged(entry, d, v.Use)
}

// checkStaged compares what is mounted at the staging path with what should be.
func checkStaged(e mount.Entry, d device.Device, u staging.Use) error {
	differ := func(format string, args ...any) error {
		return volume.Errorf(volume.Exists, "the staging path has another mount: %s", fmt.Sprintf(format, args...))
	}
	switch {
	case e.Number != d.Number:
		return differ("device %s, but serial %s is device %s", e.Number, d.Serial, d.Number)
	case u.FSType != "" && e.FSType != u.FSType:
		return differ("file system %s, asked for is %s", e.FSType, u.FSType)
	case e.ReadOnly() != u.ReadOnly:
		return differ("read-only is %t, asked for is %t", e.ReadOnly(), u.ReadOnly)
	}
	for _, o := range []string{"noexec", "nosuid", "nodev", "noatime"} {
		if slices.Contains(u.Options, o) && !slices.Contains(e.Options, o) {
			return differ("it lacks the option %s", o)
		}
	}
	return nil
}

// afterMount does what follows the mount, all of which an attempt that finds the mount repeats.
func (s *Stager) afterMount(ctx context.Context, d device.Device, v staging.Volume, path string) error {
	if err := step.At(ctx, step.IntentClear); err != nil {
		return err
	}
	if err := s.cfg.State.ClearIntent(v.ID); err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	if !mounted {
		return volume.Errorf(volume.Busy, "the mount at %s went away", path)
	}
	logCounted(ctx, d, entry)
	return s.growStaged(ctx, d, entry, v, path)
}
