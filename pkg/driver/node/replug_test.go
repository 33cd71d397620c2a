package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// pull makes the disk disappear from the machine under its mounts, as a virtio disk does that is unplugged: the kernel
// keeps the old device for those who have it open, and nobody finds it any more.
func (r *rig) pull() {
	r.t.Helper()
	name := filepath.Base(r.machine.Device(serial).Path)
	r.must(os.Rename(filepath.Join(r.machine.SysfsDir, name), filepath.Join(r.dir, name)))
	r.must(os.Rename(filepath.Join(r.machine.DeviceDir, name), filepath.Join(r.dir, name+".node")))
	r.t.Cleanup(func() { // what plugged it can unplug it
		_ = os.Rename(filepath.Join(r.dir, name), filepath.Join(r.machine.SysfsDir, name))
		_ = os.Rename(filepath.Join(r.dir, name+".node"), filepath.Join(r.machine.DeviceDir, name))
	})
}

// number is the device of what is mounted at a path.
func (r *rig) number(path string) device.Number {
	r.t.Helper()
	e, ok := r.mounted(path)
	if !ok {
		r.t.Fatalf("nothing is mounted at %s", path)
	}
	return e.Number
}

// TestDiskUnpluggedUnderItsMount: the disk of a mounted volume is pulled and plugged in again while nobody uses it. The
// mounts of the old one are dead, whatever they still show, and are replaced by whoever comes first.
func TestDiskUnpluggedUnderItsMount(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		for _, first := range []string{"stage", "publish"} {
			for _, sameNumber := range []bool{false, true} {
				t.Run(fsType+" "+first+map[bool]string{true: " same number"}[sameNumber], func(t *testing.T) {
					t.Parallel()
					r := newRig(t)
					r.machine.Plug("disk", serial, gib)
					capability := mountCapability(writer, fsType)
					r.must(r.stage(capability))
					r.must(r.publish(capability, r.target, false))
					old := r.number(r.staging)
					if sameNumber {
						// As the kernel shows a disk that got the number of the one that was pulled: another stay.
						record, err := r.state.Staged(volumeID)
						r.must(err)
						record.DiskSeq--
						r.must(r.state.WriteStaged(*record))
					} else {
						r.pull()
						_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
						want(t, err, codes.FailedPrecondition, "unplugged")
						r.machine.Plug("again", serial, gib)
						r.run("mkfs."+fsType, r.machine.Device(serial).Path)
					}
					_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
					want(t, err, codes.FailedPrecondition, "unplugged")
					_, err = r.expand(r.target, gib)
					want(t, err, codes.FailedPrecondition, "unplugged")
					if sameNumber {
						r.must(r.unpublish(r.target)) // the old device is claimed as long as it is mounted there
					}
					if first == "stage" {
						r.must(r.stage(capability))
					}
					for range 2 {
						r.must(r.publish(capability, r.target, false))
					}
					now := r.machine.Device(serial).Number
					if r.number(r.staging) != now || r.number(r.target) != now || (now == old) != sameNumber {
						t.Errorf("mounted are %s and %s, the disk is %s and was %s", r.number(r.staging), r.number(r.target), now, old)
					}
					r.write(filepath.Join(r.target, "file"), "data")
					_, err = r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
					r.must(err)
					r.must(r.unpublish(r.target))
					r.must(r.unstage())
				})
			}
		}
	}
}

// TestForeignMountStaysWhenHealed: what somebody else mounted at the pod's path is not taken away because the volume had
// to be staged again.
func TestForeignMountStaysWhenHealed(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(os.MkdirAll(r.target, 0o700))
	r.must(unix.Mount("somebody's", r.target, "tmpfs", 0, ""))
	r.write(filepath.Join(r.target, "file"), "data")
	shutdown(t, r.staging)
	want(t, r.publish(capability, r.target, false), codes.AlreadyExists, r.target)
	if got := r.read(filepath.Join(r.target, "file")); got != "data" {
		t.Errorf("read %q", got)
	}
}

// TestUnstageOfADiskThatIsGone: nothing has to be flushed, and nothing may be in the way.
func TestUnstageOfADiskThatIsGone(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "xfs")
	r.must(r.stage(capability))
	r.pull()
	busy, err := os.Open(r.staging)
	r.must(err)
	defer busy.Close()
	for range 2 {
		r.must(r.unstage())
	}
	if e, ok := r.mounted(r.staging); ok {
		t.Errorf("left is %+v", e)
	}
}

// TestBusyMountIsNotDetached: a mount that works and is in use is not taken away, and its users are named.
func TestBusyMountIsNotDetached(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	busy, err := os.Create(filepath.Join(r.staging, "file"))
	r.must(err)
	want(t, r.unstage(), codes.FailedPrecondition, "busy", r.staging)
	if _, ok := r.mounted(r.staging); !ok {
		t.Error("it was detached")
	}
	_, err = busy.WriteString("data")
	r.must(err)
	r.must(busy.Close())
	r.must(r.unstage())
}

// TestBlockReplugged: a raw volume whose disk was pulled and plugged in again is shown to the next pod.
func TestBlockReplugged(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := blockCapability(writer)
	r.must(r.stage(capability))
	r.machine.Unplug("disk")
	want(t, r.publish(capability, r.target, false), codes.FailedPrecondition, serial)
	r.machine.Plug("disk", serial, gib)
	r.must(r.publish(capability, r.target, false))
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
}

// TestBlockUnpluggedUnderItsPod: what a disk that was unplugged left at a pod's path is replaced when the disk is back, and
// the path of a disk that is still there is not.
func TestBlockUnpluggedUnderItsPod(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := blockCapability(writer)
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	busy, err := os.Open(r.target)
	r.must(err)
	defer busy.Close()
	old := r.machine.Device(serial).Number
	r.pull()
	_, err = r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
	want(t, err, codes.FailedPrecondition, "unplugged")
	r.machine.Plug("again", serial, gib)
	for range 2 {
		r.must(r.publish(capability, r.target, false))
	}
	var st unix.Stat_t
	r.must(unix.Stat(r.target, &st))
	now := r.machine.Device(serial).Number
	if got := device.NumberOf(st.Rdev); got != now || now == old {
		t.Errorf("at the target is device %s, the disk is %s and was %s", got, now, old)
	}
	want(t, r.publish(capability, r.target, true), codes.AlreadyExists, r.target)
	r.must(r.unpublish(r.target))

	// Another disk's device at the target is none of ours to take away.
	other := r.machine.Plug("other", "ewr-ffffffffffffff", gib)
	r.must(os.WriteFile(r.target, nil, 0o600))
	r.run("mount", "--bind", filepath.Join(r.machine.DeviceDir, other), r.target)
	want(t, r.publish(capability, r.target, false), codes.AlreadyExists, r.target)
	r.run("umount", r.target)
	r.must(r.unstage())
}
