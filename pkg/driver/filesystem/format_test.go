package filesystem

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/params"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestEveryFormatCanBeMade: what the parameters allow, the tools make, with the sizes that were asked for. It goes through
// every block and inode size with the most and the fewest inodes, so nothing is found out to be impossible on a node.
func TestEveryFormatCanBeMade(t *testing.T) {
	sizes := []string{"", "256", "512", "1024", "2048", "4096"}
	made := map[string]int{}
	for _, fsType := range All {
		for _, block := range sizes {
			for _, inode := range sizes {
				context := map[string]string{params.BlockSize: block, params.InodeSize: inode}
				f, err := params.FormatOf(fsType.Name(), context)
				if err != nil {
					continue
				}
				// As many inodes as are possible, or the fewest for inodes of the usual size.
				most := 67108864
				for n := most; inode != "" && fsType.Name() == "ext4" && n >= 1024; n /= 2 {
					context[params.BytesPerInode] = strconv.Itoa(n)
					if _, err := params.FormatOf("ext4", context); err == nil {
						most = n
					}
				}
				if fsType.Name() == "ext4" {
					f.BytesPerInode = int64(most)
				}
				made[fsType.Name()]++
				checkFormat(t, fsType, f)
			}
		}
	}
	if made["ext4"] < 15 || made["xfs"] < 5 || made["btrfs"] != 1 {
		t.Errorf("made were %v", made)
	}
}

// checkFormat makes a file system and reads its sizes from the device.
func checkFormat(t *testing.T, fsType Type, f volume.Format) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	const size = 10 << 30 // the smallest volume
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path) //nolint:errcheck // the directory goes with the test
	tool := fsType.Make(path, Wish{Kernel: Floor, Format: f})
	command(t, tool.Name, tool.Args...)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	sb := make([]byte, 2048)
	_, err = file.ReadAt(sb, 0)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	want, got := f, volume.Format{}
	switch fsType.Name() {
	case "ext4":
		ext := sb[extStart:]
		got.BlockSize, got.InodeSize = 1024<<binary.LittleEndian.Uint32(ext[extLogBlockSize:]), int64(binary.LittleEndian.Uint16(ext[0x58:]))
		got.BytesPerInode = f.BytesPerInode
		// Every block group has some at least.
		if inodes, least := int64(binary.LittleEndian.Uint32(ext)), size/f.BytesPerInode; inodes < least || inodes > least*9/8+16<<10 {
			t.Errorf("ext4 %+v has %d inodes", f, inodes)
		}
		if f.InodeSize == 0 {
			want.InodeSize = 256
		}
	case "xfs":
		got.BlockSize, got.InodeSize = int64(binary.BigEndian.Uint32(sb[xfsBlockSize:])), int64(binary.BigEndian.Uint16(sb[104:]))
		if f.InodeSize == 0 {
			want.InodeSize = 512
		}
	default:
		return
	}
	if f.BlockSize == 0 {
		want.BlockSize = 4096
	}
	if got != want {
		t.Errorf("%s is %+v, want %+v", fsType.Name(), got, want)
	}
}
