package node

import (
	"context"
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// publishBlock binds the device node to the target. A read-only mount does not keep anybody from writing to a
// device, so the kernel is told to refuse writes to the device itself, which holds for everybody who has it.
func publishBlock(ctx context.Context, d device.Device, u use, target string) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	if e, mounted := table.At(target); mounted {
		if n, ok := deviceAt(target); ok && n == d.Number && e.ReadOnly() == u.readOnly {
			return nil
		}
		return volume.Errorf(volume.Exists, "%s has another mount, asked for are device %s, read-only %t", target, d.Number, u.readOnly)
	}
	others := nodesOf(table.Without(target), d)
	if u.single && len(others) > 0 {
		return publishedElsewhere(others)
	}
	if err := setReadOnly(d, u.readOnly, others); err != nil {
		return err
	}
	if err := step.At(ctx, step.Bind); err != nil {
		return err
	}
	if err := mount.MakeFile(target); err != nil {
		return err
	}
	if err := mount.Bind(d.Path, target, u.readOnly); err != nil {
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

// deviceAt tells which device a device node stands for, false when the path is no block device.
func deviceAt(path string) (device.Number, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return device.Number{}, false
	}
	return device.NumberOf(st.Rdev), true
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
func (s *Service) afterLastBlock(n device.Number) error {
	d, err := s.cfg.Finder.ByNumber(n)
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
