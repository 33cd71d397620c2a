package node_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

// TestAmounts: bytes of everything, inodes where the file system has a number of them, and no use of a device.
func TestAmounts(t *testing.T) {
	for name, c := range map[string]struct {
		capability *csi.VolumeCapability
		inodes     bool
	}{
		"ext4":  {mountCapability(writer, "ext4"), true},
		"xfs":   {mountCapability(writer, "xfs"), true},
		"btrfs": {mountCapability(writer, "btrfs"), false},
		"raw":   {blockCapability(writer), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			r.must(r.stage(c.capability))
			r.must(r.publish(c.capability, r.target, false))
			measure := func(path string) ([]*csi.VolumeUsage, error) {
				resp, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: path})
				return resp.GetUsage(), err
			}
			usage, err := measure(r.target)
			r.must(err)
			if len(usage) != map[bool]int{true: 2, false: 1}[c.inodes] {
				t.Fatalf("it is %v", usage)
			}
			raw := c.capability.GetBlock() != nil
			if b := usage[0]; b.GetUnit() != csi.VolumeUsage_BYTES || b.GetTotal() < gib*3/4 || b.GetTotal() > gib || raw && b.GetTotal() != gib || raw == (b.GetAvailable()+b.GetUsed() > 0) {
				t.Errorf("the bytes are %v", b)
			}
			if c.inodes {
				if i := usage[1]; i.GetUnit() != csi.VolumeUsage_INODES || i.GetUsed() == 0 || i.GetAvailable() == 0 || i.GetTotal() != i.GetUsed()+i.GetAvailable() {
					t.Errorf("the inodes are %v", i)
				}
			}
			_, err = measure(r.target + "-none")
			want(t, err, codes.NotFound, "there is nothing")
		})
	}
}
