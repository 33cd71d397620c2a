package params

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// The keys of how the file system of a blank volume is made. A class has them, and the volume context carries them to the
// node under the same names, so that a PersistentVolume that is written by hand can have them too.
const (
	BlockSize     = formatPrefix + "block_size"
	InodeSize     = formatPrefix + "inode_size"
	BytesPerInode = formatPrefix + "bytes_per_inode"
)

// formatPrefix begins those keys and no others.
const formatPrefix = "mkfs_"

// What the tools choose for volumes of the sizes that are sold, when nobody says anything else.
const (
	usualBlock = 4096
	extInode   = 256
	xfsInode   = 512
)

// formatTable is the part of Table that is about the making of file systems.
//
// There is no key for an absolute number of inodes, as a class is for volumes of any size, and they grow. Nor is there one
// for ext4's clusters (bigalloc): resize2fs refuses to grow those.
var formatTable = []Parameter{
	{
		Key: BlockSize, Values: plain([]string{"1024", "2048", "4096"}), For: []string{"ext4", "xfs"}, ForNode: true, Since: "v0.1.0",
		Doc: "bytes of a block (4096 if unset)",
	},
	{
		Key: InodeSize, Values: plain([]string{"256", "512", "1024", "2048"}), For: []string{"ext4", "xfs"}, ForNode: true, Since: "v0.1.0",
		Doc: "bytes of an inode: at most a block (ext4, 256 if unset), at most half a block and at least 512 (xfs, 512 if unset)",
	},
	{
		Key: BytesPerInode, Range: Range{1024, 64 << 20}, For: []string{"ext4"}, ForNode: true, Since: "v0.1.0",
		Doc: "an inode for as many bytes of the volume: at least a block and two inodes' size (16384 if unset, more for volumes of several TB)",
	},
}

// FormatOf reads from a volume context how the file system is to be made. The error is Invalid and names every fault.
func FormatOf(fsType string, volumeContext map[string]string) (volume.Format, error) {
	var faults []string
	set := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(volumeContext)) {
		if !strings.HasPrefix(key, formatPrefix) {
			continue
		}
		p, ok := find(key)
		if !ok {
			faults = append(faults, fmt.Sprintf("unknown key %q: %s", key, hint(key)))
			continue
		}
		w, why := judge(p, key, volumeContext[key])
		if why != "" {
			faults = append(faults, why)
			continue
		}
		set[key] = w.meaning
	}
	f, more := format(fsType, set)
	if faults = append(faults, more...); len(faults) > 0 {
		return volume.Format{}, volume.Errorf(volume.Invalid, "volume context: %s", strings.Join(faults, "; "))
	}
	return f, nil
}

// ForNode picks from the parameters of a class, which were judged, what the node has to know.
func ForNode(parameters map[string]string) map[string]string {
	picked := map[string]string{}
	for key, value := range parameters {
		if p, ok := find(key); ok && p.ForNode && value != "" {
			picked[key] = value
		}
	}
	return picked
}

// format makes a format of values that were judged one by one, and says what is wrong with them together.
func format(fsType string, set map[string]string) (f volume.Format, faults []string) {
	for _, p := range formatTable {
		if fault := p.misplaced(fsType); set[p.Key] != "" && fault != "" {
			faults = append(faults, fault)
			delete(set, p.Key)
		}
	}
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(set[key], 10, 64) // it was judged, and 0 is unset
		return n
	}
	f = volume.Format{BlockSize: number(BlockSize), InodeSize: number(InodeSize), BytesPerInode: number(BytesPerInode)}
	switch fsType {
	case "ext4":
		faults = append(faults, extFaults(f)...)
	case "xfs":
		faults = append(faults, xfsFaults(f)...)
	}
	return f, faults
}

// misplaced says in words that a parameter is not for the file system, "" if it is.
func (p Parameter) misplaced(fsType string) string {
	if slices.Contains(p.For, fsType) {
		return ""
	}
	return fmt.Sprintf("parameter %q is for %s, the file system is %s", p.Key, strings.Join(p.For, " and "), fsType)
}

func extFaults(f volume.Format) (faults []string) {
	block, inode := orNumber(f.BlockSize, usualBlock), orNumber(f.InodeSize, extInode)
	if inode > block {
		faults = append(faults, fmt.Sprintf("parameter %q: %d is more than a block, which has %d bytes (%q)", InodeSize, inode, block, BlockSize))
	}
	if least := max(block, 2*inode); f.BytesPerInode > 0 && f.BytesPerInode < least {
		faults = append(faults, fmt.Sprintf("parameter %q: %d is too few, valid are %d and more with blocks of %d bytes and inodes of %d (%q, %q)",
			BytesPerInode, f.BytesPerInode, least, block, inode, BlockSize, InodeSize))
	}
	return faults
}

func xfsFaults(f volume.Format) (faults []string) {
	block, inode := orNumber(f.BlockSize, usualBlock), orNumber(f.InodeSize, xfsInode)
	if inode < xfsInode || 2*inode > block {
		faults = append(faults, fmt.Sprintf("parameter %q: %d is not possible with xfs and blocks of %d bytes (%q), valid are %d to %d", InodeSize, inode, block, BlockSize, xfsInode, block/2))
	}
	return faults
}

func orNumber(n, fallback int64) int64 {
	if n == 0 {
		return fallback
	}
	return n
}
