package params

import (
	"maps"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// both judges a class and a volume context with the same keys.
func both(in class) (f volume.Format, fromClass, fromContext error) {
	_, fromClass = Parse(in, "")
	fsType := in[FSType]
	if fsType == "" {
		fsType = FileSystems[0]
	}
	context := maps.Clone(in)
	delete(context, FSType)
	f, fromContext = FormatOf(fsType, context)
	return f, fromClass, fromContext
}

func TestFormat(t *testing.T) {
	for name, c := range map[string]struct {
		in   class
		want volume.Format
	}{
		"none":                {class{}, volume.Format{}},
		"empty":               {class{BlockSize: "", InodeSize: ""}, volume.Format{}},
		"ext4":                {class{BlockSize: "1024", InodeSize: "512", BytesPerInode: "4096"}, volume.Format{BlockSize: 1024, InodeSize: 512, BytesPerInode: 4096}},
		"inodes of a block":   {class{BlockSize: "1024", InodeSize: "1024", BytesPerInode: "2048"}, volume.Format{BlockSize: 1024, InodeSize: 1024, BytesPerInode: 2048}},
		"an inode a block":    {class{BytesPerInode: "4096"}, volume.Format{BytesPerInode: 4096}},
		"the fewest inodes":   {class{BytesPerInode: "67108864"}, volume.Format{BytesPerInode: 67108864}},
		"xfs":                 {class{FSType: "xfs", BlockSize: "2048", InodeSize: "1024"}, volume.Format{BlockSize: 2048, InodeSize: 1024}},
		"xfs, small blocks":   {class{FSType: "xfs", BlockSize: "1024"}, volume.Format{BlockSize: 1024}},
		"xfs, large inodes":   {class{FSType: "xfs", InodeSize: "2048"}, volume.Format{InodeSize: 2048}},
		"btrfs, nothing said": {class{FSType: "btrfs"}, volume.Format{}},
		"another's context":   {class{"csi.storage.k8s.io/pv/name": "x"}, volume.Format{}},
	} {
		got, fromClass, fromContext := both(c.in)
		if fromClass != nil || fromContext != nil || got != c.want {
			t.Errorf("%s: %+v, class %v, context %v", name, got, fromClass, fromContext)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   class
		says []string
	}{
		"not a size":         {class{BlockSize: "4k"}, []string{`"mkfs_block_size": "4k"`, "1024, 2048, 4096"}},
		"xfs's blocks":       {class{BlockSize: "512"}, []string{"1024, 2048, 4096"}},
		"small inodes":       {class{InodeSize: "128"}, []string{"256, 512, 1024, 2048"}},
		"a sign":             {class{BytesPerInode: "+4096"}, []string{"whole numbers from 1024 to 67108864"}},
		"zeros":              {class{BytesPerInode: "04096"}, []string{"whole numbers"}},
		"below the range":    {class{BlockSize: "1024", BytesPerInode: "1023"}, []string{"whole numbers from 1024"}},
		"beyond the range":   {class{BytesPerInode: "67108865"}, []string{"whole numbers from 1024"}},
		"beyond all numbers": {class{BytesPerInode: "99999999999999999999"}, []string{"whole numbers from 1024"}},
		"below a block":      {class{BytesPerInode: "4095"}, []string{"4095", "4096 and more"}},
		"below two inodes":   {class{BlockSize: "1024", InodeSize: "1024", BytesPerInode: "2047"}, []string{"2048 and more"}},
		"inode over block":   {class{BlockSize: "1024", InodeSize: "2048"}, []string{"2048 is more than a block", "1024"}},
		"xfs, small inodes":  {class{FSType: "xfs", InodeSize: "256"}, []string{"256", "512 to 2048"}},
		"xfs, large inodes":  {class{FSType: "xfs", BlockSize: "2048", InodeSize: "2048"}, []string{"512 to 1024"}},
		"xfs, ext4's":        {class{FSType: "xfs", BytesPerInode: "8192"}, []string{`"mkfs_bytes_per_inode" is for ext4, the file system is xfs`}},
		"btrfs":              {class{FSType: "btrfs", BlockSize: "4096", InodeSize: "512"}, []string{`"mkfs_block_size" is for ext4 and xfs`, `"mkfs_inode_size" is for ext4 and xfs`, "btrfs"}},
		"every fault":        {class{BlockSize: "1024", InodeSize: "2048", BytesPerInode: "1024"}, []string{"more than a block", "4096 and more"}},
		"unknown":            {class{"mkfs_blocksize": "4096"}, []string{`mean "mkfs_block_size"`}},
		"unknown and wrong":  {class{"mkfs_inodes": "4096", BlockSize: "1"}, []string{"mkfs_inodes", `"mkfs_block_size": "1"`}},
	} {
		got, fromClass, fromContext := both(c.in)
		for where, err := range map[string]error{"class": fromClass, "context": fromContext} {
			if volume.ReasonOf(err) != volume.Invalid || got != (volume.Format{}) {
				t.Errorf("%s, %s: %+v, %v", name, where, got, err)
				continue
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s, %s: %q does not say %q", name, where, err, text)
				}
			}
		}
	}
}

// TestOtherDriversKeys: who knows another driver's keys is told ours.
func TestOtherDriversKeys(t *testing.T) {
	for theirs, ours := range map[string]string{"blockSize": BlockSize, "inodeSize": InodeSize, "bytesPerInode": BytesPerInode} {
		if _, err := Parse(class{theirs: "4096"}, ""); err == nil || !strings.Contains(err.Error(), `mean "`+ours+`"`) {
			t.Errorf("%s: %v", theirs, err)
		}
	}
}

// TestForNode: the node gets what it has to know, and what the platform has to know stays behind.
func TestForNode(t *testing.T) {
	got := ForNode(class{BlockSize: "4096", InodeSize: "", DiskType: "hdd", FSType: "ext4", "csi.storage.k8s.io/pv/name": "x"})
	if !maps.Equal(got, class{BlockSize: "4096"}) {
		t.Errorf("got %v", got)
	}
	for _, p := range formatTable {
		if !p.ForNode || len(p.For) == 0 || !strings.HasPrefix(p.Key, formatPrefix) {
			t.Errorf("%s does not reach the node", p.Key)
		}
	}
}
