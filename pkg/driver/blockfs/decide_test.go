package blockfs

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/filesystem"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// of returns a kind of file system that there is.
func of(name string) filesystem.Type {
	t, err := filesystem.Of(name)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDecide(t *testing.T) {
	const boot = "boot"
	d := device.Device{Path: "/dev/vdb", Serial: "serial", Seq: 7}
	ours := &state.Intent{VolumeID: "ID", Serial: "serial", FSType: "ext4", BootID: boot, DiskSeq: 7}
	foreign := &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", BootID: "earlier", DiskSeq: 7}
	before := &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", BootID: boot, DiskSeq: 6}
	otherDisk := &state.Intent{VolumeID: "id", Serial: "another", FSType: "ext4", BootID: boot, DiskSeq: 7}
	blank, data := Findings{Blank: true, NonZeroAt: -1}, Findings{NonZeroAt: 4711}
	for name, c := range map[string]struct {
		request  Request
		findings Findings
		intent   *state.Intent
		want     Plan
		refused  string
	}{
		"blank":                       {Request{}, blank, nil, Plan{Action: Format, Type: of("ext4")}, ""},
		"blank, xfs":                  {Request{FSType: "xfs"}, blank, nil, Plan{Action: Format, Type: of("xfs")}, ""},
		"blank, from a source":        {Request{HasSource: true}, blank, nil, Plan{}, "source"},
		"blank, read-only":            {Request{ReadOnly: true}, blank, nil, Plan{}, "read-only"},
		"blank, unknown file system":  {Request{FSType: "zfs"}, blank, nil, Plan{}, "zfs"},
		"data":                        {Request{}, data, nil, Plan{}, "byte 4711"},
		"data, our intent":            {Request{}, data, ours, Plan{Action: Format, Type: of("ext4"), Overwrite: true}, ""},
		"data, our intent, source":    {Request{HasSource: true}, data, ours, Plan{}, "source"},
		"data, our intent, read-only": {Request{ReadOnly: true}, data, ours, Plan{}, "read-only"},
		"data, intent for another fs": {Request{FSType: "xfs"}, data, ours, Plan{}, "somebody else's"},
		"data, intent of another boot": {
			Request{}, data, foreign, Plan{}, "last plugged in",
		},
		"data, intent for another disk": {
			Request{}, data, otherDisk, Plan{}, "somebody else's",
		},
		"data, intent of an earlier stay": {
			Request{}, data, before, Plan{}, "last plugged in",
		},
		"ext4, never mounted, intent of an earlier stay": {
			Request{}, Findings{Signature: "ext4", NeverMounted: true}, before, Plan{Type: of("ext4")}, "",
		},
		"ext4":                      {Request{}, Findings{Signature: "ext4"}, nil, Plan{Type: of("ext4")}, ""},
		"xfs, nothing asked for":    {Request{}, Findings{Signature: "xfs"}, nil, Plan{Type: of("xfs")}, ""},
		"xfs, ext4 asked for":       {Request{FSType: "ext4"}, Findings{Signature: "xfs"}, ours, Plan{}, "asked for is ext4"},
		"ext4 from a source":        {Request{HasSource: true}, Findings{Signature: "ext4"}, nil, Plan{Type: of("ext4")}, ""},
		"ext4, ours, never mounted": {Request{}, Findings{Signature: "ext4", NeverMounted: true}, ours, Plan{Type: of("ext4"), OrFormat: true}, ""},
		"ext4, ours, never mounted, from a source": {
			Request{HasSource: true}, Findings{Signature: "ext4", NeverMounted: true}, ours, Plan{Type: of("ext4")}, "",
		},
		"ext4, ours, never mounted, read-only": {
			Request{ReadOnly: true}, Findings{Signature: "ext4", NeverMounted: true}, ours, Plan{Type: of("ext4")}, "",
		},
		"ext4, ours, used": {Request{}, Findings{Signature: "ext4"}, ours, Plan{Type: of("ext4")}, ""},
		"ext4, never mounted, no intent": {
			Request{}, Findings{Signature: "ext4", NeverMounted: true}, nil, Plan{Type: of("ext4")}, "",
		},
		"LVM":                {Request{}, Findings{Signature: "LVM2_member"}, nil, Plan{}, "LVM2_member"},
		"LVM with an intent": {Request{}, Findings{Signature: "LVM2_member"}, ours, Plan{}, "LVM2_member"},
		"LUKS":               {Request{}, Findings{Signature: "crypto_LUKS"}, ours, Plan{}, "is encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.VolumeID = "id"
			got, err := Decide(c.request, d, c.findings, c.intent, boot)
			if got != c.want || (err != nil) != (c.refused != "") {
				t.Fatalf("got %+v, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%q does not say %q", err, c.refused)
			}
		})
	}
	if _, err := Decide(Request{VolumeID: "id"}, d, data, &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", DiskSeq: 7}, ""); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("without a boot ID: %v", err)
	}
	d.Seq = 0
	if _, err := Decide(Request{VolumeID: "id"}, d, data, &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", BootID: boot}, boot); volume.ReasonOf(err) != volume.InUse {
		t.Errorf("without stays of the disk: %v", err)
	}
}

func TestSpans(t *testing.T) {
	for _, size := range []int64{1, 512, headBytes, 20 << 20, 1 << 30, 10 << 30, 40 << 40} {
		total := int64(0)
		all := places(size)
		for _, s := range all {
			if s.from < 0 || s.to > size || s.from >= s.to {
				t.Errorf("size %d: span %+v", size, s)
			}
			total += s.to - s.from
		}
		if all[0].from != 0 || all[len(all)-1].to != size {
			t.Errorf("size %d: head or tail is not read", size)
		}
		if total > 16<<20 {
			t.Errorf("size %d: %d bytes are read", size, total)
		}
	}
}

func TestParseBlkid(t *testing.T) {
	for out, want := range map[string]string{
		"DEVNAME=/x\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n": "ext4",
		"PTUUID=1\nPTTYPE=gpt\n":                            "a partition table (gpt)",
		"SOMETHING=new\n":                                   "something that blkid describes as SOMETHING=new",
	} {
		if got, err := parseBlkid(out); err != nil || got != want {
			t.Errorf("%q: %q, %v", out, got, err)
		}
	}
	if got, err := parseBlkid("\n"); err == nil {
		t.Errorf("nothing is %q", got)
	}
}
