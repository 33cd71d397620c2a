package vm

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

// forMany is a shared file system of which many nodes have what the mode says.
func forMany(mode csi.VolumeCapability_AccessMode_Mode) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: mode},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
	}
}

const (
	readWrite = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	readOnly  = csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
)

// newShared makes a shared file system in guests, with the tag and the content of the directory.
func newShared(t *testing.T, dir, tag string, guests ...*box) []*rig {
	t.Helper()
	id := uuid.NewString()
	var rigs []*rig
	for _, b := range guests {
		r := newRigIn(t, b, forMany(readWrite), id, tag)
		r.attach(dir)
		rigs = append(rigs, r)
	}
	return rigs
}

// attach gives the guest the file system, as the platform does.
func (r *rig) attach(dir string) {
	r.t.Helper()
	share, err := r.machine.Attach(r.soon(), dir, r.serial)
	r.must(err)
	r.share = share
}

// withdraw takes the file system from the guest, whoever uses it.
func (r *rig) withdraw() {
	r.t.Helper()
	r.must(r.share.Detach(r.soon()))
	r.share = nil
}

// TestSharedFileSystem: pods in two guests have a file system at the same time, and each reads what the other one wrote. It
// is virtiofs, with the tag as its source.
func TestSharedFileSystem(t *testing.T) {
	needGuest(t)
	dir := t.TempDir()
	rigs := newShared(t, dir, "7000001", &shared.box, another(t))
	for _, r := range rigs {
		for range 2 {
			r.up()
		}
		table, err := r.agent.Read(r.soon(), "/proc/self/mountinfo")
		r.must(err)
		if !strings.Contains(string(table), " - virtiofs 7000001 ") {
			t.Errorf("mounted is %s", table)
		}
	}
	a, b := rigs[0], rigs[1]
	a.write(a.target, "file", "of the first")
	b.wantFile(b.target, "file", "of the first")
	b.write(b.target, "file", "and of the second")
	a.wantFile(a.target, "file", "and of the second")
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "and of the second" {
		t.Errorf("the platform has %q, %v", got, err)
	}
	for _, r := range rigs {
		if total, err := r.total(r.target); err != nil || total == 0 {
			t.Errorf("it has %d bytes, %v", total, err)
		}
		want(t, r.unstage(), codes.FailedPrecondition, r.target)
	}

	reader := b.target + "-reader"
	b.capability = forMany(readOnly)
	b.must(b.publish(reader))
	b.wantFile(reader, "file", "and of the second")
	if err := b.agent.Write(b.soon(), filepath.Join(reader, "more"), nil); err == nil || !strings.Contains(err.Error(), syscall.EROFS.Error()) {
		t.Errorf("a pod that only reads writes: %v", err)
	}
	b.must(b.unpublish(reader))
	b.capability = a.capability

	for range 2 {
		b.must(b.unpublish(b.target))
		b.must(b.unstage())
	}
	if n := b.mounts(); n != 0 {
		t.Errorf("%d mounts are left", n)
	}
	a.write(a.target, "file", "when the second is gone")
	b.up()
	b.wantFile(b.target, "file", "when the second is gone")
}

// TestSharedFileSystemWithdrawn: the host takes a file system away while a pod uses it, and gives it back by another server.
// The mounts of before are dead for good. Whoever comes first, staging or publishing, replaces them.
func TestSharedFileSystemWithdrawn(t *testing.T) {
	for _, first := range []string{"stage", "publish", "publish after a restart of the plugin"} {
		t.Run(first, func(t *testing.T) {
			needGuest(t)
			dir := t.TempDir()
			r := newShared(t, dir, "7000002", &shared.box)[0]
			r.up()
			r.write(r.target, "file", "data")
			p := r.open(r.target, "held")
			r.withdraw()
			if errno := p.write("lost"); errno == 0 {
				t.Error("a file system that is gone was written to")
			}
			_, err := r.total(r.target)
			want(t, err, codes.FailedPrecondition, "dead", "mounted again")
			r.attach(dir)
			_, err = r.total(r.target)
			want(t, err, codes.FailedPrecondition, "dead", "mounted again")
			switch first {
			case "stage":
				r.must(r.stage())
			case "publish":
			default:
				r.must(r.agent.KillPlugin(r.soon()))
				r.must(r.agent.StartPlugin(r.soon()))
			}
			r.must(r.publish(r.target))
			r.wantFile(r.target, "file", "data")
			r.write(r.target, "more", "data")
			if total, err := r.total(r.target); err != nil || total == 0 {
				t.Errorf("it has %d bytes, %v", total, err)
			}
			if errno := p.write("lost"); errno == 0 {
				t.Error("a pod that has the dead file system still wrote to it")
			}
			p.end()
			r.must(r.stage())
			if n := r.mounts(); n != 2 {
				t.Errorf("the volume has %d mounts", n)
			}
			r.must(r.unpublish(r.target))
			r.must(r.unstage())
			if got, err := os.ReadFile(filepath.Join(dir, "more")); err != nil || string(got) != "data" {
				t.Errorf("the platform has %q, %v", got, err)
			}
		})
	}
}

// TestSharedFileSystemHangs: the server of a file system ends, and QEMU has nobody to ask: every access hangs, also that of
// the kernel to give the device back, and nothing on this guest can end that. It is told, nothing else on the node waits for
// it, and another guest has the data.
func TestSharedFileSystemHangs(t *testing.T) {
	needGuest(t)
	dir := t.TempDir()
	b := another(t)
	r := newShared(t, dir, "7000003", b)[0]
	r.lost = true // nothing can be taken away
	r.up()
	r.write(r.target, "file", "data")
	r.share.Kill()
	began := time.Now()
	_, err := r.total(r.target)
	want(t, err, codes.Unavailable, "has not answered")
	want(t, r.publish(r.target), codes.Unavailable, "has not answered", "counts as dead")
	t.Logf("told after %.1f s", time.Since(began).Seconds())

	other := newShared(t, t.TempDir(), "7000004", b)[0]
	other.lost = true
	other.up()
	other.write(other.target, "file", "data")

	next := newShared(t, dir, "7000003", &shared.box)[0]
	next.up()
	next.wantFile(next.target, "file", "data")
}
