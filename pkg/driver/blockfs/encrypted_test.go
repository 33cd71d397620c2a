package blockfs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/luks"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/state"
)

const (
	boot  = "boot"
	mark  = "block.csi.vultr.com"
	fresh = mark + " fresh"
)

// TestDecideDisk: when the disk of an encrypted volume gets a header.
func TestDecideDisk(t *testing.T) {
	d := device.Device{Path: "/dev/vdb", Serial: "serial", Seq: 7}
	intent := func(change func(*state.Intent)) *state.Intent {
		i := &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", Layer: luks.Name, BootID: boot, DiskSeq: 7}
		change(i)
		return i
	}
	ours := intent(func(*state.Intent) {})
	blank, data, encrypted := Findings{Blank: true, NonZeroAt: -1}, Findings{NonZeroAt: 4711}, Findings{Signature: Encrypted}
	header := func(subsystem, label string, keys int) Header {
		return Header{Header: luks.Header{Subsystem: subsystem, Label: label, Keyslots: keys}}
	}
	damaged, version := Header{Err: fmt.Errorf("%w: its checksum is wrong", luks.ErrDamaged)}, Header{Err: errors.New("version 1 of LUKS")}
	for name, c := range map[string]struct {
		request  Request
		findings Findings
		header   Header
		intent   *state.Intent
		format   bool
		refused  string
	}{
		"blank":                              {findings: blank, format: true},
		"blank, from a source":               {request: Request{HasSource: true}, findings: blank, refused: "source"},
		"blank, read-only":                   {request: Request{ReadOnly: true}, findings: blank, refused: "read-only"},
		"data":                               {findings: data, refused: "byte 4711"},
		"data, our intent":                   {findings: data, intent: ours, format: true},
		"data, our intent, from a source":    {request: Request{HasSource: true}, findings: data, intent: ours, refused: "source"},
		"data, our intent, read-only":        {request: Request{ReadOnly: true}, findings: data, intent: ours, refused: "read-only"},
		"data, of a plain format":            {findings: data, intent: intent(func(i *state.Intent) { i.Layer = "" }), refused: "somebody else's"},
		"data, of an earlier boot":           {findings: data, intent: intent(func(i *state.Intent) { i.BootID = "earlier" }), refused: "somebody else's"},
		"data, of an earlier stay":           {findings: data, intent: intent(func(i *state.Intent) { i.DiskSeq-- }), refused: "somebody else's"},
		"a file system":                      {findings: Findings{Signature: "ext4"}, refused: "holds ext4 and is not encrypted"},
		"a file system, our intent":          {findings: Findings{Signature: "ext4", NeverMounted: true}, intent: ours, refused: "not encrypted"},
		"a partition table":                  {findings: Findings{Signature: "a partition table (gpt)"}, refused: "partition table"},
		"encrypted":                          {findings: encrypted, header: header(mark, "id", 1)},
		"encrypted, our intent":              {findings: encrypted, header: header(mark, "id", 1), intent: ours},
		"encrypted by somebody":              {findings: encrypted, header: header("", "", 1)},
		"encrypted, from a source":           {request: Request{HasSource: true}, findings: encrypted, header: header(mark, "other", 1)},
		"encrypted, read-only":               {request: Request{ReadOnly: true}, findings: encrypted, header: header(mark, "id", 1)},
		"fresh":                              {findings: encrypted, header: header(fresh, "id", 1)},
		"fresh, not finished":                {findings: encrypted, header: header(fresh, "id", 0), format: true},
		"another's, not finished":            {findings: encrypted, header: header(fresh, "other", 0), intent: ours},
		"used, its passphrases were wiped":   {findings: encrypted, header: header(mark, "id", 0), intent: ours},
		"damaged":                            {findings: encrypted, header: damaged, refused: "checksum"},
		"damaged, our intent":                {findings: encrypted, header: damaged, intent: ours, format: true},
		"damaged, of a plain format":         {findings: encrypted, header: damaged, intent: intent(func(i *state.Intent) { i.Layer = "" }), refused: "left as it is"},
		"damaged, of an earlier stay":        {findings: encrypted, header: damaged, intent: intent(func(i *state.Intent) { i.DiskSeq-- }), refused: "left as it is"},
		"damaged, our intent, from a source": {request: Request{HasSource: true}, findings: encrypted, header: damaged, intent: ours, refused: "source"},
		"damaged, our intent, read-only":     {request: Request{ReadOnly: true}, findings: encrypted, header: damaged, intent: ours, refused: "read-only"},
		"LUKS1, our intent":                  {findings: encrypted, header: version, intent: ours, refused: "version 1"},
		"not finished, from a source":        {request: Request{HasSource: true}, findings: encrypted, header: header(fresh, "id", 0), refused: "source"},
		"not finished, to be used read-only": {request: Request{ReadOnly: true}, findings: encrypted, header: header(fresh, "id", 0), refused: "read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.VolumeID, c.request.Encryption = "id", luks.Name
			format, err := DecideDisk(c.request, d, c.findings, c.header, c.intent, boot)
			if format != c.format || (err != nil) != (c.refused != "") {
				t.Fatalf("got %t, %v", format, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%q does not say %q", err, c.refused)
			}
		})
	}
}

// TestDecideInside: what is inside an encrypted disk is formatted only if its header says that nothing was put there.
func TestDecideInside(t *testing.T) {
	d := device.Device{Path: "/dev/dm-0", Serial: "serial", Seq: 7}
	ours := &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", Layer: luks.Name, BootID: boot, DiskSeq: 7}
	blank, noise := Findings{Blank: true, NonZeroAt: -1}, Findings{NonZeroAt: 0}
	format := Plan{Action: Format, Type: of("ext4"), Overwrite: true}
	for name, c := range map[string]struct {
		request  Request
		findings Findings
		want     Plan
		refused  string
	}{
		"noise, fresh":                {Request{Fresh: true}, noise, format, ""},
		"noise, fresh, xfs":           {Request{Fresh: true, FSType: "xfs"}, noise, Plan{Action: Format, Type: of("xfs"), Overwrite: true}, ""},
		"noise, fresh, from a source": {Request{Fresh: true, HasSource: true}, noise, Plan{}, "source"},
		"noise, fresh, read-only":     {Request{Fresh: true, ReadOnly: true}, noise, Plan{}, "read-only"},
		"zeros, fresh":                {Request{Fresh: true}, blank, format, ""},
		"noise, used":                 {Request{}, noise, Plan{}, "nothing recognises"},
		"zeros, used":                 {Request{}, blank, Plan{}, "written by somebody"},
		"ext4":                        {Request{}, Findings{Signature: "ext4"}, Plan{Type: of("ext4")}, ""},
		"ext4, never mounted, used":   {Request{}, Findings{Signature: "ext4", NeverMounted: true}, Plan{Type: of("ext4")}, ""},
		"ext4, never mounted, fresh":  {Request{Fresh: true}, Findings{Signature: "ext4", NeverMounted: true}, format, ""},
		"ext4, mounted before, fresh": {Request{Fresh: true}, Findings{Signature: "ext4"}, Plan{Type: of("ext4")}, ""},
		"ext4, fresh, xfs asked for":  {Request{Fresh: true, FSType: "xfs"}, Findings{Signature: "ext4"}, Plan{}, "asked for is xfs"},
		"LVM, fresh":                  {Request{Fresh: true}, Findings{Signature: "LVM2_member"}, Plan{}, "LVM2_member"},
		"encrypted once more":         {Request{}, Findings{Signature: Encrypted}, Plan{}, Encrypted},
		"encrypted once more, fresh":  {Request{Fresh: true}, Findings{Signature: Encrypted}, Plan{}, Encrypted},
	} {
		t.Run(name, func(t *testing.T) {
			c.request.VolumeID, c.request.Encryption = "id", luks.Name
			got, err := Decide(c.request, d, c.findings, ours, boot)
			if got != c.want || (err != nil) != (c.refused != "") {
				t.Fatalf("got %+v, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%q does not say %q", err, c.refused)
			}
		})
	}
}

// TestEncryptedUnasked: a disk that is encrypted is not used as one that is not, by no commands that wipe it, and the record
// of an encryption allows no plain format.
func TestEncryptedUnasked(t *testing.T) {
	d := device.Device{Path: "/dev/vdb", Serial: "serial", Seq: 7}
	ours := &state.Intent{VolumeID: "id", Serial: "serial", FSType: "ext4", BootID: boot, DiskSeq: 7}
	_, err := Decide(Request{VolumeID: "id"}, d, Findings{Signature: Encrypted}, ours, boot)
	if err == nil || !strings.Contains(err.Error(), "encryption: luks2") || strings.Contains(err.Error(), "wipefs") {
		t.Errorf("got %v", err)
	}
	ours.Layer = luks.Name
	if _, err := Decide(Request{VolumeID: "id"}, d, Findings{NonZeroAt: 1}, ours, boot); err == nil {
		t.Error("what an encryption left is formatted as a plain disk")
	}
}
