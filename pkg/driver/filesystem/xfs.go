package filesystem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// Offsets in the superblock, which is big-endian and begins at byte 0 (Linux: fs/xfs/libxfs/xfs_format.h, struct
// xfs_dsb).
const (
	xfsBlockSize  = 4
	xfsDataBlocks = 8
	xfsInProgress = 126
	xfsMagicValue = "XFSB"
)

type xfs struct{}

func (xfs) Name() string { return "xfs" }

// Make discards nothing, as with ext4.
func (xfs) Make(devicePath string, w Wish) Tool {
	args := []string{"-K", "-m", profile("xfs", "-m", w.Kernel), "-i", profile("xfs", "-i", w.Kernel)}
	for option, n := range map[string]int64{"-b": w.Format.BlockSize, "-i": w.Format.InodeSize} {
		if n > 0 {
			args = append(args, option, "size="+strconv.FormatInt(n, 10))
		}
	}
	args = append(args, devicePath)
	if w.Overwrite {
		args = append([]string{"-f"}, args...)
	}
	return Tool{Name: "mkfs.xfs", Args: args, Ending: longwork.AtOnce, Limit: makeLimit}
}

// Check is nothing: xfs replays its log when it is mounted, and its repair tool is for people.
func (xfs) Check(string) []Tool { return nil }

func (xfs) GrowMounted(_, mountPath string) Tool {
	return Tool{Name: "xfs_growfs", Args: []string{mountPath}, Ending: longwork.Late}
}

func (xfs) GrowUnmounted(string) []Tool { return nil }

func (xfs) RefusesOnline(error) bool { return false }

func (xfs) SizeOnDisk(r io.ReaderAt) (int64, error) {
	sb, err := readXFS(r)
	if err != nil {
		return 0, err
	}
	block := int64(binary.BigEndian.Uint32(sb[xfsBlockSize:]))
	return int64(binary.BigEndian.Uint64(sb[xfsDataBlocks:])) * block, nil //nolint:gosec // below 2^63
}

// xfsGeometry is the beginning of the kernel's struct xfs_fsop_geom; xfsGeometryRequest is XFS_IOC_FSGEOMETRY.
type xfsGeometry struct {
	BlockSize  uint32
	_          [7]uint32
	DataBlocks uint64
	_          [216]byte
}

const xfsGeometryRequest = 0x8100587e

// SizeMounted asks the kernel: the superblock on the device is written late.
func (xfs) SizeMounted(_ device.Device, mountPath string) (int64, error) {
	dir, err := os.Open(mountPath) //nolint:gosec // a path that the caller manages
	if err != nil {
		return 0, err
	}
	defer dir.Close() //nolint:errcheck // only read from
	var g xfsGeometry
	//nolint:gosec // the kernel fills the structure, whose size is part of the request's number
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), xfsGeometryRequest, uintptr(unsafe.Pointer(&g))); errno != 0 {
		return 0, fmt.Errorf("asking for the size of the xfs at %s: %w", mountPath, errno)
	}
	return int64(g.DataBlocks) * int64(g.BlockSize), nil //nolint:gosec // below 2^63
}

// NeverMounted recognises an xfs whose making did not end.
func (xfs) NeverMounted(r io.ReaderAt) (bool, error) {
	sb, err := readXFS(r)
	if err != nil {
		return false, err
	}
	return sb[xfsInProgress] != 0, nil
}

// MountOptions has nouuid: a restored or copied volume has the UUID of its source, which may be mounted here as well.
func (xfs) MountOptions() []string { return []string{"nouuid"} }

// Faults is nothing: xfs keeps no count, it shuts down, which every look at it shows.
func (xfs) Faults(device.Device) string { return "" }

func readXFS(r io.ReaderAt) ([]byte, error) {
	sb := make([]byte, 512)
	if _, err := r.ReadAt(sb, 0); err != nil {
		return nil, fmt.Errorf("reading the xfs superblock: %w", err)
	}
	if string(sb[:4]) != xfsMagicValue {
		return nil, errors.New("no xfs superblock is where it should be")
	}
	return sb, nil
}
