package blockstage

import (
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// protect makes the kernel refuse every write to the device of a file system that is staged read-only, and to its disk: a
// read-only mount keeps nobody from writing to the device, or from mounting it to be written to. It comes after the mount,
// which may have to replay the file system's log. Unstage takes it back.
func (s *Stager) protect(d device.Device, u staging.Use) error {
	if !u.ReadOnly {
		return nil
	}
	all, err := s.withDisk(d)
	if err != nil {
		return err
	}
	for _, d := range all {
		is, err := device.ReadOnly(d)
		if err == nil && !is {
			err = device.SetReadOnly(d, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withDisk lists a device and, if it is not its disk, the disk.
func (s *Stager) withDisk(d device.Device) ([]device.Device, error) {
	disk, mapper, err := s.layer.Disk(d)
	if err != nil || mapper == "" {
		return []device.Device{d}, err
	}
	return []device.Device{d, disk}, nil
}

// unprotect undoes protect before a device is probed and mounted, for a process that was killed before it could. It is not
// undone under those who have the device.
func (s *Stager) unprotect(d device.Device, u staging.Use) error {
	all, err := s.withDisk(d)
	if err != nil {
		return err
	}
	var protected []device.Device
	for _, d := range all {
		is, err := device.ReadOnly(d)
		if err != nil {
			return err
		}
		if is {
			protected = append(protected, d)
		}
	}
	if len(protected) == 0 {
		return nil
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	if users := append(table.Of(d.Number), nodesOf(table, d)...); len(users) > 0 {
		if u.ReadOnly {
			return nil
		}
		return volume.Errorf(volume.InUse, "%s is used read-only at %s and cannot be staged to be written to", describe(d), strings.Join(users.Paths(), ", "))
	}
	for _, d := range protected {
		if err := device.SetReadOnly(d, false); err != nil {
			return err
		}
	}
	return nil
}
