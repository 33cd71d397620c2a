package node_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// TestReadAhead: the kernel reads ahead of a volume as its context says, mounted and raw, also when the disk was plugged in
// again. Without a word it keeps its own figure.
func TestReadAhead(t *testing.T) {
	for name, capability := range map[string]*csi.VolumeCapability{
		"ext4": mountCapability(writer, "ext4"), "xfs": mountCapability(writer, "xfs"), "raw": blockCapability(writer),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			const usual = 128
			set := func(kib int64) { r.must(device.SetReadAhead(r.machine.Device(serial), kib)) }
			set(usual) // a loop device keeps what the test before said
			defer set(usual)
			publish := func(context map[string]string) error {
				_, err := r.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
					VolumeId: volumeID, StagingTargetPath: r.staging, TargetPath: r.target, VolumeCapability: capability,
					PublishContext: publishContext, VolumeContext: context,
				})
				return err
			}
			for _, c := range []struct {
				context map[string]string
				kib     int64
			}{{nil, usual}, {map[string]string{"read_ahead_kb": "2048"}, 2048}, {map[string]string{"read_ahead_kb": "0"}, 0}} {
				r.must(r.stage(capability))
				r.must(publish(c.context))
				if kib, err := device.ReadAhead(r.machine.Device(serial)); err != nil || kib != c.kib {
					t.Errorf("%v: %d KiB are read ahead, %v", c.context, kib, err)
				}
				r.must(r.unpublish(r.target))
				r.must(r.unstage())
			}
			r.must(r.stage(capability))
			want(t, publish(map[string]string{"read_ahead_kb": "much"}), codes.InvalidArgument, "read_ahead_kb", "much", "0 to 65536")
			r.must(r.unstage())
		})
	}
}

// TestReadAheadOfABtrfs: it does not go by its disk, and says so instead of doing nothing.
func TestReadAheadOfABtrfs(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "btrfs")
	r.must(r.stage(capability))
	_, err := r.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, StagingTargetPath: r.staging, TargetPath: r.target, VolumeCapability: capability,
		PublishContext: publishContext, VolumeContext: map[string]string{"read_ahead_kb": "64"},
	})
	want(t, err, codes.InvalidArgument, "read_ahead_kb", "btrfs")
}
