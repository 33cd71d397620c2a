// Package params judges the parameters of a StorageClass and the size of a volume. It is one table of rules:
// what it does not list is refused by name.
package params

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// The keys of a StorageClass.
const (
	StorageType = "storage_type"
	DiskType    = "disk_type"
	BlockType   = "block_type" // the former spelling of DiskType, with the API's values
	FSType      = "csi.storage.k8s.io/fstype"
)

// metadata are keys that the provisioner adds by itself when told to; they carry no wish.
var metadata = []string{
	"csi.storage.k8s.io/pvc/name",
	"csi.storage.k8s.io/pvc/namespace",
	"csi.storage.k8s.io/pv/name",
}

// known are the keys that a user may write, for finding the nearest to a wrong one.
var known = []string{StorageType, DiskType, BlockType, FSType}

// FileSystems are the file systems that the node can make and mount, the default first.
var FileSystems = []string{"ext4", "xfs"}

// Params is what the parameters of a StorageClass ask for.
type Params struct {
	Kind volume.Kind
	Type volume.DiskType
	// FSType is "" when the class leaves it open.
	FSType string
}

// Parse judges parameters. The error names every fault, each with the key and what would be valid.
func Parse(parameters map[string]string) (Params, error) {
	p := Params{Kind: volume.Block, Type: volume.NVMe}
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	for _, key := range sortedKeys(parameters) {
		if !slices.Contains(known, key) && !slices.Contains(metadata, key) {
			fault("unknown parameter %q: did you mean %q?", key, nearest(key, known))
		}
	}
	if v, ok := parameters[StorageType]; ok && v != string(volume.Block) {
		if v == "vfs" {
			fault("parameter %q: %q (shared file systems) is not supported yet by this version, only %q is", StorageType, v, volume.Block)
		} else {
			fault("parameter %q: %q is not a storage type, valid is %q", StorageType, v, volume.Block)
		}
	}
	p.Type = parseDisk(parameters, fault)
	if v, ok := parameters[FSType]; ok {
		if v != "" && !slices.Contains(FileSystems, v) {
			fault("parameter %q: %q is not supported, valid are %s", FSType, v, strings.Join(FileSystems, ", "))
		}
		p.FSType = v
	}
	if len(faults) > 0 {
		return Params{}, volume.Errorf(volume.Invalid, "%s", strings.Join(faults, "; "))
	}
	return p, nil
}

// parseDisk reads the two spellings of the disk type, which must not contradict each other.
func parseDisk(parameters map[string]string, fault func(string, ...any)) volume.DiskType {
	disk, diskSet := parameters[DiskType]
	block, blockSet := parameters[BlockType]
	byDisk := map[string]volume.DiskType{"nvme": volume.NVMe, "hdd": volume.HDD}
	byBlock := map[string]volume.DiskType{"high_perf": volume.NVMe, "storage_opt": volume.HDD}
	if diskSet && byDisk[disk] == "" {
		fault("parameter %q: %q is not a disk type, valid are nvme and hdd", DiskType, disk)
	}
	if blockSet && byBlock[block] == "" {
		fault("parameter %q: %q is not a block type, valid are high_perf and storage_opt", BlockType, block)
	}
	switch {
	case diskSet && blockSet && byDisk[disk] != byBlock[block]:
		fault("parameters %q: %q and %q: %q contradict each other; %q is enough", DiskType, disk, BlockType, block, DiskType)
	case diskSet:
		return byDisk[disk]
	case blockSet:
		return byBlock[block]
	}
	return volume.NVMe
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearest is the candidate that takes the fewest edits, case and the two common separators not counted.
func nearest(word string, candidates []string) string {
	fold := func(s string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)) }
	best, bestDistance := "", -1
	for _, c := range candidates {
		// The part after a slash alone is what people write when they forget the prefix.
		short := c[strings.LastIndex(c, "/")+1:]
		d := min(distance(fold(word), fold(c)), distance(fold(word), fold(short)))
		if bestDistance < 0 || d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of single-character edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
