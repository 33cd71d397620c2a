package mount

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// A btrfs can be on several disks, so the kernel shows its mounts with a number of the file system's own, which belongs
// to no disk (its major number is 0). Which disk it is on is found out in two steps, neither of which asks the disk, so
// that they work when it is gone, and cannot hang: the file system at the mount's path tells its ID, and the kernel's
// directory of that ID names the disk. The kernel gives a copy of a mounted btrfs an ID of its own for as long as it is
// mounted (Linux 6.7), so two copies are told apart.

// sysfsBtrfs has a directory for each btrfs that is mounted.
const sysfsBtrfs = "/sys/fs/btrfs"

// disk is the disk that a file system is on.
type disk struct {
	number device.Number
	// lost is set when there is no such disk any more.
	lost bool
}

// nameDisks puts the number of its disk in the place of each btrfs' own number. One whose disk cannot be found out, such as
// one on several disks, keeps its own.
func (t Table) nameDisks(sysfs string) {
	disks := map[device.Number]disk{}
	for _, e := range t {
		if _, known := disks[e.Number]; known || !e.ownNumber() {
			continue
		}
		if id, ok := e.fileSystemID(); ok {
			if d, ok := diskOf(sysfs, id); ok {
				disks[e.Number] = d
			}
		}
	}
	for i := range t {
		if d, ok := disks[t[i].Number]; ok && t[i].ownNumber() {
			t[i].Lost = d.lost
			if !d.lost {
				t[i].Number = d.number
			}
		}
	}
}

// ownNumber reports whether the number is none of a disk.
func (e Entry) ownNumber() bool { return e.FSType == "btrfs" && e.Number.Major == 0 }

// fileSystemID is the ID that the kernel derives from the UUID of a btrfs: statfs mixes it with the ID of the subvolume
// that is mounted. It is false when the path does not lead to this mount, because another one covers it, or cannot be asked.
func (e Entry) fileSystemID() (uint64, bool) {
	fd, err := unix.Open(e.Path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd) //nolint:errcheck // only looked at
	var at unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &at)
	if err != nil || at.Mask&unix.STATX_MNT_ID == 0 || at.Mnt_id != uint64(e.id) { //nolint:gosec // a mount's ID is positive
		return 0, false
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil || st.Type != unix.BTRFS_SUPER_MAGIC {
		return 0, false
	}
	subvolume, ok := e.subvolume()
	return (uint64(uint32(st.Fsid.Val[0]))<<32 | uint64(uint32(st.Fsid.Val[1]))) ^ subvolume, ok //nolint:gosec // the bits count
}

// subvolume is the ID of the subvolume that is mounted.
func (e Entry) subvolume() (uint64, bool) {
	for _, o := range e.SuperOptions {
		if text, ok := strings.CutPrefix(o, "subvolid="); ok {
			id, err := strconv.ParseUint(text, 10, 64)
			return id, err == nil
		}
	}
	return 0, false
}

// diskOf returns the only disk of the btrfs with the ID.
func diskOf(sysfs string, id uint64) (disk, bool) {
	entries, err := os.ReadDir(sysfs)
	if err != nil {
		return disk{}, false
	}
	for _, e := range entries {
		if uuid, err := hex.DecodeString(strings.ReplaceAll(e.Name(), "-", "")); err != nil || len(uuid) != 16 || mix(uuid) != id {
			continue
		}
		links := filepath.Join(sysfs, e.Name(), "devices")
		disks, err := os.ReadDir(links)
		if err != nil || len(disks) != 1 {
			return disk{}, false
		}
		raw, err := os.ReadFile(filepath.Join(links, disks[0].Name(), "dev")) //nolint:gosec // in sysfs
		if errors.Is(err, os.ErrNotExist) {
			return disk{lost: true}, true // the link leads nowhere: the disk was taken from the kernel
		}
		if err != nil {
			return disk{}, false
		}
		number, err := device.ParseNumber(string(raw))
		return disk{number: number}, err == nil
	}
	return disk{}, false
}

// mix makes the ID of a file system of its UUID, as btrfs does (Linux: fs/btrfs/super.c, btrfs_statfs).
func mix(uuid []byte) uint64 {
	return binary.BigEndian.Uint64(uuid[:8]) ^ binary.BigEndian.Uint64(uuid[8:])
}

// forgetBtrfs makes the kernel forget what it knows of a btrfs on a device that is not mounted, and reports whether there was
// anything.
//
// It keeps such a note, by the number of the device, of one that could not be opened for a mount because something else had it,
// and of the disks of a btrfs on several. Where another disk gets the number later, and on that is a copy of a btrfs that is
// mounted, the kernel (6.18 does) takes the note for the copy's: the mount is refused as invalid, or as the second one of a UUID.
func forgetBtrfs(ctx context.Context, dev string) bool {
	return exec.CommandContext(ctx, "btrfs", "device", "scan", "--forget", dev).Run() == nil //nolint:gosec // a constant, and a device that was proven
}
