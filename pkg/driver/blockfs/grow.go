package blockfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/step"
)

// ErrOnline says that the kernel refuses to grow a mounted file system of this type here.
var ErrOnline = errors.New("the kernel refuses to grow it while it is mounted")

// slack is how much smaller than its device a file system may be without being grown: the rest of a block group
// that is too small to be used (ext4) or of an allocation group (xfs).
const slack = 64 << 20

// Sizes are what was measured of a device and the file system on it.
type Sizes struct{ Device, FileSystem int64 }

// CanGrow tells whether the file system leaves room unused that it could use.
func (s Sizes) CanGrow() bool { return s.Device-s.FileSystem >= slack }

// Measure reads the sizes of the device and of the file system on it from the device itself. The kernel keeps the
// superblock of a mounted ext4 current in the device's cache; for a mounted xfs see MeasureMounted.
func Measure(d device.Device, fsType string) (Sizes, error) {
	file, err := device.Open(d, os.O_RDONLY)
	if err != nil {
		return Sizes{}, err
	}
	defer file.Close() //nolint:errcheck // only read from
	size, err := device.SizeOf(file)
	if err != nil {
		return Sizes{}, err
	}
	fs, err := sizeOnDisk(file, fsType)
	return Sizes{Device: size, FileSystem: fs}, err
}

// GrowMounted grows a mounted file system to its device. ErrOnline means that it has to be unmounted for that.
func GrowMounted(ctx context.Context, d device.Device, mountPath, fsType string) error {
	if err := step.At(ctx, step.Grow); err != nil {
		return err
	}
	switch fsType {
	case "xfs":
		return run(ctx, "xfs_growfs", mountPath)
	case "ext4":
		err := run(ctx, "resize2fs", d.Path)
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 && mentionsPermission(err) {
			return fmt.Errorf("%w: %w", ErrOnline, err)
		}
		return err
	}
	return fmt.Errorf("no tool grows a %s file system", fsType)
}

// GrowUnmounted grows an ext4 that is not mounted. It has to be checked as a whole before, which takes its time
// on a large one: GrowMounted is tried first.
func GrowUnmounted(ctx context.Context, d device.Device, fsType string) error {
	if fsType != "ext4" {
		return fmt.Errorf("%s grows only while it is mounted", fsType)
	}
	err := run(ctx, "e2fsck", "-f", "-p", d.Path)
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		return err
	}
	return run(ctx, "resize2fs", d.Path)
}

// mentionsPermission tells whether resize2fs failed because the kernel wants a capability that the process lacks.
func mentionsPermission(err error) bool {
	return strings.Contains(err.Error(), "Permission denied") || strings.Contains(err.Error(), "Operation not permitted")
}

// MeasureMounted is Measure for a file system that is mounted at the path.
func MeasureMounted(d device.Device, path, fsType string) (Sizes, error) {
	if fsType != "xfs" {
		return Measure(d, fsType)
	}
	size, err := device.Measure(d)
	if err != nil {
		return Sizes{}, err
	}
	fs, err := xfsSize(path)
	return Sizes{Device: size, FileSystem: fs}, err
}

// xfsGeometry is the beginning of the kernel's struct xfs_fsop_geom; xfsGeometryRequest is XFS_IOC_FSGEOMETRY.
type xfsGeometry struct {
	BlockSize  uint32
	_          [7]uint32
	DataBlocks uint64
	_          [216]byte
}

const xfsGeometryRequest = 0x8100587e

// xfsSize asks the kernel: the superblock on the device is written late.
func xfsSize(path string) (int64, error) {
	dir, err := os.Open(path) //nolint:gosec // a path that the caller manages
	if err != nil {
		return 0, err
	}
	defer dir.Close() //nolint:errcheck // only read from
	var g xfsGeometry
	//nolint:gosec // the kernel fills the structure, whose size is part of the request's number
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), xfsGeometryRequest, uintptr(unsafe.Pointer(&g))); errno != 0 {
		return 0, fmt.Errorf("asking for the size of the xfs at %s: %w", path, errno)
	}
	return int64(g.DataBlocks) * int64(g.BlockSize), nil //nolint:gosec // below 2^63
}
