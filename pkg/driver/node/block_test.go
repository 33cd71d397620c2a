package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// TestBlockWritesNoByte: the life of a raw block volume leaves what is on the disk as it is, whatever it is.
func TestBlockWritesNoByte(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	r.put(12345, "a database without a file system")
	before := r.sum()
	capability := blockCapability(writer)
	for range 2 {
		r.must(r.stage(capability))
	}
	for range 2 {
		r.must(r.publish(capability, r.target, false))
	}
	var st unix.Stat_t
	r.must(unix.Stat(r.target, &st))
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || device.NumberOf(st.Rdev) != r.machine.Device(serial).Number {
		t.Errorf("published is %+v", st)
	}
	stats, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
	r.must(err)
	if u := stats.GetUsage(); len(u) != 1 || u[0].GetTotal() != small || u[0].GetUnit() != csi.VolumeUsage_BYTES {
		t.Errorf("stats are %v", u)
	}
	if size, err := r.expand(r.target, small); err != nil || size != small {
		t.Errorf("expanding: %d, %v", size, err)
	}
	for range 2 {
		r.must(r.unpublish(r.target))
	}
	if _, err := os.Lstat(r.target); !os.IsNotExist(err) {
		t.Errorf("the target path is left: %v", err)
	}
	for range 2 {
		r.must(r.unstage())
	}
	if r.sum() != before {
		t.Error("the disk was written to")
	}
}

func TestBlockReadOnly(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := blockCapability(manyPods)
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, true))
	if err := writeTo(r.target); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		t.Errorf("writing to a read-only device: %v", err)
	}
	second := filepath.Join(r.dir, "second")
	want(t, r.publish(capability, second, false), codes.FailedPrecondition, r.target)
	want(t, r.publish(capability, r.target, false), codes.AlreadyExists)
	r.must(r.publish(capability, second, true))
	r.must(r.unpublish(second))
	if readOnly, err := device.ReadOnly(r.machine.Device(serial)); err != nil || !readOnly {
		t.Errorf("while a pod has it read-only, the device is: %t, %v", readOnly, err)
	}
	r.must(r.unpublish(r.target))
	if readOnly, err := device.ReadOnly(r.machine.Device(serial)); err != nil || readOnly {
		t.Errorf("after the last pod, the device is read-only: %t, %v", readOnly, err)
	}
	r.must(r.publish(capability, second, false))
	r.must(writeTo(second))
	r.must(r.unpublish(second))
	r.must(r.unstage())
}

// writeTo writes a byte to a device.
func writeTo(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("x"), 0)
	return errors.Join(err, f.Sync(), f.Close())
}

func TestBlockOnePodOnly(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := blockCapability(onePod)
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	want(t, r.publish(capability, filepath.Join(r.dir, "second"), false), codes.FailedPrecondition, r.target)
	r.must(r.publish(capability, r.target, false))
}

// TestBlockPathTaken: a target that is something else is not covered.
func TestBlockPathTaken(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.machine.Plug("other", other, gib)
	capability := blockCapability(writer)
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	req := &csi.NodePublishVolumeRequest{
		VolumeId: otherID, StagingTargetPath: r.staging, TargetPath: r.target, VolumeCapability: capability,
		PublishContext: map[string]string{"mount_vol_name": other},
	}
	_, err := r.NodePublishVolume(t.Context(), req)
	want(t, err, codes.FailedPrecondition, "not staged")
	stage := r.stageRequest(capability)
	stage.VolumeId, stage.PublishContext = otherID, req.GetPublishContext()
	_, err = r.NodeStageVolume(t.Context(), stage)
	r.must(err)
	_, err = r.NodePublishVolume(t.Context(), req)
	want(t, err, codes.AlreadyExists)
}

// TestBlockIsNotUnstagedUnderAPod: a device that a pod has is not released, nor mounted as well.
func TestBlockIsNotUnstagedUnderAPod(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	capability := blockCapability(writer)
	want(t, r.publish(capability, r.target, false), codes.FailedPrecondition, "not staged")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	r.must(r.publish(capability, r.target, false)) // the record of staging is still there
	before := r.sum()
	want(t, r.stage(mountCapability(writer, "ext4")), codes.FailedPrecondition, r.target)
	if r.sum() != before {
		t.Error("the disk was written to under the pod")
	}
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	want(t, r.publish(capability, r.target, false), codes.FailedPrecondition, "not staged")
}

// TestMountedIsNotStagedAsBlock: a mounted volume is not shown as a device as well.
func TestMountedIsNotStagedAsBlock(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	want(t, r.stage(blockCapability(writer)), codes.Unavailable, "ext4", "still mounted at "+r.staging)
	want(t, r.publish(blockCapability(writer), r.target, false), codes.FailedPrecondition, "not staged")
}

// TestRecordOfAnEarlierBootProvesNothing: disk sequence numbers start over with each boot, so an old record that happens
// to have the number of today is no proof that a mount is dead, and is written again.
func TestRecordOfAnEarlierBootProvesNothing(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	record, err := r.state.Staged(volumeID)
	r.must(err)
	for _, seq := range []uint64{record.DiskSeq, record.DiskSeq + 1} {
		old := *record
		old.BootID, old.DiskSeq = "earlier", seq
		r.must(r.state.WriteStaged(old))
		elsewhere := *r
		elsewhere.staging = filepath.Join(r.dir, "elsewhere")
		want(t, elsewhere.stage(blockCapability(writer)), codes.FailedPrecondition, r.staging)
	}
	r.must(r.unstage())

	capability := blockCapability(writer)
	r.must(r.stage(capability))
	old, err := r.state.Staged(volumeID)
	r.must(err)
	old.BootID = "earlier"
	r.must(r.state.WriteStaged(*old))
	r.must(r.publish(capability, r.target, false))
	if now, err := r.state.Staged(volumeID); err != nil || now == nil || now.BootID != bootID {
		t.Errorf("the record is %+v, %v", now, err)
	}
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
}
