package blockstage

import (
	"context"
	"errors"
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

// Publish shows a staged volume to a pod: its file system by a bind of the staging path, its device by a bind of the
// device node.
func (s *Stager) Publish(ctx context.Context, v staging.Volume, stagingPath, target string) error {
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
	disk, err := s.find(serial)
	if err != nil {
		return err
	}
	d, err := s.deviceOf(v.ID, v.Encryption, disk)
	closed := errors.Is(err, errClosed)
	if err != nil && !closed {
		return err
	}
	if closed && v.Use.Block && record != nil && record.Block {
		// The disk was plugged in again after it was staged.
		if d, err = s.openBlock(ctx, v, disk); err != nil {
			return err
		}
	} else if closed && v.Use.Block {
		return volume.Errorf(volume.InUse, "volume %s is not staged as a block device", v.ID)
	}
	if v.Use.Block {
		return s.publishBlock(ctx, d, v, record, target)
	}
	return s.publishMount(ctx, d, v, record, stagingPath, target)
}

// publishMount binds the staged file system to the target.
func (s *Stager) publishMount(ctx context.Context, d device.Device, v staging.Volume, record *state.Staged, stagingPath, target string) error {
	healed, err := s.heal(ctx, d, v, record, stagingPath)
	if err != nil {
		return err
	}
	if healed && v.Encryption != "" { // it was opened again
		disk, err := s.find(d.Serial)
		if err != nil {
			return err
		}
		if d, err = s.deviceOf(v.ID, v.Encryption, disk); err != nil {
			return err
		}
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	u := v.Use
	staged, err := stagedAt(table, d, u, stagingPath)
	if err != nil {
		return err
	}
	if done, err := s.clearTarget(ctx, d, u, record, table, staged, target, healed); done || err != nil {
		return err
	}
	if others := published(table.Others(d.Number, stagingPath, target), staged.Root); u.Single && len(others) > 0 {
		return publishedElsewhere(others)
	}
	if err := readAhead(d, staged.FSType, v); err != nil {
		return err
	}
	return bindDir(ctx, stagingPath, target, u)
}

// bindDir binds what is mounted at the staging path to the target.
func bindDir(ctx context.Context, stagingPath, target string, u staging.Use) error {
	if err := step.At(ctx, step.Bind); err != nil {
		return err
	}
	if err := mount.MakeDir(target); err != nil {
		return err
	}
	if err := mount.Bind(stagingPath, target, u.ReadOnly); err != nil {
		return errors.Join(err, mount.RemoveTarget(target))
	}
	return nil
}

// clearTarget takes away what a disk that was unplugged left at the target. It reports whether the volume is published
// there already, and refuses anything else.
func (s *Stager) clearTarget(
	ctx context.Context, d device.Device, u staging.Use, record *state.Staged, table mount.Table, staged mount.Entry, target string, healed bool,
) (bool, error) {
	e, mounted := table.At(target)
	switch {
	case !mounted:
		return false, nil
	case healed && e.Number == d.Number || e.Number != d.Number && s.gone(record, e) != nil:
		klog.FromContext(ctx).Info("What is mounted at the target is of a disk that was unplugged, taking it away", "path", target, "device", e.Number)
		return false, detach(ctx, target)
	case e.Number == d.Number && e.Root == staged.Root && e.ReadOnly() == u.ReadOnly:
		return true, nil
	}
	return false, volume.Errorf(volume.Exists, "%s has another mount: device %s, read-only %t; asked for are device %s, read-only %t",
		target, e.Number, e.ReadOnly(), d.Number, u.ReadOnly)
}

// heal stages the volume again when what is staged is of no use: its disk was unplugged meanwhile and is back, its file
// system has failed and no pod has it, or an earlier such attempt was cut off. The kubelet takes the volume for staged
// and would not do that by itself.
func (s *Stager) heal(ctx context.Context, d device.Device, v staging.Volume, record *state.Staged, path string) (bool, error) {
	table, err := mount.Read()
	if err != nil {
		return false, err
	}
	entry, mounted := table.At(path)
	switch {
	case !mounted && (record == nil || record.Block || record.BootID != s.cfg.BootID):
		return false, nil // it is not staged, which the caller says
	case mounted && s.gone(record, entry) == nil:
		if entry.Number != d.Number {
			return false, nil
		}
		err := s.health(ctx, d, entry, s.writable(record, table, entry))
		if !errors.Is(err, filesystem.ErrFailed) {
			return false, err // it is well, or that is not known
		}
		if others := table.Others(d.Number, path); len(others) > 0 {
			return false, volume.Errorf(volume.InUse, "%w. Pods have it at %s: when they have ended, it is checked and mounted again",
				err, strings.Join(others.Paths(), ", "))
		}
	}
	staged := v
	if record != nil {
		staged.Use.ReadOnly = record.ReadOnly
	}
	klog.FromContext(ctx).Info("The volume is staged again", "volumeID", v.ID, "path", path)
	return true, s.stageMount(ctx, d, staged, record, table, path)
}

// stagedAt finds the volume's mount at the staging path and judges whether it can be used as asked for.
func stagedAt(table mount.Table, d device.Device, u staging.Use, path string) (mount.Entry, error) {
	staged, ok := table.At(path)
	switch {
	case !ok:
		return staged, volume.Errorf(volume.InUse, "nothing is staged at %s", path)
	case staged.Number != d.Number:
		return staged, volume.Errorf(volume.InUse, "at %s device %s is staged, but serial %s is device %s", path, staged.Number, d.Serial, d.Number)
	case u.FSType != "" && u.FSType != staged.FSType:
		return staged, volume.Errorf(volume.InUse, "at %s a file system %s is staged, asked for is %s", path, staged.FSType, u.FSType)
	case staged.ReadOnly() && !u.ReadOnly:
		return staged, volume.Errorf(volume.InUse, "at %s the volume is staged read-only", path)
	}
	return staged, nil
}

// published picks the mounts by which pods have the volume. The kubelet binds parts of it for subPath; those
// have another root and belong to a pod that has the whole as well.
func published(mounts mount.Table, root string) mount.Table {
	var whole mount.Table
	for _, e := range mounts {
		if e.Root == root {
			whole = append(whole, e)
		}
	}
	return whole
}

func publishedElsewhere(others mount.Table) error {
	return volume.Errorf(volume.InUse, "the volume may be used by one pod only and is published at %s already", strings.Join(others.Paths(), ", "))
}

// Unpublish takes a volume from a pod's path and removes the path.
func (s *Stager) Unpublish(ctx context.Context, _, target string) error {
	if err := step.At(ctx, step.Unbind); err != nil {
		return err
	}
	number, isBlock := deviceAt(target)
	if err := mount.Unmount(ctx, target); err != nil {
		return err
	}
	if err := mount.RemoveTarget(target); err != nil {
		return err
	}
	if !isBlock {
		return nil
	}
	return s.afterLastBlock(number)
}
