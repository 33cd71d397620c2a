package blockstage

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// Examine returns what is wrong with a volume on this node, by the paths at which it is or was to be; without any, at every
// place where its disk is mounted. It is NotFound when neither a record nor a disk of the volume is here. It may hang.
//
// It changes nothing and flushes nothing: it is asked every minute.
func (s *Stager) Examine(volumeID string, paths ...string) ([]volume.Condition, error) {
	record, err := s.cfg.State.Staged(volumeID)
	if err != nil {
		return nil, err
	}
	serial := s.serialHere(volumeID, record)
	if serial == "" {
		return nil, volume.Errorf(volume.NotFound, "volume %s is not on this node: it is not staged, and none of the disks has its serial", volumeID)
	}
	table, err := mount.Read()
	if err != nil {
		return nil, err
	}
	var all []volume.Condition
	d, err := s.usedDevice(volumeID, serial, record)
	if err != nil {
		all = append(all, ofDisk(serial, err))
	}
	for _, e := range s.places(table, record, d, paths) {
		if c, wrong := s.ofMount(table, record, d, e); wrong {
			all = append(all, c)
		}
	}
	return all, nil
}

// usedDevice finds the device of a volume that is used: what is open on its disk if it is encrypted, else the disk. Without
// a record, what is open tells.
func (s *Stager) usedDevice(volumeID, serial string, record *state.Staged) (device.Device, error) {
	disk, err := s.layer.Find(serial)
	if err != nil || record != nil && record.Layer == "" {
		return disk, err
	}
	d, err := s.layer.Opened(volumeID, disk)
	if errors.Is(err, errClosed) {
		return disk, nil
	}
	return d, err
}

// serialHere returns the serial of the volume's disk by the record or by the disks that are there, "" if there is neither.
func (s *Stager) serialHere(volumeID string, record *state.Staged) string {
	if record != nil {
		return record.Serial
	}
	for _, serial := range s.layer.Serials() {
		if volume.SerialIsOf(volumeID, serial) {
			return serial
		}
	}
	return ""
}

// ofDisk says what is wrong with a disk that could not be found.
func ofDisk(serial string, err error) volume.Condition {
	reason, words := "DiskNotProven", "the disk cannot be proven to be the volume's, and is not used"
	switch {
	case errors.Is(err, device.ErrNotFound):
		reason, words = "DiskMissing", "the disk is not on this node, although the volume is staged here"
	case errors.Is(err, device.ErrUndecided):
		reason, words = "DiskNotReadable", "the disk does not tell its serial, or has just arrived"
	}
	return volume.Condition{Severity: volume.Inaccessible, Reason: reason, Message: fmt.Sprintf("%s (serial %s): %v", words, serial, err)}
}

// places are the mounts to look at.
func (s *Stager) places(table mount.Table, record *state.Staged, d device.Device, paths []string) mount.Table {
	var all mount.Table
	for _, path := range paths {
		if e, mounted := table.At(path); mounted {
			all = append(all, e)
		}
	}
	if len(paths) > 0 {
		return all
	}
	for _, e := range table {
		if e.Number == d.Number && d.Path != "" || record != nil && record.Number == e.Number.String() {
			all = append(all, e)
		}
	}
	if d.Path != "" {
		all = append(all, nodesOf(table, d)...)
	}
	return all
}

// ofMount says what is wrong with what is mounted at a place: a file system, or the device node that a pod has.
func (s *Stager) ofMount(table mount.Table, record *state.Staged, d device.Device, e mount.Entry) (c volume.Condition, wrong bool) {
	if n, isNode := deviceAt(e.Path); isNode {
		if err := s.goneDevice(record, n); err != nil {
			return unplugged(e.Path, err), true
		}
		return c, false
	}
	if err := s.gone(record, e); err != nil {
		return unplugged(e.Path, err), true
	}
	if d.Path == "" {
		return c, false // what is wrong with the disk is said
	}
	if e.Number.Major != 0 && e.Number != d.Number { // 0 is of a btrfs whose number tells nothing of its disk
		return volume.Condition{Severity: volume.Inaccessible, Reason: "WrongDevice", Message: fmt.Sprintf(
			"at %s device %s is mounted, but the volume's disk (serial %s) is device %s", e.Path, e.Number, d.Serial, d.Number)}, true
	}
	writable := s.writable(record, table, e)
	err := judge(filesystem.Glance, d, e, writable)
	if err == nil {
		return c, false
	}
	c = volume.Condition{Severity: volume.Inaccessible, Reason: "FileSystemFailed", Message: err.Error() +
		". When the pods that use it have ended, it is checked and mounted again"}
	switch {
	case errors.Is(err, unix.EIO), slices.Contains(e.SuperOptions, "shutdown"):
	case writable && readOnlyNow(e):
		c.Severity, c.Reason = volume.Degraded, "BecameReadOnly" // it can still be read
	case faultsOf(d, e) != "":
		c.Severity, c.Reason = volume.Degraded, "FileSystemErrors"
	}
	return c, true
}

func unplugged(path string, err error) volume.Condition {
	return volume.Condition{Severity: volume.Inaccessible, Reason: "DiskUnplugged", Message: fmt.Sprintf(
		"what is at %s is of a disk that was unplugged: %v. When the pods that use it are restarted, they have the volume again", path, err)}
}

// readOnlyNow asks the file system itself as well: kernels differ in what their table of mounts shows.
func readOnlyNow(e mount.Entry) bool {
	var st unix.Statfs_t
	return slices.Contains(e.SuperOptions, "ro") || slices.Contains(e.SuperOptions, "emergency_ro") ||
		unix.Statfs(e.Path, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

func faultsOf(d device.Device, e mount.Entry) string {
	t, err := filesystem.Of(e.FSType)
	if err != nil {
		return ""
	}
	return t.Faults(d)
}
