package node_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// slowTool puts a tool in front of the real one that does its work only when it is told to, and then counts it.
type slowTool struct {
	t    *testing.T
	gate *os.File // each line in it lets one run go on
	runs string
}

func newSlowTool(t *testing.T, name string) *slowTool {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &slowTool{t: t, runs: filepath.Join(dir, "runs")}
	gate := filepath.Join(dir, "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	// Open all the time, so that no line is lost between two readers.
	if s.gate, err = os.OpenFile(gate, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.gate.Close() }) // nobody waits for it any more
	// Without a trap: of one a shell thinks when its read has come back, and one that comes right before the read is too late.
	script := fmt.Sprintf("#!/bin/sh\necho run >> %s\nread go < %s\nexec %s \"$@\"\n", s.runs, gate, found)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return s
}

// open lets one run go on, now or when it begins.
func (s *slowTool) open() {
	s.t.Helper()
	if _, err := s.gate.WriteString("go\n"); err != nil {
		s.t.Error(err)
	}
}

// count is how often it was begun.
func (s *slowTool) count() int {
	s.t.Helper()
	raw, err := os.ReadFile(s.runs)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return strings.Count(string(raw), "run")
}

// stageUntilBegun stages until the tool was begun so many times, and gives up then, whatever the machine is busy with.
func (r *rig) stageUntilBegun(slow *slowTool, runs int, capability *csi.VolumeCapability) error {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := r.NodeStageVolume(ctx, r.stageRequest(capability))
		ended <- err
	}()
	poll := time.NewTicker(10 * time.Millisecond) // a process that is no child of ours tells nothing by itself
	defer poll.Stop()
	for slow.count() < runs {
		select {
		case err := <-ended:
			return err
		case <-poll.C:
		}
	}
	cancel()
	return <-ended
}

// stageWithin stages with a deadline.
func (r *rig) stageWithin(d time.Duration, capability *csi.VolumeCapability) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	_, err := r.NodeStageVolume(ctx, r.stageRequest(capability))
	return err
}

// TestLongWorkOutlivesTheCall: a deadline ends the call and not its tool. Retries wait for the tool, and every other call
// for the volume says what is running.
func TestLongWorkOutlivesTheCall(t *testing.T) {
	for _, tool := range []string{"mkfs.ext4", "e2fsck"} {
		t.Run(tool, func(t *testing.T) {
			r := newRig(t)
			r.machine.Plug("disk", serial, gib)
			path := r.machine.Device(serial).Path
			if tool == "e2fsck" {
				r.run("mkfs.ext4", "-q", path)
			}
			slow := newSlowTool(t, tool)
			capability := mountCapability(writer, "ext4")
			want(t, r.stageUntilBegun(slow, 1, capability), codes.Aborted, tool, path, "running for")
			for range 3 {
				want(t, r.stageWithin(100*time.Millisecond, capability), codes.Aborted, tool, path, "running for")
			}
			want(t, r.unstage(), codes.Aborted, "NodeStageVolume", tool, path)
			want(t, r.publish(capability, r.target, false), codes.Aborted, tool, path)
			want(t, r.unpublish(r.target), codes.Aborted, tool, path)
			_, err := r.expand(r.staging, gib)
			want(t, err, codes.Aborted, tool, path)
			_, err = r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.staging})
			want(t, err, codes.Aborted, tool, path)
			slow.open()
			if tool == "mkfs.ext4" {
				r.must(r.stage(capability))
			} else {
				// The retry waits for the check that is running; a file system that was checked and is not mounted is looked at
				// again, which is over at once.
				slow.open()
				r.must(r.stage(capability))
			}
			r.must(r.publish(capability, r.target, false))
			if tool == "mkfs.ext4" && slow.count() != 1 {
				t.Errorf("it was begun %d times", slow.count())
			}
			r.must(r.unpublish(r.target))
			r.must(r.unstage())
		})
	}
}

// TestShutdownEndsLongWork: mkfs is ended, by a signal that it can answer, and the next process does it again. A growth of
// an unmounted file system is waited for.
func TestShutdownEndsLongWork(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	capability := mountCapability(writer, "ext4")
	slow := newSlowTool(t, "mkfs.ext4")
	want(t, r.stageUntilBegun(slow, 1, capability), codes.Aborted, "mkfs.ext4")
	r.Shutdown(t.Context())
	want(t, r.stage(capability), codes.Aborted, "told to end", "signal: terminated") // what nobody waited for
	want(t, r.stage(capability), codes.Aborted, "being ended")
	r.Service = r.restarted(bootID)
	slow.open()
	r.must(r.stage(capability))
	r.must(r.unstage())
	if slow.count() != 2 {
		t.Errorf("mkfs was begun %d times", slow.count())
	}

	slow = newSlowTool(t, "resize2fs")
	r.machine.Grow("disk", 2*gib, true)
	slow.open() // the try while it is mounted, which the kernel refuses here or not
	err := r.stageUntilBegun(slow, 2, capability)
	if err == nil {
		t.Log("the kernel grows it while it is mounted")
		return
	}
	want(t, err, codes.Aborted, "resize2fs")
	ended := make(chan struct{})
	go func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		r.Shutdown(over)
		close(ended)
	}()
	slow.open()
	<-ended
	if out, err := exec.Command("e2fsck", "-f", "-n", r.machine.Device(serial).Path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	r.Service = r.restarted(bootID)
	r.must(r.stage(capability))
	if size := r.size(r.staging); size < 3*gib/2 {
		t.Errorf("it has %d bytes", size)
	}
}

// mute mounts a file system whose server never answers, until the function is called or the test ends.
func (r *rig) mute(name string) (path string, end func()) {
	r.t.Helper()
	path = filepath.Join(r.dir, name)
	r.must(os.Mkdir(path, 0o700))
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	r.must(err)
	end = sync.OnceFunc(func() {
		r.must(unix.Close(fuse)) // looks come back with an error
		r.must(unix.Unmount(path, unix.MNT_DETACH))
	})
	r.t.Cleanup(end) // nor does a failed test hang
	r.must(unix.Mount("mute", path, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)))
	return path, end
}

// TestFailureForgetsMeasurements: what was measured before a failure does not stand in for what hangs after it.
func TestFailureForgetsMeasurements(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	r.must(r.stage(mountCapability(writer, "ext4")))
	ask := func(ctx context.Context, path string) error {
		_, err := r.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: path})
		return err
	}
	r.must(ask(t.Context(), r.staging))
	want(t, ask(t.Context(), filepath.Join(r.dir, "nowhere")), codes.NotFound)
	mute, _ := r.mute("mute")
	want(t, ask(t.Context(), mute), codes.Unavailable, "has not answered")
	want(t, ask(t.Context(), r.staging), codes.Unavailable, "no measurement")
}

// TestStatsFlushNothing: the kubelet asks every minute, and what a pod has not written out is left alone. Staging, which
// asks seldom, has it written out to see whether that works.
func TestStatsFlushNothing(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, small)
	capability := mountCapability(writer, "ext4", "commit=300", "noinit_itable")
	r.must(r.stage(capability))
	written := func() string {
		return strings.Fields(r.read("/sys/dev/block/" + r.machine.Device(serial).Number.String() + "/stat"))[6]
	}
	unix.Sync()
	r.write(filepath.Join(r.staging, "file"), "data")
	before := written()
	for range 3 {
		_, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: r.staging})
		r.must(err)
	}
	if now := written(); now != before {
		t.Errorf("%s sectors were written, then %s", before, now)
	}
	r.must(r.stage(capability))
	if now := written(); now == before {
		t.Error("staging it again wrote nothing")
	}
}

// TestStatsThatHang: a file system that never answers keeps one look, whatever the path, and others are told at once.
func TestStatsThatHang(t *testing.T) {
	r := newRig(t)
	mute, _ := r.mute("mute")
	ask := func(ctx context.Context, path string) error {
		_, err := r.NodeGetVolumeStats(ctx, &csi.NodeGetVolumeStatsRequest{VolumeId: volumeID, VolumePath: path})
		return err
	}
	r.machine.Plug("disk", serial, small)
	r.must(r.stage(mountCapability(writer, "ext4")))
	r.must(ask(t.Context(), r.staging))
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	want(t, ask(soon, mute), codes.DeadlineExceeded, mute)
	want(t, ask(t.Context(), mute), codes.Unavailable, mute, "has not answered")
	before := goroutines(t)
	for range 10 {
		began := time.Now()
		want(t, ask(t.Context(), filepath.Join(r.dir, "elsewhere")), codes.Unavailable, mute, "has not answered")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	if n := goroutines(t); n > before+2 {
		t.Errorf("%d goroutines, there were %d", n, before)
	}
	// Where it was measured before, the last measurement counts, until the volume is taken away.
	resp, err := r.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: strings.ToUpper(volumeID), VolumePath: r.staging})
	r.must(err)
	if len(resp.GetUsage()) != 2 || resp.GetUsage()[0].GetTotal() != r.size(r.staging) {
		t.Errorf("stats are %v, the file system has %d bytes", resp.GetUsage(), r.size(r.staging))
	}
	r.must(r.unstage())
	want(t, ask(t.Context(), r.staging), codes.Unavailable, "no measurement")

	// Others do not hang there either: a growth is cut off and counts as one look, and an unmount that the looks keep from ending as well.
	soon, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = r.NodeExpandVolume(soon, &csi.NodeExpandVolumeRequest{VolumeId: otherID, VolumePath: mute})
	want(t, err, codes.DeadlineExceeded, mute)
	_, err = r.NodeExpandVolume(t.Context(), &csi.NodeExpandVolumeRequest{VolumeId: otherID, VolumePath: mute})
	want(t, err, codes.Unavailable, mute, "has not answered")
	soon, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = r.NodeUnpublishVolume(soon, &csi.NodeUnpublishVolumeRequest{VolumeId: otherID, TargetPath: mute})
	want(t, err, codes.DeadlineExceeded, mute, "busy") // by the looks
}
