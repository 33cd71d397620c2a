package blockstage

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Unstage takes a volume from its staging path and releases its device: afterwards nothing on this machine has it
// mounted and everything that was written is on the disk, so that it can be detached.
func (s *Stager) Unstage(ctx context.Context, volumeID, path string) error {
	table, err := mount.Read()
	if err != nil {
		return err
	}
	record, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return err
	}
	entry, mounted := table.At(path)
	d, err := s.stagedDevice(ctx, volumeID, record, entry, mounted)
	if err != nil {
		return err
	}
	others := usersOf(table, d, entry, mounted, path)
	if record == nil && !mounted {
		if others, err = s.unrecorded(table, volumeID); err != nil {
			return err
		}
	}
	if len(others) > 0 {
		return volume.Errorf(volume.InUse, "volume %s is still published at %s", volumeID, strings.Join(others.Paths(), ", "))
	}
	if mounted {
		if err := s.remember(volumeID, d, record, entry); err != nil {
			return err
		}
		if err := step.At(ctx, step.Unmount); err != nil {
			return err
		}
		if err := s.unmount(ctx, volumeID, d, record, entry, path); err != nil {
			return err
		}
	}
	if err := s.closeOthers(ctx, volumeID, d); err != nil {
		return err
	}
	if d != nil {
		if err := s.releaseDevice(ctx, volumeID, *d); err != nil {
			return err
		}
	}
	return errors.Join(s.endIntent(volumeID, d), s.cfg.State.ClearStaged(volumeID))
}

// releaseDevice returns when everything that was written is on the disk, and nothing is open between it and the file system.
func (s *Stager) releaseDevice(ctx context.Context, volumeID string, d device.Device) error {
	if err := step.At(ctx, step.Flush); err != nil {
		return err
	}
	if err := s.layer.Release(ctx, d, s.cfg.Patience); err != nil {
		return volume.Errorf(volume.InUse, "%w", err)
	}
	s.opens.forget(mapperName(volumeID, d)) // of a disk that is not encrypted there is none
	return nil
}

// remember records a volume that is staged without a record, as by another driver, before it is unmounted. An attempt that comes
// after this one finds nothing mounted any more, and has to know that the device may still be in use, or not flushed.
func (s *Stager) remember(volumeID string, d *device.Device, record *state.Staged, entry mount.Entry) error {
	if record != nil || d == nil || !volume.SerialIsOf(volumeID, d.Serial) {
		return nil
	}
	_, mapper, err := s.layer.Disk(*d)
	if err != nil {
		return err
	}
	// A file system that has failed is read-only as well; how it was mounted counts.
	r := state.Staged{
		VolumeID: volumeID, Serial: d.Serial, Kind: string(volume.Block), ReadOnly: slices.Contains(entry.Options, "ro"),
		Device: d.Path, Number: d.Number.String(),
	}
	if mapper != "" {
		r.Layer = luks.Name
	}
	return s.cfg.State.WriteStaged(r)
}

// closeOthers closes what is open on disks of the volume besides the device that is to be released: what a process that was
// killed opened and nobody mounted, and what was open on a disk that was unplugged.
func (s *Stager) closeOthers(ctx context.Context, volumeID string, d *device.Device) error {
	but := device.Number{}
	if d != nil {
		but = d.Number
	}
	return s.closeAll(ctx, volumeID, but)
}

// usersOf lists the mounts by which pods have the volume, as a file system or as a device.
func usersOf(table mount.Table, d *device.Device, entry mount.Entry, mounted bool, path string) mount.Table {
	var users mount.Table
	if mounted {
		users = table.Others(entry.Number, path)
	}
	if d != nil {
		users = append(users, nodesOf(table, *d)...)
	}
	return users
}

// unrecorded lists the mounts of a volume of which there is neither a record nor a mount at the staging path: those that another
// driver, or a person, has made elsewhere. A disk that is here and cannot be found for sure is no disk that nobody uses.
func (s *Stager) unrecorded(table mount.Table, volumeID string) (mount.Table, error) {
	serial := s.serialHere(volumeID, nil)
	if serial == "" {
		return nil, nil
	}
	d, err := s.layer.Find(serial)
	switch {
	case errors.Is(err, device.ErrNotFound):
		return nil, nil // it has left meanwhile
	case err != nil:
		return nil, volume.Errorf(volume.Busy, "whether anybody uses the disk of volume %s is not known, so it does not count as unstaged: %w", volumeID, err)
	}
	return append(table.Of(d.Number), nodesOf(table, d)...), nil
}

// unmount unmounts the staging path, and names who keeps it.
func (s *Stager) unmount(ctx context.Context, volumeID string, d *device.Device, record *state.Staged, entry mount.Entry, path string) error {
	if s.gone(record, entry) != nil {
		return detach(ctx, path)
	}
	s.writeOut(ctx, volumeID, entry)
	err := mount.Unmount(ctx, path)
	if errors.Is(err, unix.EBUSY) && d != nil {
		return volume.Errorf(volume.InUse, "%w: %s", err, strings.Join(device.Users(*d), "; "))
	}
	return err
}

// endIntent removes the record of a format, unless the disk on which it was cut off is still plugged in: then the next
// staging may need it. A disk that leaves can be elsewhere afterwards, and the record would mean nothing.
func (s *Stager) endIntent(volumeID string, d *device.Device) error {
	intent, err := s.cfg.State.Intent(volumeID)
	if err == nil && intent != nil && d == nil {
		if now, findErr := s.layer.Find(intent.Serial); findErr == nil {
			d = &now
		}
	}
	if err == nil && intent != nil && d != nil && intent.BootID == s.cfg.BootID &&
		intent.Serial == d.Serial && intent.DiskSeq != 0 && intent.DiskSeq == d.Seq {
		return nil
	}
	return errors.Join(err, s.cfg.State.ClearIntent(volumeID))
}

// recorded returns the device that a record is of, when its sequence number proves that without asking the disk.
func (s *Stager) recorded(r *state.Staged) (device.Device, bool) {
	if r == nil || r.BootID != s.cfg.BootID {
		return device.Device{}, false
	}
	n, err := device.ParseNumber(r.Number)
	if err != nil || s.layer.Same(n, r.Serial, r.DiskSeq) != nil {
		return device.Device{}, false
	}
	return device.Device{Path: r.Device, Number: n, Serial: r.Serial, Seq: r.DiskSeq}, true
}

// stagedDevice returns the device of a staged volume: the one that is mounted, else the one that was recorded, so
// that an attempt which was cut off after its unmount still releases the device. It is nil when the device is gone. A
// device that cannot be found for sure is no device that is gone: pods may have it.
func (s *Stager) stagedDevice(ctx context.Context, volumeID string, record *state.Staged, entry mount.Entry, mounted bool) (*device.Device, error) {
	if mounted && s.gone(record, entry) != nil || !mounted && record == nil {
		return nil, nil //nolint:nilnil,nilerr // nil is documented: there is no device to release
	}
	d, err := s.stagedNow(record, entry, mounted)
	switch {
	case errors.Is(err, device.ErrNotFound), err != nil && record == nil:
		// A device that is gone cannot be flushed. What another driver staged is unmounted, which flushes the file system.
		klog.FromContext(ctx).Info("The device of the volume is not flushed", "volumeID", volumeID, "err", err)
		return nil, nil //nolint:nilnil,nilerr // as above
	case err != nil:
		return nil, volume.Errorf(volume.Busy, "whether anybody still uses the disk of volume %s is not known: %w", volumeID, err)
	case mounted && record != nil && record.Serial != d.Serial:
		return nil, volume.Errorf(volume.InUse, "volume %s was staged from serial %s, but at the staging path is serial %s", volumeID, record.Serial, d.Serial)
	}
	return &d, nil
}

// stagedNow finds the device of what is mounted, else of the record. A record of this stay of the disk stands in for a
// disk that does not tell its serial.
func (s *Stager) stagedNow(record *state.Staged, entry mount.Entry, mounted bool) (d device.Device, err error) {
	if mounted {
		d, err = s.layer.ByNumber(entry.Number)
	} else {
		d, err = s.layer.Find(record.Serial)
		if err == nil {
			d, err = s.deviceOf(record.VolumeID, record.Layer, d)
		}
		if errors.Is(err, errClosed) {
			err = nil // an attempt was cut off after it closed the device: the disk is left
		}
	}
	if err == nil || errors.Is(err, device.ErrNotFound) {
		return d, err
	}
	if known, ok := s.recorded(record); ok && (!mounted || known.Number == entry.Number) {
		return known, nil
	}
	return d, err
}
