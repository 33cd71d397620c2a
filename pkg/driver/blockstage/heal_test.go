package blockstage

import (
	"context"
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/internal/testmachine"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/mount"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/staging"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

const id = "ae6c4452-b93b-4f4d-b8c1-2cea28d99fb8"

// stage is a stager, its machine and a directory to stage at. What is mounted there goes with the test.
type stage struct {
	*Stager
	machine *testmachine.Machine
	t       *testing.T
	device  device.Device
	path    string
	volume  staging.Volume
}

func newStage(t *testing.T, fsType string) *stage {
	t.Helper()
	s, m, d := newStager(t)
	g := &stage{
		Stager: s, machine: m, t: t, device: d, path: t.TempDir(),
		volume: staging.Volume{ID: id, Published: map[string]string{volume.ContextSerial: serial}, Use: staging.Use{FSType: fsType}},
	}
	t.Cleanup(func() {
		for {
			if err := unix.Unmount(g.path, unix.MNT_DETACH); err != nil {
				return
			}
		}
	})
	return g
}

func (g *stage) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// record returns the record of staging, changed.
func (g *stage) record(change func(*state.Staged)) *state.Staged {
	g.t.Helper()
	r, err := g.cfg.State.Staged(id)
	g.must(err)
	if r == nil {
		r = new(g.newRecord(g.volume, g.device))
	}
	if change != nil {
		change(r)
	}
	g.must(g.cfg.State.WriteStaged(*r))
	return r
}

func (g *stage) mounted() (mount.Entry, bool) {
	g.t.Helper()
	table, err := mount.Read()
	g.must(err)
	return table.At(g.path)
}

// fail makes the file system answer everything with an error.
func (g *stage) fail() {
	g.t.Helper()
	dir, err := os.Open(g.path)
	g.must(err)
	defer dir.Close()
	const goingDown = 0x8004587d
	flags := uint32(2)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), goingDown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		g.t.Fatal(errno)
	}
}

// TestHealLeavesAlone has what is not staged by this driver, in this boot, for a mount, or what is well.
func TestHealLeavesAlone(t *testing.T) {
	for name, prepare := range map[string]func(g *stage) *state.Staged{
		"nothing is staged": func(*stage) *state.Staged { return nil },
		"a block device":    func(g *stage) *state.Staged { return g.record(func(r *state.Staged) { r.Block = true }) },
		"of an earlier boot": func(g *stage) *state.Staged {
			return g.record(func(r *state.Staged) { r.BootID = "earlier" })
		},
		"it is well": func(g *stage) *state.Staged {
			g.must(g.Stage(g.t.Context(), g.volume, g.path))
			return g.record(nil)
		},
		"read-only, and well": func(g *stage) *state.Staged {
			run(g.t, "mkfs.ext4", "-q", g.device.Path)
			g.volume.Use.ReadOnly = true
			g.must(g.Stage(g.t.Context(), g.volume, g.path))
			return g.record(nil)
		},
		"another file system": func(g *stage) *state.Staged {
			g.must(unix.Mount("somebody's", g.path, "tmpfs", 0, ""))
			return g.record(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(t, "ext4")
			record := prepare(g)
			before, was := g.mounted()
			healed, err := g.heal(t.Context(), g.device, g.volume, record, g.path)
			if after, is := g.mounted(); healed || err != nil || is != was || after.Number != before.Number || after.ReadOnly() != before.ReadOnly() {
				t.Errorf("healed: %t, %v; mounted was %+v, is %+v", healed, err, before, after)
			}
		})
	}
}

// TestHealStagesAgain has what is of no use any more. How it was staged counts, not how the pod wants it.
func TestHealStagesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		readOnly bool
		harm     func(g *stage)
	}{
		"an attempt was cut off":       {false, func(g *stage) { g.must(unix.Unmount(g.path, 0)) }},
		"it failed":                    {false, (*stage).fail},
		"it failed, read-only":         {true, (*stage).fail},
		"it became read-only":          {false, func(g *stage) { run(g.t, "mount", "-o", "remount,ro", g.path) }},
		"the disk was plugged in anew": {false, func(g *stage) { g.record(func(r *state.Staged) { r.DiskSeq-- }) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(t, "ext4")
			g.must(g.Stage(t.Context(), g.volume, g.path))
			if c.readOnly {
				g.must(g.Unstage(t.Context(), id, g.path))
				g.volume.Use.ReadOnly = true
				g.must(g.Stage(t.Context(), g.volume, g.path))
				g.volume.Use.ReadOnly = false
			}
			c.harm(g)
			healed, err := g.heal(t.Context(), g.device, g.volume, g.record(nil), g.path)
			e, mounted := g.mounted()
			if !healed || err != nil || !mounted || e.Number != g.device.Number || e.ReadOnly() != c.readOnly {
				t.Errorf("healed: %t, %v; mounted: %t, %+v", healed, err, mounted, e)
			}
			if err := g.health(t.Context(), g.device, e, !c.readOnly); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHealWaitsForPods: a failed file system that pods have stays until they have ended, and one of which nobody knows
// how it is as well.
func TestHealWaitsForPods(t *testing.T) {
	g := newStage(t, "ext4")
	g.must(g.Stage(t.Context(), g.volume, g.path))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if healed, err := g.heal(over, g.device, g.volume, g.record(nil), g.path); healed || !errors.Is(err, context.Canceled) {
		t.Errorf("without time to look: healed: %t, %v", healed, err)
	}
	pod := t.TempDir()
	g.must(unix.Mount(g.path, pod, "", unix.MS_BIND, ""))
	g.fail()
	if healed, err := g.heal(t.Context(), g.device, g.volume, g.record(nil), g.path); healed || volume.ReasonOf(err) != volume.InUse {
		t.Errorf("while a pod has it: healed: %t, %v", healed, err)
	}
	g.must(unix.Unmount(pod, 0))
	if healed, err := g.heal(t.Context(), g.device, g.volume, g.record(nil), g.path); !healed || err != nil {
		t.Errorf("without pods: healed: %t, %v", healed, err)
	}
}
