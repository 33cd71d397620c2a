package blockstore

import "github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"

// boundsOf returns the sizes in which the platform sells a disk type.
func boundsOf(t volume.DiskType) volume.Bounds {
	if t == volume.HDD {
		return volume.Bounds{Min: 40, Max: 40000, Default: 40}
	}
	return volume.Bounds{Min: 10, Max: 10000, Default: 10}
}

// roundUp chooses the size in whole GiB for a new volume of the type.
func roundUp(t volume.DiskType, c volume.Capacity) (int64, error) {
	return boundsOf(t).Choose(string(t), c)
}

// grow chooses the size in whole GiB to which a volume must grow, its present size when that is enough.
func grow(t volume.DiskType, present int64, c volume.Capacity) (int64, error) {
	return boundsOf(t).Grow(string(t), present, c)
}
