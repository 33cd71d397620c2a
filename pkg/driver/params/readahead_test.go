package params

import (
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestReadAhead: the class and the volume context are judged alike.
func TestReadAhead(t *testing.T) {
	for _, c := range []struct {
		fsType, text string
		kib          int64
		says         string // of a refusal
	}{
		{"ext4", "512", 512, ""},
		{"xfs", "0", 0, ""},
		{"ext4", "65536", 65536, ""},
		{"ext4", "65537", 0, "whole numbers from 0 to 65536"},
		{"ext4", "-1", 0, "whole numbers"},
		{"ext4", "128k", 0, "whole numbers"},
		{"btrfs", "512", 0, "is for ext4 and xfs, the file system is btrfs"},
	} {
		kib, wished, inContext := ReadAheadOf(c.fsType, map[string]string{ReadAhead: c.text})
		_, inClass := Parse(class{ReadAhead: c.text}, c.fsType)
		if c.says == "" {
			if inContext != nil || inClass != nil || kib != c.kib || !wished {
				t.Errorf("%s of %s: %d, %t, context %v, class %v", c.text, c.fsType, kib, wished, inContext, inClass)
			}
			continue
		}
		for _, err := range []error{inContext, inClass} {
			if volume.ReasonOf(err) != volume.Invalid || !strings.Contains(err.Error(), ReadAhead) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s of %s: %v", c.text, c.fsType, err)
			}
		}
	}
	for _, context := range []map[string]string{nil, {ReadAhead: ""}, {BlockSize: "4096"}} {
		if kib, wished, err := ReadAheadOf("btrfs", context); kib != 0 || wished || err != nil {
			t.Errorf("nothing said: %d, %t, %v", kib, wished, err)
		}
	}
	if kib, wished, err := ReadAheadOf("", map[string]string{ReadAhead: "64"}); kib != 64 || !wished || err != nil {
		t.Errorf("a raw device: %d, %t, %v", kib, wished, err)
	}
	if got := ForNode(class{ReadAhead: "64", DiskType: "nvme"}); len(got) != 1 || got[ReadAhead] != "64" {
		t.Errorf("the node is told %v", got)
	}
}

// TestCapabilitysFileSystem: the provisioner leaves the class's file system out of the parameters, so what is for the node is
// judged with that of the capability.
func TestCapabilitysFileSystem(t *testing.T) {
	for fsType, valid := range map[string]bool{"": true, "ext4": true, "xfs": false, "btrfs": false} {
		_, err := Parse(class{BytesPerInode: "16384"}, fsType)
		if valid != (err == nil) || !valid && !strings.Contains(err.Error(), "the file system is "+fsType) {
			t.Errorf("capability with %q: %v", fsType, err)
		}
	}
	if _, err := Parse(class{FSType: "xfs", BytesPerInode: "16384"}, ""); err == nil {
		t.Error("the class's own file system does not count")
	}
	// All file systems of another kind of storage are one.
	_, err := Parse(class{StorageType: "vfs", ReadAhead: "64", BlockSize: "4096", Encryption: "luks2"}, "ext4")
	for _, key := range []string{ReadAhead, BlockSize, Encryption} {
		if err == nil || !strings.Contains(err.Error(), `"`+key+`" is for storage type "block"`) {
			t.Errorf("%s of a shared file system: %v", key, err)
		}
	}
}
