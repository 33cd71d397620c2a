package blockstage

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// stageBlock records that the device is used as it is, and opens it before if its disk is encrypted. Whatever was begun on
// it as a file system is no longer ours to make.
func (s *Stager) stageBlock(ctx context.Context, v staging.Volume, d device.Device, record *state.Staged, table mount.Table, path string) error {
	if e, mounted := table.At(path); mounted && e.Number == d.Number && s.gone(record, e) == nil {
		return volume.Errorf(volume.Exists, "the staging path has the volume mounted as %s, asked for is a block device", e.FSType)
	}
	// What is mounted of a stay of the disk that is over is dead.
	mounts := slices.DeleteFunc(table.Of(d.Number), func(e mount.Entry) bool { return s.gone(record, e) != nil })
	if len(mounts) > 0 {
		return volume.Errorf(volume.InUse, "volume %s is mounted at %s and cannot be used as a block device as well", v.ID, strings.Join(mounts.Paths(), ", "))
	}
	if v.Encryption != "" {
		return s.stageEncryptedBlock(ctx, v, d, table)
	}
	if err := refuseOurs(d); err != nil {
		return err
	}
	if err := s.cfg.State.WriteStaged(s.newRecord(v, d)); err != nil {
		return err
	}
	return s.cfg.State.ClearIntent(v.ID)
}

// stageEncryptedBlock is stageBlock for an encrypted disk. Unless a pod has what is open on it, whoever stages it has to know
// the passphrase.
func (s *Stager) stageEncryptedBlock(ctx context.Context, v staging.Volume, d device.Device, table mount.Table) error {
	_, mapper, err := s.layer.Disk(d)
	if err != nil {
		return err
	}
	nodes := nodesOf(table, d)
	if mapper == "" && len(nodes) > 0 {
		return volume.Errorf(volume.InUse, "volume %s is published without encryption at %s", v.ID, strings.Join(nodes.Paths(), ", "))
	}
	if len(nodes) == 0 {
		if _, err := s.openBlock(ctx, v, d); err != nil {
			return err
		}
	}
	return s.cfg.State.ClearIntent(v.ID)
}

// openBlock opens an encrypted disk for a pod that gets what is inside as a device, and records that. From then on there is
// something inside.
func (s *Stager) openBlock(ctx context.Context, v staging.Volume, d device.Device) (_ device.Device, err error) {
	defer func() { err = s.closeAfter(ctx, v, err) }()
	in, err := s.open(ctx, v, d.Serial)
	if err != nil {
		return d, err
	}
	if in.fresh && !v.Use.ReadOnly {
		if err := s.keep(ctx, v, d.Serial); err != nil {
			return d, err
		}
	}
	return in.Device, s.cfg.State.WriteStaged(s.newRecord(v, in.Device))
}

// publishBlock binds the device node to the target. A read-only mount does not keep anybody from writing to a
// device, so the kernel is told to refuse writes to the device itself, which holds for everybody who has it.
func (s *Stager) publishBlock(ctx context.Context, d device.Device, v staging.Volume, record *state.Staged, target string) error {
	if record == nil || !record.Block {
		return volume.Errorf(volume.InUse, "volume %s is not staged as a block device", v.ID)
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	u := v.Use
	if done, err := s.clearNode(ctx, d, u, record, table, target); done || err != nil {
		return err
	}
	others := nodesOf(table.Without(target), d)
	if u.Single && len(others) > 0 {
		return publishedElsewhere(others)
	}
	// A disk that was plugged in again after it was staged is the same volume: nothing of it was mounted.
	if !s.current(record, d) {
		if v.Encryption == "" {
			if err := refuseOurs(d); err != nil {
				return err
			}
		}
		if err := s.cfg.State.WriteStaged(s.newRecord(v, d)); err != nil {
			return err
		}
	}
	if err := setReadOnly(d, u.ReadOnly, others); err != nil {
		return err
	}
	if err := readAhead(d, "", v); err != nil {
		return err
	}
	if err := step.At(ctx, step.Bind); err != nil {
		return err
	}
	return bindNode(ctx, d, u, target)
}

// clearNode takes away the device node that a disk which was unplugged left at the target. It reports whether the volume
// is published there already, and refuses anything else.
func (s *Stager) clearNode(ctx context.Context, d device.Device, u staging.Use, record *state.Staged, table mount.Table, target string) (bool, error) {
	e, mounted := table.At(target)
	if !mounted {
		return false, nil
	}
	n, isDevice := deviceAt(target)
	switch {
	case isDevice && n == d.Number && e.ReadOnly() == u.ReadOnly:
		return true, nil
	case isDevice && n != d.Number && s.goneDevice(record, n) != nil:
		klog.FromContext(ctx).Info("The device at the target is of a disk that was unplugged, taking it away", "path", target, "device", n)
		return false, detach(ctx, target)
	}
	return false, volume.Errorf(volume.Exists, "%s has another mount, asked for are device %s, read-only %t", target, d.Number, u.ReadOnly)
}

// bindNode binds the device node and looks at what was bound: the node may have gone to another disk meanwhile.
func bindNode(ctx context.Context, d device.Device, u staging.Use, target string) error {
	if err := mount.MakeFile(target); err != nil {
		return err
	}
	if err := mount.Bind(d.Path, target, u.ReadOnly); err != nil {
		return errors.Join(err, mount.RemoveTarget(target))
	}
	if n, ok := deviceAt(target); !ok || n != d.Number {
		err := volume.Errorf(volume.InUse, "binding %s gave device %s instead of %s, it was replaced meanwhile", d.Path, n, d.Number)
		return errors.Join(err, mount.Unmount(ctx, target), mount.RemoveTarget(target))
	}
	return nil
}

// setReadOnly sets the device's read-only flag. It cannot be changed under others that have the device.
func setReadOnly(d device.Device, readOnly bool, others mount.Table) error {
	is, err := device.ReadOnly(d)
	if err != nil || is == readOnly {
		return err
	}
	if len(others) > 0 {
		return volume.Errorf(volume.InUse, "the device is published read-only %t at %s and cannot be read-only %t as well", is, others[0].Path, readOnly)
	}
	return device.SetReadOnly(d, readOnly)
}

// deviceAt returns which device a device node stands for, false when the path is no block device.
func deviceAt(path string) (device.Number, bool) {
	n, isBlock, err := device.At(path)
	return n, err == nil && isBlock
}

// nodesOf lists the mounts that are binds of the device's node. Only mounts whose root has the node's name are
// looked at: a look at any mount of the machine could hang.
func nodesOf(table mount.Table, d device.Device) mount.Table {
	var nodes mount.Table
	for _, e := range table {
		if path.Base(e.Root) != path.Base(d.Path) {
			continue
		}
		if n, ok := deviceAt(e.Path); ok && n == d.Number {
			nodes = append(nodes, e)
		}
	}
	return nodes
}

// afterLastBlock takes back the read-only flag of a device that nobody has any more.
func (s *Stager) afterLastBlock(n device.Number) error {
	d, err := s.layer.ByNumber(n)
	if errors.Is(err, device.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil || len(nodesOf(table, d)) > 0 {
		return err
	}
	return clearReadOnly(d)
}
