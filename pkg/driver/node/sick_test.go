package node_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
