package params

import (
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
