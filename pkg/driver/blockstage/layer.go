package blockstage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// layers answers what depends on what lies between a disk and the device that is mounted or shown to a pod: nothing, or
// encryption. Asked by the number of a device, it finds out by itself.
//
// A device that is not its disk has the identity of its disk: the disk's serial and sequence number, with the node, number
// and size of its own.
type layers struct {
	device.Finder

	crypt *luks.Cryptsetup
}

// errClosed says that nothing is open on the disk of an encrypted volume.
var errClosed = errors.New("the encrypted disk is not open")

// mapperPrefix begins the names of the devices that this driver opens on the disks of a volume.
func mapperPrefix(volumeID string) string { return "csi-vultr-" + volumeID + "-" }

// mapperName is the name of the device on a disk. It has the sequence number of the disk's stay in it: what is open on a
// stay that is over can be in use for as long as an old pod lives, and must be in nobody's way.
func mapperName(volumeID string, disk device.Device) string {
	return mapperPrefix(volumeID) + strconv.FormatUint(disk.Seq, 10)
}

// ByNumber returns the device with the number.
func (l layers) ByNumber(n device.Number) (device.Device, error) {
	m, err := l.MapperAt(n)
	if err != nil {
		return device.Device{}, err
	}
	if m == nil {
		return l.Finder.ByNumber(n)
	}
	below, err := l.Below(*m)
	if errors.Is(err, device.ErrGone) {
		return device.Device{}, fmt.Errorf("%w: %w", device.ErrNotFound, err)
	}
	if err != nil {
		return device.Device{}, err
	}
	disk, err := l.Finder.ByNumber(below.Number)
	if err != nil {
		return device.Device{}, err
	}
	return onTop(*m, disk)
}

// onTop is the device that is open on a disk.
func onTop(m device.Mapper, disk device.Device) (device.Device, error) {
	d := device.Device{Path: m.Path, Number: m.Number, Serial: disk.Serial, Seq: disk.Seq}
	size, err := device.Measure(d)
	d.Size = size
	return d, err
}

// Opened returns the device that is open on the disk of an encrypted volume, errClosed when there is none.
func (l layers) Opened(volumeID string, disk device.Device) (device.Device, error) {
	name := mapperName(volumeID, disk)
	all, err := l.Mappers(name)
	if err != nil {
		return device.Device{}, err
	}
	for _, m := range all {
		if m.Name != name {
			continue
		}
		below, err := l.Below(m)
		if err != nil && !errors.Is(err, device.ErrGone) {
			return device.Device{}, err
		}
		if err == nil && below.Number == disk.Number && below.Seq == disk.Seq {
			return onTop(m, disk)
		}
	}
	return device.Device{}, fmt.Errorf("%w: %s", errClosed, describe(disk))
}

// Same returns device.ErrGone when the device with the number no longer leads to the disk that it led to when the
// disk's serial and sequence number were recorded.
func (l layers) Same(n device.Number, serial string, seq uint64) error {
	m, err := l.MapperAt(n)
	if err != nil || m == nil {
		return l.Finder.Same(n, serial, seq) // which says best what is wrong
	}
	below, err := l.Below(*m)
	if err != nil {
		return err
	}
	return l.Finder.Same(below.Number, serial, seq)
}

// Again returns the device as it is now, found once more from the serial of its disk on.
func (l layers) Again(d device.Device) (device.Device, error) {
	disk, err := l.Find(d.Serial)
	if err != nil {
		return device.Device{}, err
	}
	m, err := l.MapperAt(d.Number)
	if errors.Is(err, device.ErrNotFound) { // nothing has the number any more: what was found is the news
		return disk, nil
	}
	if err != nil || m == nil {
		return disk, err
	}
	below, err := l.Below(*m)
	if err != nil {
		return device.Device{}, err
	}
	if below.Number != disk.Number {
		return device.Device{}, fmt.Errorf("device %s (%s) is open on another disk (%s) than the one with serial %s (%s)", m.Name, m.Number, below.Number, disk.Serial, disk.Number)
	}
	return onTop(*m, disk)
}

// Disk returns the disk on which a device is, without asking the disk, and the device-mapper's name of the device, "" when
// it is the disk itself.
func (l layers) Disk(d device.Device) (disk device.Device, mapper string, err error) {
	m, err := l.MapperAt(d.Number)
	if err != nil || m == nil {
		return d, "", err
	}
	below, err := l.Below(*m)
	if err != nil {
		return device.Device{}, "", err
	}
	below.Serial = d.Serial
	return below, m.Name, nil
}

// DiskSize measures the disk on which a device is.
func (l layers) DiskSize(d device.Device) (int64, error) {
	disk, _, err := l.Disk(d)
	if err != nil {
		return 0, err
	}
	return device.Measure(disk)
}

// Release has on the disk what the kernel still holds of a device that nobody has any more, closes the device when it is
// not the disk itself, and takes back a read-only flag of the disk.
func (l layers) Release(ctx context.Context, d device.Device, patience time.Duration) error {
	disk, mapper, err := l.Disk(d)
	if err != nil {
		return err
	}
	if mapper != "" {
		if err := device.Release(ctx, d, patience); err != nil {
			return err
		}
		if err := l.close(ctx, mapper); err != nil {
			return err
		}
	}
	if err := device.Release(ctx, disk, patience); err != nil {
		return err
	}
	return clearReadOnly(disk)
}

// close closes a device. Whoever just looks at what is on it, as udev does, has it open for a moment.
func (l layers) close(ctx context.Context, mapper string) error {
	if err := step.At(ctx, step.Close); err != nil {
		return err
	}
	return device.UntilFree(ctx, device.Moment, func() error { return l.crypt.Close(ctx, mapper) })
}

func clearReadOnly(d device.Device) error {
	readOnly, err := device.ReadOnly(d)
	if err != nil || !readOnly {
		return err
	}
	return device.SetReadOnly(d, false)
}
