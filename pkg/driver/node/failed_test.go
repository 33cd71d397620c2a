package node_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// shutdown makes a file system answer everything with an error, as when its disk is gone (EXT4_IOC_SHUTDOWN, which is
// XFS_IOC_GOINGDOWN).
func shutdown(t *testing.T, path string) {
	t.Helper()
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	const goingDown = 0x8004587d
	flags := uint32(2) // without flushing the log
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), goingDown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatal(errno)
	}
}

// kernelName is the kernel's name of the disk, below /sys.
func (r *rig) kernelName() string {
	r.t.Helper()
	link, err := os.Readlink("/sys/dev/block/" + r.machine.Device(serial).Number.String())
	r.must(err)
	return filepath.Base(link)
}

// extError has an error happen in the file system, and waits until the kernel has counted it, which it does a moment later.
func (r *rig) extError() {
	r.t.Helper()
	dir := filepath.Join("/sys/fs/ext4", r.kernelName())
	r.write(filepath.Join(dir, "trigger_fs_error"), "test")
	for r.read(filepath.Join(dir, "errors_count")) == "0\n" {
		time.Sleep(time.Millisecond) // a poll of the kernel, which the test's deadline ends
	}
}

// lostWrites is what the node counts of unstaged volumes whose disks refused a part of what pods had written.
func (r *rig) lostWrites() float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	r.must(err)
	for _, f := range families {
		if f.GetName() == "csi_lost_writes_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	r.t.Fatal("the node does not count lost writes")
	return 0
}

// TestLostWritesAreCounted: what a pod wrote, and did not flush, cannot be written out. That is counted by the word of the kernel,
// each time, and the volume leaves the node. A file system that is well counts for nothing.
func TestLostWritesAreCounted(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "xfs")
	for lost := range 2 {
		r.must(r.stage(capability))
		r.must(r.unstage())
		if got := r.lostWrites(); got != float64(lost) {
			t.Errorf("of %d file systems that failed %v are counted", lost, got)
		}
		r.must(r.stage(capability))
		r.must(r.publish(capability, r.target, false))
		r.write(filepath.Join(r.target, "file"), "data")
		shutdown(t, r.staging)
		r.must(r.unpublish(r.target))
		r.must(r.unstage())
		if _, mounted := r.mounted(r.staging); mounted {
			t.Error("it is left mounted")
		}
	}
	if got := r.lostWrites(); got != 2 {
		t.Errorf("of 2 file systems that failed %v are counted", got)
	}
}

// TestFailedFileSystem has every way in which a file system fails while a pod has it. Nothing takes it for a good one,
// and when the pods have ended it is checked and mounted again, with what was written before.
func TestFailedFileSystem(t *testing.T) {
	t.Parallel()
	extError := (*rig).extError
	for name, c := range map[string]struct {
		fsType string
		flags  []string
		fail   func(r *rig)
	}{
		"ext4, error, remount-ro": {"ext4", []string{"errors=remount-ro"}, extError},
		"ext4, error, continue":   {"ext4", nil, extError},
		"ext4, shutdown":          {"ext4", nil, func(r *rig) { shutdown(r.t, r.staging) }},
		"xfs, shutdown":           {"xfs", nil, func(r *rig) { shutdown(r.t, r.staging) }},
		"ext4, read-only":         {"ext4", nil, func(r *rig) { r.run("mount", "-o", "remount,ro", r.staging) }},
		"xfs, read-only":          {"xfs", nil, func(r *rig) { r.run("mount", "-o", "remount,ro", r.staging) }},
		"btrfs, read-only":        {"btrfs", nil, func(r *rig) { r.run("mount", "-o", "remount,ro", r.staging) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			capability := mountCapability(manyPods, c.fsType, c.flags...)
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			r.write(filepath.Join(r.target, "file"), "data")
			unix.Sync()
			c.fail(r)
			r.machine.Grow("disk", 3*gib, true)

			second := filepath.Join(r.dir, "second")
			want(t, r.publish(capability, second, false), codes.FailedPrecondition, "failed", c.fsType, r.machine.Device(serial).Path, r.target)
			want(t, r.stage(capability), codes.Unavailable, "failed", r.target) // it is mounted: see TestFailedStageOfAMount
			for _, path := range []string{r.target, r.staging} {
				_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: path})
				want(t, err, codes.Internal, "failed", c.fsType)
				size, err := r.expand(path, 3*gib)
				want(t, err, codes.FailedPrecondition, "failed", c.fsType)
				if size != 0 {
					t.Errorf("it grew to %d", size)
				}
			}

			r.must(r.unpublish(r.target))
			r.must(r.publish(capability, r.target, false)) // which stages it again
			r.must(r.unpublish(r.target))
			c.fail(r)
			afterThisSecond()
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, false))
			if got := r.read(filepath.Join(r.target, "file")); got != "data" {
				t.Errorf("read %q", got)
			}
			r.write(filepath.Join(r.target, "more"), "data")
			if size := r.size(r.target); size < 5*gib/2 {
				t.Errorf("it has %d bytes", size)
			}
			_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
			r.must(err)
		})
	}
}

// TestReadOnlyDoesNotGrow: what is staged read-only reports no growth that did not happen.
func TestReadOnlyDoesNotGrow(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			r.must(r.stage(mountCapability(writer, fsType)))
			r.must(r.unstage())
			capability := mountCapability(reader, fsType)
			r.must(r.stage(capability))
			r.must(r.publish(capability, r.target, true))
			if size, err := r.expand(r.target, gib); err != nil || size != gib {
				t.Errorf("as it is: %d, %v", size, err)
			}
			r.machine.Grow("disk", 3*gib, true)
			size, err := r.expand(r.target, 3*gib)
			want(t, err, codes.FailedPrecondition, "read-only")
			if size != 0 {
				t.Errorf("it grew to %d", size)
			}
			_, err = r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
			r.must(err)
		})
	}
}

// TestOldErrorsAreForgiven: errors that were counted before the mount, such as those of a file system that is only read
// and so is not checked, are no failure of the present mount.
func TestOldErrorsAreForgiven(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	path := r.machine.Device(serial).Path
	r.must(r.unstage())
	// An error of long ago, on a file system that e2fsck takes for clean.
	for _, set := range []string{"error_count 3", "first_error_time 20200101", "last_error_time 20200101"} {
		r.run("debugfs", "-w", "-R", "set_super_value "+set, path)
	}
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.target})
	r.must(err)
}

// TestStagedReadOnlyIsNotGrown: what became larger while it was nowhere staged is left as it is by a staging that must
// not write.
func TestStagedReadOnlyIsNotGrown(t *testing.T) {
	t.Parallel()
	for _, fsType := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(fsType, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			r.must(r.stage(mountCapability(writer, fsType)))
			before := r.size(r.staging)
			r.must(r.unstage())
			r.machine.Grow("disk", 3*gib, true)
			for range 2 {
				r.must(r.stage(mountCapability(reader, fsType)))
			}
			if size := r.size(r.staging); size != before {
				t.Errorf("it has %d bytes, it had %d", size, before)
			}
		})
	}
}

// afterThisSecond waits for the clock to reach the next second: ext4 notes errors and mounts in whole seconds, and an error
// in the second of a mount is taken for one that came after it.
func afterThisSecond() {
	now := time.Now()
	time.Sleep(now.Truncate(time.Second).Add(time.Second).Sub(now)) // the clock is what is waited for
}
