package node_test

import (
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
)

// TestErrorsNameTheVolume: what is refused names its volume: who reads that in the log of a node has no request beside it.
func TestErrorsNameTheVolume(t *testing.T) {
	r := newRig(t)
	ctx, capability := t.Context(), mountCapability(writer, "ext4")
	want(t, r.stage(mountCapability(writer, "ntfs")), codes.InvalidArgument, volumeID, "ntfs")
	r.machine.Plug("disk", serial, gib)
	want(t, r.publish(capability, r.target, false), codes.FailedPrecondition, volumeID, "nothing is staged", r.staging)
	_, err := r.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: volumeID, StagingTargetPath: "/elsewhere"})
	want(t, err, codes.InvalidArgument, volumeID, "/elsewhere")
	_, err = r.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: volumeID, TargetPath: "pod"})
	want(t, err, codes.InvalidArgument, volumeID, "pod")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	want(t, r.publish(mountCapability(onePod, "ext4"), filepath.Join(r.dir, "second"), false), codes.FailedPrecondition, volumeID, r.target)
	_, err = r.NodeExpandVolume(ctx, &csi.NodeExpandVolumeRequest{
		VolumeId: volumeID, VolumePath: r.target, VolumeCapability: blockCapability(writer), CapacityRange: &csi.CapacityRange{RequiredBytes: gib},
	})
	want(t, err, codes.InvalidArgument, volumeID, r.target)
}
