package blockstage

import (
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// protect makes the kernel refuse every write to the device of a file system that is staged read-only: a read-only mount
// keeps nobody from writing to the device, or from mounting it to be written to. It comes after the mount, which may have to
// replay the file system's log. Unstage takes it back.
func protect(d device.Device, u staging.Use) error {
	if !u.ReadOnly {
		return nil
	}
	is, err := device.ReadOnly(d)
	if err != nil || is {
		return err
	}
	return device.SetReadOnly(d, true)
}

// unprotect undoes protect before a device is probed and mounted, for a process that was killed before it could. It is not
// undone under those who have the device.
func unprotect(d device.Device, u staging.Use) error {
	is, err := device.ReadOnly(d)
	if err != nil || !is {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	users := append(table.Of(d.Number), nodesOf(table, d)...)
	switch {
	case len(users) == 0:
		return device.SetReadOnly(d, false)
	case u.ReadOnly:
		return nil
	}
	return volume.Errorf(volume.InUse, "%s is used read-only at %s and cannot be staged to be written to", describe(d), strings.Join(users.Paths(), ", "))
}
