package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/node"
)

// TestPublishOfAnotherDevice: what is mounted at the staging path must be the volume.
func TestPublishOfAnotherDevice(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.machine.Plug("other", other, gib)
	path := r.machine.Device(other).Path
	r.run("mkfs.ext4", "-q", path)
	r.must(mount.MakeDir(r.staging))
	r.run("mount", path, r.staging)
	want(t, r.publish(mountCapability(writer, "ext4"), r.target, false), codes.FailedPrecondition, serial)
	if e, ok := r.mounted(r.target); ok {
		t.Errorf("published is %+v", e)
	}
	if _, ok := r.mounted(r.staging); !ok {
		t.Error("the mount of the other disk was taken away")
	}
}

// TestGrowthIsMeasured: a tool that says it grew the file system and did not is not believed.
func TestGrowthIsMeasured(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "xfs")
	r.must(r.stage(capability))
	r.must(r.publish(capability, r.target, false))
	r.machine.Grow("disk", 3*gib, true)
	dir := t.TempDir()
	r.must(os.WriteFile(filepath.Join(dir, "xfs_growfs"), []byte("#!/bin/sh\nexit 0\n"), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	size, err := r.expand(r.target, 3*gib)
	want(t, err, codes.Internal, "after it was grown")
	if size != 0 {
		t.Errorf("it has %d", size)
	}
}

// TestFailedStageOfAMount: a stage that fails for good after it has mounted the volume has a code after which the kubelet
// unstages it, and so has the next one, which finds the mount. Of one that mounted nothing the code says what is wrong.
func TestFailedStageOfAMount(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "xfs")
	r.must(r.stage(capability))
	r.must(r.unstage())
	r.machine.Grow("disk", 3*gib, true)
	dir := t.TempDir()
	r.must(os.WriteFile(filepath.Join(dir, "xfs_growfs"), []byte("#!/bin/sh\necho it cannot grow >&2; exit 1\n"), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for range 2 {
		want(t, r.stage(capability), codes.Unavailable, "it cannot grow", "still mounted at "+r.staging)
		if _, mounted := r.mounted(r.staging); !mounted {
			t.Fatal("nothing is mounted, so this test shows nothing")
		}
	}
	r.must(r.unstage())
	if e, mounted := r.mounted(r.staging); mounted {
		t.Errorf("mounted is %+v", e)
	}
	want(t, r.stage(blockCapability(writer)), codes.OK)
	r.must(r.publish(blockCapability(writer), r.target, false))
	want(t, r.stage(capability), codes.FailedPrecondition, r.target)
}

// TestOneCallPerVolume: while a call for a volume is under way, every other one is refused and says by what.
func TestOneCallPerVolume(t *testing.T) {
	r := newRig(t)
	r.Service = node.New(node.Config{Finder: r.machine.Finder, State: r.state, BootID: bootID, Patience: time.Minute})
	capability := mountCapability(writer, "ext4")
	done := make(chan error, 1)
	go func() { // waits for its disk, unless one of the calls below is there first
		err := r.stage(capability)
		for err != nil && strings.Contains(err.Error(), "NodeUnpublishVolume") {
			err = r.stage(capability)
		}
		done <- err
	}()
	// Until the call has begun another one may succeed, and from then on none does.
	never := time.After(10 * time.Second)
	for status.Code(r.unpublish(r.target)) != codes.Aborted {
		select {
		case <-never:
			t.Fatal("no call is refused while another one is under way")
		case err := <-done:
			t.Fatalf("it ended: %v", err)
		default:
		}
	}
	want(t, r.unstage(), codes.Aborted, "NodeStageVolume")
	want(t, r.publish(capability, r.target, false), codes.Aborted, "NodeStageVolume")
	want(t, r.stage(capability), codes.Aborted, "NodeStageVolume")
	_, err := r.expand(r.staging, gib)
	want(t, err, codes.Aborted, "NodeStageVolume")
	r.machine.Plug("disk", serial, gib)
	r.must(<-done)
	r.must(r.publish(capability, r.target, false))
}

// TestNoRecordNoMount: what cannot be recorded is not mounted: nothing could tell afterwards from which disk it was.
func TestNoRecordNoMount(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	r.must(r.unstage())
	records := filepath.Join(r.dir, "state")
	r.must(unix.Mount("none", records, "tmpfs", unix.MS_RDONLY, ""))
	before := r.sum()
	want(t, r.stage(capability), codes.Internal, "recording the staged", volumeID)
	if e, ok := r.mounted(r.staging); ok {
		t.Errorf("mounted is %+v", e)
	}
	if r.sum() != before {
		t.Error("the disk was written to")
	}
	r.must(unix.Unmount(records, 0))
	r.must(r.stage(capability))
}

// TestIntentStandsWhileItIsMade: whoever comes after a process that is killed during mkfs finds what it was about, and
// what ended is forgotten.
func TestIntentStandsWhileItIsMade(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	capability := mountCapability(writer, "ext4")
	slow := newSlowTool(t, "mkfs.ext4")
	want(t, r.stageUntilBegun(slow, 1, capability), codes.Aborted, "mkfs.ext4")
	if i, err := r.state.Intent(volumeID); err != nil || i == nil || *i != r.intent() {
		t.Errorf("the record of the format is %+v, %v", i, err)
	}
	if s, err := r.state.Staged(volumeID); err != nil || s == nil || s.Serial != serial {
		t.Errorf("the record of staging is %+v, %v", s, err)
	}
	slow.open()
	r.must(r.stage(capability))
	if i, err := r.state.Intent(volumeID); err != nil || i != nil {
		t.Errorf("the record is still %+v, %v", i, err)
	}
}

// TestIntentOfAnEarlierBootGoes: it is of no use, although the disk happens to have its sequence number again.
func TestIntentOfAnEarlierBootGoes(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	for boot, stays := range map[string]bool{bootID: true, "earlier": false} {
		intent := r.intent()
		intent.BootID = boot
		r.must(r.state.WriteIntent(intent))
		r.must(r.unstage())
		if i, err := r.state.Intent(volumeID); err != nil || (i != nil) != stays {
			t.Errorf("of boot %s it is %+v, %v", boot, i, err)
		}
	}
}

// TestUnstageOfAnotherVolume: what another volume has mounted at the staging path stays.
func TestUnstageOfAnotherVolume(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	r.machine.Plug("other", other, gib)
	r.must(r.stage(mountCapability(writer, "ext4")))
	record, err := r.state.Staged(volumeID)
	r.must(err)
	r.must(r.unstage())
	r.must(r.state.WriteStaged(*record)) // as one that was cut off leaves it
	path := r.machine.Device(other).Path
	r.run("mkfs.ext4", "-q", path)
	r.must(unix.Mount(path, r.staging, "ext4", 0, ""))
	want(t, r.unstage(), codes.FailedPrecondition, serial, other)
	if _, ok := r.mounted(r.staging); !ok {
		t.Error("it was unmounted")
	}
}

// TestPartOfAVolumeIsNotTheVolume: a target that shows a directory of the volume is not where it is published.
func TestPartOfAVolumeIsNotTheVolume(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	part := filepath.Join(r.staging, "part")
	r.must(os.Mkdir(part, 0o700))
	r.must(mount.MakeDir(r.target))
	r.must(mount.Bind(part, r.target, false))
	want(t, r.publish(capability, r.target, false), codes.AlreadyExists, r.target)
}
