package blockfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Offsets in the superblocks that are read here. Those of ext4 are little-endian and begin at byte 1024, those of
// xfs are big-endian and begin at byte 0 (Linux: fs/ext4/ext4.h struct ext4_super_block, fs/xfs/libxfs/xfs_format.h
// struct xfs_dsb).
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

	xfsBlockSize  = 4
	xfsDataBlocks = 8
	xfsInProgress = 126
	xfsMagicValue = "XFSB"
)

// neverMounted tells whether the file system on the device proves that nobody ever used it: an ext4 that was never
// mounted, or an xfs whose making did not end.
func neverMounted(r io.ReaderAt, fsType string) (bool, error) {
	switch fsType {
	case "ext4":
		sb, err := readExt(r)
		if err != nil {
			return false, err
		}
		return binary.LittleEndian.Uint32(sb[extMountTime:]) == 0 && sb[extMountTimeHigh] == 0 &&
			binary.LittleEndian.Uint16(sb[extMountCount:]) == 0, nil
	case "xfs":
		sb, err := readXFS(r)
		if err != nil {
			return false, err
		}
		return sb[xfsInProgress] != 0, nil
	}
	return false, nil
}

// sizeOnDisk is the size in bytes that the file system's superblock says it has.
func sizeOnDisk(r io.ReaderAt, fsType string) (int64, error) {
	switch fsType {
	case "ext4":
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
	case "xfs":
		sb, err := readXFS(r)
		if err != nil {
			return 0, err
		}
		block := int64(binary.BigEndian.Uint32(sb[xfsBlockSize:]))
		return int64(binary.BigEndian.Uint64(sb[xfsDataBlocks:])) * block, nil //nolint:gosec // below 2^63
	}
	return 0, fmt.Errorf("the size of a %s file system cannot be read", fsType)
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
