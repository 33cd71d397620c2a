package blockstore

import (
	"math"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// bounds are the sizes in GiB in which the platform sells a disk type.
type bounds struct {
	Min, Max int64
	// Default is what a request without a size gets.
	Default int64
}

// boundsOf returns the bounds of a disk type.
func boundsOf(t volume.DiskType) bounds {
	if t == volume.HDD {
		return bounds{Min: 40, Max: 40000, Default: 40}
	}
	return bounds{Min: 10, Max: 10000, Default: 10}
}

// roundUp chooses the size in whole GiB for a new volume of the type: the smallest that the platform sells and
// that lies in the range, or an OutOfRange error.
func roundUp(t volume.DiskType, c volume.Capacity) (int64, error) {
	b := boundsOf(t)
	if err := checkRange(c); err != nil {
		return 0, err
	}
	wish := wholeGiB(c.Required)
	if c.Required == 0 {
		wish = b.Default
	}
	size := max(wish, b.Min)
	switch {
	case size > b.Max:
		return 0, volume.Errorf(volume.OutOfRange, "%d bytes are wished, the largest %s volume has %d GiB", c.Required, t, b.Max)
	case c.Limit != 0 && size*volume.GiB > c.Limit:
		return 0, volume.Errorf(volume.OutOfRange,
			"the smallest %s volume that holds %d bytes has %d GiB (sizes are whole GiB from %d on), which is more than the limit of %d bytes",
			t, c.Required, size, b.Min, c.Limit)
	}
	return size, nil
}

// grow chooses the size in whole GiB to which a volume must grow, its present size when that is enough.
func grow(t volume.DiskType, present int64, c volume.Capacity) (int64, error) {
	if err := checkRange(c); err != nil {
		return 0, err
	}
	if c.Limit != 0 && present*volume.GiB > c.Limit {
		return 0, volume.Errorf(volume.OutOfRange,
			"the volume has %d GiB, which is more than the limit of %d bytes; volumes cannot shrink", present, c.Limit)
	}
	if present*volume.GiB >= c.Required {
		return present, nil
	}
	return roundUp(t, c)
}

func checkRange(c volume.Capacity) error {
	if c.Required < 0 || c.Limit < 0 {
		return volume.Errorf(volume.OutOfRange, "a size must not be negative (required %d, limit %d bytes)", c.Required, c.Limit)
	}
	if c.Limit != 0 && c.Limit < c.Required {
		return volume.Errorf(volume.OutOfRange, "the limit of %d bytes is below the required %d bytes", c.Limit, c.Required)
	}
	return nil
}

func wholeGiB(bytes int64) int64 {
	if bytes > math.MaxInt64-volume.GiB {
		return math.MaxInt64 / volume.GiB
	}
	return (bytes + volume.GiB - 1) / volume.GiB
}
