package node_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// TestDiskThatHangsBesideAHealthyOne: a disk of the node that does not tell its serial keeps no other volume waiting.
func TestDiskThatHangsBesideAHealthyOne(t *testing.T) {
	r := newRig(t)
	r.machine.Plug("disk", serial, gib)
	dir := filepath.Join(r.machine.SysfsDir, "aaa")
	r.must(os.Mkdir(dir, 0o700))
	pipe := filepath.Join(dir, "serial")
	r.must(unix.Mkfifo(pipe, 0o600))
	t.Cleanup(func() {
		end, err := os.OpenFile(pipe, os.O_RDWR, 0) // who reads it comes back
		if err != nil {
			t.Error(err)
		}
		_ = end.Close()
		_ = os.RemoveAll(dir)
	})
	began := time.Now()
	capability := mountCapability(writer, "ext4")
	for range 2 {
		r.must(r.stage(capability))
		r.must(r.publish(capability, r.target, false))
	}
	r.must(r.unpublish(r.target))
	r.must(r.unstage())
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestSickDiskIsNotTakenForGone: a disk that cannot tell its serial may still be in use, and its volume is not released
// because it was not found.
func TestSickDiskIsNotTakenForGone(t *testing.T) {
	r := newRig(t)
	name := r.machine.Plug("disk", serial, gib)
	path := filepath.Join(r.machine.SysfsDir, name, "serial")
	sick := func() {
		r.must(os.Rename(path, path+".well"))
		r.must(os.Mkdir(path, 0o700)) // reading it is an error
	}
	well := func() {
		r.must(os.Remove(path))
		r.must(os.Rename(path+".well", path))
	}
	raw := blockCapability(writer)
	r.must(r.stage(raw))
	r.must(r.publish(raw, r.target, false))
	sick()
	want(t, r.unstage(), codes.FailedPrecondition, r.target)
	record, err := r.state.Staged(volumeID)
	r.must(err)
	old := *record
	old.BootID, old.DiskSeq = "", 0 // as an earlier version wrote it
	r.must(r.state.WriteStaged(old))
	want(t, r.unstage(), codes.Unavailable, "not known")
	r.must(r.state.WriteStaged(*record))
	well()
	r.must(r.unpublish(r.target))
	sick()
	r.must(r.unstage()) // nobody has it, which is proven
	well()

	capability := mountCapability(writer, "ext4")
	r.must(r.stage(capability))
	pod := startHolder(t)
	sick()
	for range 2 {
		want(t, r.unstage(), codes.FailedPrecondition, "still in use")
	}
	pod()
	r.must(r.unstage())
	well()
}
