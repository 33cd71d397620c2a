package blockstore

import (
	"math"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

func TestRoundUp(t *testing.T) {
	const gib = volume.GiB
	for _, c := range []struct {
		disk  volume.DiskType
		c     volume.Capacity
		want  int64
		fails bool
	}{
		{volume.NVMe, volume.Capacity{}, 10, false},
		{volume.HDD, volume.Capacity{}, 40, false},
		{volume.NVMe, volume.Capacity{Required: 1}, 10, false},
		{volume.NVMe, volume.Capacity{Required: 10*gib + 1}, 11, false},
		{volume.NVMe, volume.Capacity{Required: 12 * gib}, 12, false},
		{volume.HDD, volume.Capacity{Required: 12 * gib}, 40, false},
		{volume.NVMe, volume.Capacity{Required: 10*gib + 1, Limit: 11*gib - 1}, 0, true},
		{volume.NVMe, volume.Capacity{Limit: 5 * gib}, 0, true},
		{volume.HDD, volume.Capacity{Required: 12 * gib, Limit: 39 * gib}, 0, true},
		{volume.NVMe, volume.Capacity{Required: 10000 * gib}, 10000, false},
		{volume.NVMe, volume.Capacity{Required: 10000*gib + 1}, 0, true},
		{volume.HDD, volume.Capacity{Required: 40001 * gib}, 0, true},
		{volume.NVMe, volume.Capacity{Required: math.MaxInt64}, 0, true},
		{volume.NVMe, volume.Capacity{Required: -1}, 0, true},
		{volume.NVMe, volume.Capacity{Required: 12 * gib, Limit: 11 * gib}, 0, true},
	} {
		got, err := roundUp(c.disk, c.c)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("RoundUp(%s, %+v) = %d, %v", c.disk, c.c, got, err)
		}
		if err != nil && volume.ReasonOf(err) != volume.OutOfRange {
			t.Errorf("RoundUp(%s, %+v) fails with reason %d", c.disk, c.c, volume.ReasonOf(err))
		}
	}
}

// FuzzRoundUp proves that a size that is chosen lies in the range and in the bounds, whatever is asked for.
func FuzzRoundUp(f *testing.F) {
	f.Add(int64(10<<30), int64(0), true)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), false)
	f.Fuzz(func(t *testing.T, required, limit int64, hdd bool) {
		disk := volume.NVMe
		if hdd {
			disk = volume.HDD
		}
		c := volume.Capacity{Required: required, Limit: limit}
		size, err := roundUp(disk, c)
		if err != nil {
			return
		}
		b := boundsOf(disk)
		if size < b.Min || size > b.Max || !c.Holds(size*volume.GiB) {
			t.Errorf("RoundUp(%s, %+v) = %d", disk, c, size)
		}
		if smaller := size - 1; smaller >= b.Min && required > 0 && c.Holds(smaller*volume.GiB) {
			t.Errorf("RoundUp(%s, %+v) = %d, but %d is enough", disk, c, size, smaller)
		}
	})
}

func TestGrow(t *testing.T) {
	const gib = volume.GiB
	for _, c := range []struct {
		present int64
		c       volume.Capacity
		want    int64
		fails   bool
	}{
		{10, volume.Capacity{Required: 20 * gib}, 20, false},
		{20, volume.Capacity{Required: 20 * gib}, 20, false},
		{20, volume.Capacity{Required: 10 * gib}, 20, false},
		{20, volume.Capacity{}, 20, false},
		{20, volume.Capacity{Required: 20 * gib, Limit: 20 * gib}, 20, false},
		{12000, volume.Capacity{Required: 12000 * gib}, 12000, false}, // larger than what is sold today, and large enough
		{20, volume.Capacity{Required: 10 * gib, Limit: 15 * gib}, 0, true},
		{20, volume.Capacity{Required: 20001 * gib}, 0, true},
	} {
		got, err := grow(volume.NVMe, c.present, c.c)
		if got != c.want || (err != nil) != c.fails || (err != nil && volume.ReasonOf(err) != volume.OutOfRange) {
			t.Errorf("Grow(%d, %+v) = %d, %v", c.present, c.c, got, err)
		}
	}
}

// TestExactSize: a request whose least and largest size are the same is met by that size.
func TestExactSize(t *testing.T) {
	for kind, sizes := range map[volume.DiskType][]int64{volume.NVMe: {10, 11, 10000}, volume.HDD: {40, 41, 40000}} {
		for _, size := range sizes {
			got, err := roundUp(kind, volume.Capacity{Required: size * volume.GiB, Limit: size * volume.GiB})
			if got != size || err != nil {
				t.Errorf("%s of %d GiB: got %d, %v", kind, size, got, err)
			}
		}
	}
}
