package node_test

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestSerialFollowsFromTheVolume: the publish context of another volume is refused, before anything is looked at.
func TestSerialFollowsFromTheVolume(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.machine.Plug("other", other, gib)
	for _, capability := range []*csi.VolumeCapability{mountCapability(writer, "ext4"), blockCapability(writer)} {
		req := r.stageRequest(capability)
		req.PublishContext = map[string]string{"mount_vol_name": other}
		_, err := r.NodeStageVolume(t.Context(), req)
		want(t, err, codes.InvalidArgument, other, volumeID)
		r.must(r.stage(capability))
		_, err = r.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{
			VolumeId: volumeID, StagingTargetPath: r.staging, TargetPath: r.target, VolumeCapability: capability,
			PublishContext: map[string]string{"mount_vol_name": other},
		})
		want(t, err, codes.InvalidArgument, other, volumeID)
		r.must(r.unstage())
	}
}

// TestStagedFromAnotherDisk: a volume that is staged from one disk is not staged from another one as well, whatever
// form the serials have.
func TestStagedFromAnotherDisk(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.state.WriteStaged(state.Staged{VolumeID: volumeID, Serial: "of-another-form", Block: true}))
	want(t, r.stage(blockCapability(writer)), codes.FailedPrecondition, "of-another-form", serial)
	want(t, r.publish(blockCapability(writer), r.target, false), codes.FailedPrecondition, "of-another-form", serial)
}

// TestSourceInThePublishContext: the controller says in both contexts that a volume was made from something.
func TestSourceInThePublishContext(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	before := r.sum()
	req := r.stageRequest(mountCapability(writer, "ext4"))
	req.PublishContext = map[string]string{"mount_vol_name": serial, volume.ContextContentSource: "snapshot"}
	_, err := r.NodeStageVolume(t.Context(), req)
	want(t, err, codes.FailedPrecondition, "source")
	if r.sum() != before {
		t.Error("the disk was written to")
	}
}
