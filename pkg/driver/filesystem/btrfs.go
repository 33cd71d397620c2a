package filesystem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// Offsets in the first superblock, which is little-endian and begins at byte 65536 (Linux: include/uapi/linux/
// btrfs_tree.h, struct btrfs_super_block).
const (
	btrfsStart      = 64 << 10
	btrfsMagic      = 0x40
	btrfsTotalBytes = 0x70
	btrfsMagicValue = "_BHRfS_M"
)

type btrfs struct{}

func (btrfs) Name() string { return "btrfs" }

// Make discards nothing, as with ext4. Metadata is kept twice on the one disk: a copy that fails its checksum is repaired
// from the other. mkfs.btrfs writes the magic number last, so what is cut off is recognised by nobody.
func (btrfs) Make(devicePath string, w Wish) Tool {
	args := []string{"-K", "-m", "dup", "-d", "single", "-O", profile("btrfs", "-O", w.Kernel), "-R", profile("btrfs", "-R", w.Kernel), devicePath}
	if w.Overwrite {
		args = append([]string{"-f"}, args...)
	}
	return Tool{Name: "mkfs.btrfs", Args: args, Ending: longwork.AtOnce, Limit: makeLimit}
}

// Check is nothing: btrfs replays its log when it is mounted and repairs what it reads from the second copy. `btrfs check`
// reads all of the metadata, and what its --repair does can lose everything: that is for people, with a copy of the disk.
func (btrfs) Check(string) []Tool { return nil }

// GrowMounted has the kernel do it in one transaction.
func (btrfs) GrowMounted(_, mountPath string) Tool {
	return Tool{Name: "btrfs", Args: []string{"filesystem", "resize", "max", mountPath}, Ending: longwork.Late}
}

func (btrfs) GrowUnmounted(string) []Tool { return nil }

func (btrfs) RefusesOnline(error) bool { return false }

func (btrfs) SizeOnDisk(r io.ReaderAt) (int64, error) {
	sb, err := readBtrfs(r)
	if err != nil {
		return 0, err
	}
	return int64(binary.LittleEndian.Uint64(sb[btrfsTotalBytes:])), nil //nolint:gosec // below 2^63
}

// The beginnings of the kernel's structs btrfs_ioctl_fs_info_args and btrfs_ioctl_dev_info_args, and the numbers of the
// requests BTRFS_IOC_FS_INFO and BTRFS_IOC_DEV_INFO.
type (
	btrfsInfo struct {
		MaxID, Devices uint64
		_              [1008]byte
	}
	btrfsDevice struct {
		ID         uint64
		_          [24]byte
		TotalBytes uint64
		_          [4056]byte
	}
)

const (
	btrfsInfoRequest   = 0x8400941f
	btrfsDeviceRequest = 0xd000941e
)

// SizeMounted asks the kernel, as with xfs.
func (btrfs) SizeMounted(_ device.Device, mountPath string) (int64, error) {
	dir, err := os.Open(mountPath) //nolint:gosec // a path that the caller manages
	if err != nil {
		return 0, err
	}
	defer dir.Close() //nolint:errcheck // only read from
	var info btrfsInfo
	//nolint:gosec // the kernel fills the structure, whose size is part of the request's number
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), btrfsInfoRequest, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return 0, fmt.Errorf("asking for the disks of the btrfs at %s: %w", mountPath, errno)
	}
	if info.Devices != 1 {
		return 0, fmt.Errorf("the btrfs at %s is on %d disks, a volume is one", mountPath, info.Devices)
	}
	d := btrfsDevice{ID: info.MaxID}
	//nolint:gosec // as above
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), btrfsDeviceRequest, uintptr(unsafe.Pointer(&d))); errno != 0 {
		return 0, fmt.Errorf("asking for the size of the btrfs at %s: %w", mountPath, errno)
	}
	return int64(d.TotalBytes), nil //nolint:gosec // below 2^63
}

// NeverMounted proves nothing: what mkfs.btrfs has finished looks as if it had been mounted, and what it has not finished is
// no btrfs yet.
func (btrfs) NeverMounted(r io.ReaderAt) (bool, error) {
	_, err := readBtrfs(r)
	return false, err
}

func (btrfs) MountOptions() []string { return nil }

// Faults is nothing: what btrfs cannot get over it makes read-only, which every look at it shows. Its counters of device
// errors are kept from mount to mount, and count also what it repaired: Counted is for people.
func (btrfs) Faults(device.Device) string { return "" }

// Counted reads the counters of errors that the device had, which are kept with the file system, "" when all are zero.
func (btrfs) Counted(d device.Device) string {
	name, err := os.Readlink("/sys/dev/block/" + d.Number.String())
	if err != nil {
		return ""
	}
	uses, err := filepath.Glob("/sys/fs/btrfs/*/devices/" + filepath.Base(name))
	if err != nil || len(uses) != 1 {
		return ""
	}
	stats, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(uses[0])), "devinfo", "*", "error_stats"))
	if err != nil || len(stats) != 1 {
		return "" // before Linux 5.14
	}
	raw, err := os.ReadFile(stats[0])
	if err != nil {
		return ""
	}
	return countsIn(string(raw))
}

// countsIn picks the counters that are not zero.
func countsIn(stats string) string {
	var counts []string
	for line := range strings.Lines(stats) {
		if name, count, ok := strings.Cut(strings.TrimSpace(line), " "); ok && count != "0" {
			counts = append(counts, name+" "+count)
		}
	}
	return strings.Join(counts, ", ")
}

func readBtrfs(r io.ReaderAt) ([]byte, error) {
	sb := make([]byte, 4096)
	if _, err := r.ReadAt(sb, btrfsStart); err != nil {
		return nil, fmt.Errorf("reading the btrfs superblock: %w", err)
	}
	if string(sb[btrfsMagic:][:len(btrfsMagicValue)]) != btrfsMagicValue {
		return nil, errors.New("no btrfs superblock is where it should be")
	}
	return sb, nil
}
