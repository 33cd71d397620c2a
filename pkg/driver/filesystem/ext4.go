package filesystem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/longwork"
)

// Offsets in the superblock, which is little-endian and begins at byte 1024 (Linux: fs/ext4/ext4.h, struct
// ext4_super_block).
const (
	extStart         = 1024
	extBlocksLow     = 0x04
	extLogBlockSize  = 0x18
	extMountTime     = 0x2C
	extMountCount    = 0x34
	extMagic         = 0x38
	extIncompat      = 0x60
	extMountTimeHigh = 0x275
	extBlocksHigh    = 0x150
	extIs64Bit       = 0x80
	extMagicValue    = 0xEF53
)

// extRepaired is what e2fsck answers when it found faults and repaired all of them.
const extRepaired = 1

type ext4 struct{}

func (ext4) Name() string { return "ext4" }

// Make discards nothing: the device is blank, and a discard of a large device takes longer than all the rest. No
// blocks are reserved for root: volumes belong to pods. mkfs.ext4 has no guard of its own when nobody can be asked.
func (ext4) Make(devicePath string, w Wish) Tool {
	args := []string{"-m", "0", "-E", "nodiscard", "-O", profile("ext4", "-O", w.Kernel)}
	for option, n := range map[string]int64{"-b": w.Format.BlockSize, "-I": w.Format.InodeSize, "-i": w.Format.BytesPerInode} {
		if n > 0 {
			args = append(args, option, strconv.FormatInt(n, 10))
		}
	}
	args = append(args, devicePath)
	return Tool{Name: "mkfs.ext4", Args: args, Ending: longwork.AtOnce, Limit: makeLimit, howFar: farOfMake}
}

func (ext4) Check(devicePath string) []Tool {
	args := []string{"-p", "-C", "3", devicePath}
	return []Tool{{
		Name: "e2fsck", Args: args, Fine: []int{extRepaired}, Checks: true, Quick: extIsClean,
		Ending: longwork.Late, Limit: checkLimit, tellsPasses: true, instead: byCopy(devicePath, args),
		Advice: fmt.Sprintf("To look at the faults: `e2fsck -fn %[1]s`; to repair them, which can lose data, with a copy of the disk made before: `e2fsck -fy %[1]s`", devicePath),
	}}
}

// GrowMounted has the kernel do it, group by group; what was done stays when the tool ends.
func (ext4) GrowMounted(devicePath, _ string) Tool {
	return Tool{Name: "resize2fs", Args: []string{devicePath}, Ending: longwork.Late}
}

// GrowUnmounted has the file system checked as a whole before, as resize2fs demands. Here resize2fs itself moves
// tables on the device: cut off half-way it leaves a file system that e2fsck cannot always repair by itself.
func (e ext4) GrowUnmounted(devicePath string) []Tool {
	check := e.Check(devicePath)[0]
	check.Args, check.Quick = append([]string{"-f"}, check.Args...), nil
	return []Tool{check, {Name: "resize2fs", Args: []string{"-p", devicePath}, Ending: longwork.Never, howFar: farOfResize}}
}

// RefusesOnline recognises that the kernel wants a capability that the process lacks.
func (ext4) RefusesOnline(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.ExitCode() == 1 &&
		(strings.Contains(err.Error(), "Permission denied") || strings.Contains(err.Error(), "Operation not permitted"))
}

func (ext4) SizeOnDisk(r io.ReaderAt) (int64, error) {
	sb, err := readExt(r)
	if err != nil {
		return 0, err
	}
	blocks := int64(binary.LittleEndian.Uint32(sb[extBlocksLow:]))
	if binary.LittleEndian.Uint32(sb[extIncompat:])&extIs64Bit != 0 {
		blocks |= int64(binary.LittleEndian.Uint32(sb[extBlocksHigh:])) << 32
	}
	block := int64(1024) << binary.LittleEndian.Uint32(sb[extLogBlockSize:])
	return blocks * block, nil
}

// SizeMounted reads the device: the kernel keeps the superblock of a mounted ext4 current in the device's cache.
func (e ext4) SizeMounted(d device.Device, _ string) (int64, error) {
	file, err := device.Open(d, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // only read from
	return e.SizeOnDisk(file)
}

func (ext4) NeverMounted(r io.ReaderAt) (bool, error) {
	sb, err := readExt(r)
	if err != nil {
		return false, err
	}
	return extMounted(sb) == 0 && binary.LittleEndian.Uint16(sb[extMountCount:]) == 0, nil
}

func (ext4) MountOptions() []string { return nil }

// Faults reads what the kernel counted. The count is kept on the device until e2fsck has checked the file system as
// a whole, so errors from before the mount are told apart by their time: those are e2fsck's, which came before.
func (ext4) Faults(d device.Device) string {
	name, err := os.Readlink("/sys/dev/block/" + d.Number.String())
	if err != nil {
		return ""
	}
	dir := filepath.Join("/sys/fs/ext4", filepath.Base(name))
	count, last := readNumber(dir, "errors_count"), readNumber(dir, "last_error_time")
	if count == 0 {
		return "" // the device need not be asked
	}
	mounted := int64(0) // when that cannot be read, every error counts
	if node, err := device.Open(d, os.O_RDONLY); err == nil {
		defer node.Close() //nolint:errcheck // only read from
		if sb, err := readExt(node); err == nil {
			mounted = extMounted(sb)
		}
	}
	return extFaults(count, last, mounted)
}

// extFaults judges errors that were counted, the last one at a time, on a file system that was mounted at another. In the
// second of the mount an error may be an old one or a new one, and counts.
func extFaults(count, last, mounted int64) string {
	if count == 0 || last < mounted {
		return ""
	}
	return fmt.Sprintf("the kernel has counted %d errors", count)
}

func readNumber(dir, name string) int64 {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// extMounted is when it was last mounted, in seconds of Unix time.
func extMounted(sb []byte) int64 {
	return int64(binary.LittleEndian.Uint32(sb[extMountTime:])) | int64(sb[extMountTimeHigh])<<32
}

func readExt(r io.ReaderAt) ([]byte, error) {
	sb := make([]byte, 1024)
	if _, err := r.ReadAt(sb, extStart); err != nil {
		return nil, fmt.Errorf("reading the ext4 superblock: %w", err)
	}
	if binary.LittleEndian.Uint16(sb[extMagic:]) != extMagicValue {
		return nil, errors.New("no ext4 superblock is where it should be")
	}
	return sb, nil
}
