package blockstage

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestMovedBeforeATool: a disk that has another name or another number than when it was judged is left as it is.
func TestMovedBeforeATool(t *testing.T) {
	s, _, d := newStager(t)
	for name, change := range map[string]func(*device.Device){
		"name": func(d *device.Device) { d.Path += "x" }, "number": func(d *device.Device) { d.Number.Minor++ },
	} {
		judged := d
		change(&judged)
		if err := s.proveAgain(judged); volume.ReasonOf(err) != volume.InUse || !strings.Contains(err.Error(), "has moved to "+d.Path) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// TestIntentWithoutStays: where the kernel tells no stays, no record of a format outlives its staging.
func TestIntentWithoutStays(t *testing.T) {
	g := newStage(t, "ext4")
	for _, c := range []struct {
		seq   uint64
		stays bool
	}{{g.device.Seq, true}, {0, false}} {
		d := g.device
		d.Seq = c.seq
		g.must(g.cfg.State.WriteIntent(state.Intent{VolumeID: id, Serial: serial, FSType: "ext4", BootID: g.cfg.BootID, DiskSeq: c.seq}))
		g.must(g.endIntent(id, &d))
		if i, err := g.cfg.State.Intent(id); err != nil || (i != nil) != c.stays {
			t.Errorf("sequence number %d: %+v, %v", c.seq, i, err)
		}
	}
}
