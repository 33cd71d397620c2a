package params

import (
	"math"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in   map[string]string
		want Params
		// faults are texts that the error must have, none for success.
		faults []string
	}{
		"nothing":         {nil, Params{volume.Block, volume.NVMe, ""}, nil},
		"official nvme":   {map[string]string{"storage_type": "block", "disk_type": "nvme"}, Params{volume.Block, volume.NVMe, ""}, nil},
		"official hdd":    {map[string]string{"storage_type": "block", "disk_type": "hdd"}, Params{volume.Block, volume.HDD, ""}, nil},
		"legacy hdd":      {map[string]string{"block_type": "storage_opt"}, Params{volume.Block, volume.HDD, ""}, nil},
		"legacy nvme":     {map[string]string{"block_type": "high_perf"}, Params{volume.Block, volume.NVMe, ""}, nil},
		"both agree":      {map[string]string{"block_type": "storage_opt", "disk_type": "hdd"}, Params{volume.Block, volume.HDD, ""}, nil},
		"file system":     {map[string]string{"csi.storage.k8s.io/fstype": "xfs"}, Params{volume.Block, volume.NVMe, "xfs"}, nil},
		"metadata":        {map[string]string{"csi.storage.k8s.io/pvc/name": "data"}, Params{volume.Block, volume.NVMe, ""}, nil},
		"both contradict": {map[string]string{"block_type": "high_perf", "disk_type": "hdd"}, Params{}, []string{"contradict"}},
		"vfs":             {map[string]string{"storage_type": "vfs"}, Params{}, []string{"not supported yet", `"block"`}},
		"empty type":      {map[string]string{"storage_type": ""}, Params{}, []string{"storage_type"}},
		"wrong disk":      {map[string]string{"disk_type": "ssd"}, Params{}, []string{"disk_type", "nvme and hdd"}},
		"wrong block":     {map[string]string{"block_type": "nvme"}, Params{}, []string{"block_type", "high_perf and storage_opt"}},
		"wrong fs":        {map[string]string{"csi.storage.k8s.io/fstype": "ntfs"}, Params{}, []string{"ntfs", "ext4, xfs"}},
		"unknown key":     {map[string]string{"diskType": "hdd"}, Params{}, []string{`"diskType"`, `mean "disk_type"`}},
		"prefix missing":  {map[string]string{"fsType": "xfs"}, Params{}, []string{`"fsType"`, `mean "csi.storage.k8s.io/fstype"`}},
		"all faults":      {map[string]string{"disk_type": "x", "storagetype": "y"}, Params{}, []string{"storagetype", "disk_type"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.in)
			if (err != nil) != (c.faults != nil) || got != c.want {
				t.Fatalf("got %+v, %v", got, err)
			}
			if err == nil {
				return
			}
			if volume.ReasonOf(err) != volume.Invalid {
				t.Errorf("the error has reason %d", volume.ReasonOf(err))
			}
			for _, f := range c.faults {
				if !strings.Contains(err.Error(), f) {
					t.Errorf("%q does not say %q", err, f)
				}
			}
		})
	}
}

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
		got, err := RoundUp(c.disk, c.c)
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
		size, err := RoundUp(disk, c)
		if err != nil {
			return
		}
		b := SizeBounds(disk)
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
		{20, volume.Capacity{Required: 10 * gib, Limit: 15 * gib}, 0, true},
		{20, volume.Capacity{Required: 20001 * gib}, 0, true},
	} {
		got, err := Grow(volume.NVMe, c.present, c.c)
		if got != c.want || (err != nil) != c.fails || (err != nil && volume.ReasonOf(err) != volume.OutOfRange) {
			t.Errorf("Grow(%d, %+v) = %d, %v", c.present, c.c, got, err)
		}
	}
}
