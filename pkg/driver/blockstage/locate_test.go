package blockstage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestLocateNothing: what is not there is not found; what cannot be looked at is not "not found".
func TestLocateNothing(t *testing.T) {
	g := newStage(t, "ext4")
	dir := t.TempDir()
	file, loop := filepath.Join(dir, "file"), filepath.Join(dir, "loop")
	g.must(os.WriteFile(file, nil, 0o600))
	g.must(os.Symlink(loop, loop))
	for path, want := range map[string]volume.Reason{
		filepath.Join(dir, "nothing"): volume.NotFound, filepath.Join(file, "below"): volume.NotFound, dir: volume.NotFound,
		loop: volume.ReasonOf(unix.ELOOP),
	} {
		at, err := g.locate(id, path)
		if err == nil || volume.ReasonOf(err) != want {
			t.Errorf("%s: %+v, %v", path, at, err)
		}
	}
	g.record(nil) // of what is staged as a file system, and is not mounted
	if at, err := g.locate(id, dir); volume.ReasonOf(err) != volume.NotFound {
		t.Errorf("not mounted: %+v, %v", at, err)
	}
}

// TestLocateMount: the mount, and whether it is meant to be written to. The record must not contradict it.
func TestLocateMount(t *testing.T) {
	g := newStage(t, "xfs")
	g.must(g.Stage(t.Context(), g.volume, g.path))
	check := func(what string, writable bool) {
		t.Helper()
		at, err := g.locate(id, g.path)
		if err != nil || at.block || at.device.Number != g.device.Number || at.entry.Path != g.path || at.writable != writable {
			t.Errorf("%s: %+v, %v", what, at, err)
		}
	}
	check("as it is", true)
	g.record(func(r *state.Staged) { r.ReadOnly = true })
	check("recorded as read-only", false)
	for what, change := range map[string]func(r *state.Staged){
		"unplugged":    func(r *state.Staged) { r.DiskSeq-- },
		"another disk": func(r *state.Staged) { r.Serial, r.BootID = "ewr-ffffffffffffff", "earlier" },
	} {
		before := *g.record(nil)
		g.record(change)
		if at, err := g.locate(id, g.path); err == nil {
			t.Errorf("%s: %+v", what, at)
		}
		g.must(g.cfg.State.WriteStaged(before))
	}
	g.must(g.cfg.State.ClearStaged(id))
	check("without a record", true)
	g.fail() // its root answers no stat any more, and is judged by its mount
	check("failed", true)
}

// TestLocateWithABrokenRecord: what it says is not known, so it may contradict.
func TestLocateWithABrokenRecord(t *testing.T) {
	g := newStage(t, "ext4")
	dir := t.TempDir()
	var err error
	g.cfg.State, err = state.Open(dir)
	g.must(err)
	g.must(g.Stage(t.Context(), g.volume, g.path))
	g.must(os.WriteFile(filepath.Join(dir, id+".staged.json"), []byte("{"), 0o600))
	if at, err := g.locate(id, g.path); err == nil {
		t.Errorf("got %+v", at)
	}
}

// TestLocateBlock: by the device node, or by the directory of what is staged as a block device.
func TestLocateBlock(t *testing.T) {
	g := newStage(t, "")
	if at, err := g.locate(id, g.device.Path); err != nil || !at.block || at.device != g.device {
		t.Errorf("by its node: %+v, %v", at, err)
	}
	g.record(func(r *state.Staged) { r.Block = true })
	if at, err := g.locate(id, g.path); err != nil || !at.block || at.device != g.device {
		t.Errorf("by its directory: %+v, %v", at, err)
	}
	g.record(func(r *state.Staged) { r.Serial = "ewr-ffffffffffffff" })
	if at, err := g.locate(id, g.device.Path); volume.ReasonOf(err) != volume.NotFound {
		t.Errorf("the node of another disk: %+v, %v", at, err)
	}
	if at, err := g.locate(id, g.path); volume.ReasonOf(err) != volume.NotFound {
		t.Errorf("the disk is not there: %+v, %v", at, err)
	}
}

// TestNotAt: only proven absence is "not found", and a node outlives its disk.
func TestNotAt(t *testing.T) {
	absent := fmt.Errorf("%w: 7:7", device.ErrNotFound)
	if err := notAt(id, "/p", false, absent); volume.ReasonOf(err) != volume.NotFound {
		t.Errorf("a mount: %v", err)
	}
	if err := notAt(id, "/p", true, absent); volume.ReasonOf(err) != volume.InUse || !errors.Is(err, device.ErrGone) {
		t.Errorf("a node: %v", err)
	}
	for _, block := range []bool{false, true} {
		if err := notAt(id, "/p", block, unix.EIO); !errors.Is(err, unix.EIO) || volume.ReasonOf(err) == volume.NotFound || errors.Is(err, device.ErrGone) {
			t.Errorf("unknown, block %t: %v", block, err)
		}
	}
}

// TestWritable: a record knows. Without one, or with one of an older version, any mount of the same file system tells that
// is not read-only itself, whatever the file system says of itself.
func TestWritable(t *testing.T) {
	ro := mount.Entry{Number: device.Number{Major: 7, Minor: 1}, Options: []string{"ro"}}
	rw := mount.Entry{Number: ro.Number, Options: []string{"rw"}, SuperOptions: []string{"ro"}}
	foreign := mount.Entry{Number: device.Number{Major: 7, Minor: 2}, Options: []string{"rw"}}
	recorded := func(readOnly bool) *state.Staged { return &state.Staged{Number: "7:1", ReadOnly: readOnly} }
	for name, c := range map[string]struct {
		record *state.Staged
		table  mount.Table
		want   bool
	}{
		"recorded":            {recorded(false), mount.Table{ro}, true},
		"recorded, read-only": {recorded(true), mount.Table{ro, rw}, false},
		"older record":        {&state.Staged{}, mount.Table{ro, foreign}, false},
		"older record, pod":   {&state.Staged{ReadOnly: true}, mount.Table{ro, rw}, true},
		"no record":           {nil, mount.Table{ro, foreign}, false},
		"no record, pod":      {nil, mount.Table{ro, rw}, true},
	} {
		if got := (&Stager{}).writable(c.record, c.table, ro); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
