package filesystem

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRelease(t *testing.T) {
	for text, want := range map[string]Release{
		"6.1.0-13-cloud-amd64": {6, 1}, "5.15.0-91-generic": {5, 15}, "4.18.0-513.el8.x86_64": {4, 18}, "6.18.44-fc-v595": {6, 18}, "6.0": {6, 0}, "6.12-rc1": {6, 12},
	} {
		if got, err := ParseRelease(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "6", "x.y", "v6.1"} {
		if got, err := ParseRelease(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, c := range []struct {
		a, b Release
		want bool
	}{{Release{5, 4}, Release{5, 15}, true}, {Release{5, 15}, Release{5, 4}, false}, {Release{4, 18}, Release{5, 4}, true}, {Release{6, 1}, Release{5, 4}, false}, {Floor, Floor, false}} {
		if got := c.a.Before(c.b); got != c.want {
			t.Errorf("%s before %s: %t", c.a, c.b, got)
		}
	}
	if got := OldestToMount(); Floor.Before(got) {
		t.Errorf("what is made here need only be mounted on %s", got)
	}
}

// TestProfile: what each kernel gets, in the words of mkfs.
func TestProfile(t *testing.T) {
	for _, c := range []struct {
		fsType, option string
		kernel         Release
		has, lacks     []string
	}{
		{"ext4", "-O", Release{3, 10}, []string{"none", "has_journal", "64bit"}, []string{"metadata_csum", "orphan_file"}},
		{"ext4", "-O", Floor, []string{"none", "metadata_csum", "64bit", "extent"}, []string{"orphan_file", "metadata_csum_seed"}},
		{"ext4", "-O", Release{6, 12}, []string{"none", "orphan_file"}, []string{"metadata_csum_seed"}},
		{"xfs", "-m", Release{3, 10}, []string{"crc=0", "reflink=0", "bigtime=0"}, nil},
		{"xfs", "-m", Release{4, 15}, []string{"crc=1", "finobt=1", "reflink=0"}, nil},
		{"xfs", "-m", Floor, []string{"crc=1", "finobt=1", "reflink=1", "inobtcount=0", "bigtime=0", "rmapbt=0"}, nil},
		{"xfs", "-m", Release{5, 15}, []string{"reflink=1", "inobtcount=1", "bigtime=1", "rmapbt=0"}, nil},
		{"xfs", "-i", Floor, []string{"sparse=1", "nrext64=0"}, nil},
		{"xfs", "-i", Release{6, 6}, []string{"sparse=1", "nrext64=1"}, nil},
		{"btrfs", "-O", Floor, []string{"extref", "skinny-metadata", "no-holes"}, []string{"^no-holes", "block-group-tree"}},
		{"btrfs", "-O", Release{3, 14}, []string{"extref", "^skinny-metadata", "^no-holes"}, nil},
		{"btrfs", "-R", Floor, []string{"free-space-tree"}, nil},
		{"btrfs", "-R", Release{4, 4}, []string{"^free-space-tree"}, nil},
	} {
		words := strings.Split(profile(c.fsType, c.option, c.kernel), ",")
		for _, w := range c.has {
			if !slices.Contains(words, w) {
				t.Errorf("%s %s for %s lacks %s: %v", c.fsType, c.option, c.kernel, w, words)
			}
		}
		for _, w := range c.lacks {
			if slices.Contains(words, w) {
				t.Errorf("%s %s for %s has %s: %v", c.fsType, c.option, c.kernel, w, words)
			}
		}
	}
}

// TestNothingNewerThanTheFloor reads what is really in the file systems that the tools make: every bit that a kernel has to
// know is one that kernels know since the floor at the latest. A bit that this test does not know is a new default of the
// tools, which the table of features then has to switch off.
func TestNothingNewerThanTheFloor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	le, be := binary.LittleEndian, binary.BigEndian
	for _, c := range []struct {
		fsType Type
		start  int64
		order  binary.ByteOrder
		// compat, roCompat and incompat are the places of the words, and what the floor knows of them.
		at    [3]int
		knows [3]uint64
	}{
		// compat: dir_prealloc, imagic, has_journal, ext_attr, resize_inode, dir_index; ro: up to extra_isize, bigalloc,
		// metadata_csum; incompat: filetype, recover, journal_dev, meta_bg, extents, 64bit, mmp, flex_bg.
		{ext4{}, 1024, le, [3]int{0x5C, 0x64, 0x60}, [3]uint64{0x3f, 0x67b, 0x3de}},
		// ro: finobt, rmapbt, reflink; incompat: ftype, spinodes, meta_uuid.
		{xfs{}, 0, be, [3]int{208, 212, 216}, [3]uint64{0, 0x7, 0x7}},
		// ro: free-space-tree and its valid bit; incompat: up to no-holes and metadata_uuid.
		{btrfs{}, 64 << 10, le, [3]int{0xac, 0xb4, 0xbc}, [3]uint64{0, 0x3, 0x7ff}},
	} {
		for _, kernel := range []Release{{4, 4}, Floor} {
			if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, nil, 0o600), os.Truncate(path, 2<<30)); err != nil {
				t.Fatal(err)
			}
			tool := c.fsType.Make(path, Wish{Kernel: kernel})
			if out, err := exec.Command(tool.Name, tool.Args...).CombinedOutput(); err != nil {
				t.Errorf("for %s: %s %v: %v: %s", kernel, tool.Name, tool.Args, err, out)
				continue
			}
			sb := make([]byte, 4096)
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = file.ReadAt(sb, c.start)
			if err := errors.Join(err, file.Close()); err != nil {
				t.Fatal(err)
			}
			for i, at := range c.at {
				word := uint64(c.order.Uint32(sb[at:]))
				if c.fsType.Name() == "btrfs" {
					word = c.order.Uint64(sb[at:])
				}
				if word&^c.knows[i] != 0 {
					t.Errorf("%s for %s has features %#x of kind %d that Linux %s does not know", c.fsType.Name(), kernel, word&^c.knows[i], i, Floor)
				}
			}
		}
	}
	// Without the profile the tools make what an older kernel does not mount: the test sees it.
	if out, err := exec.Command("mkfs.xfs", "-q", "-f", "-m", "bigtime=1,inobtcount=1", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sb := make([]byte, 512)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.ReadAt(sb, 0)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	if be.Uint32(sb[212:])&^0x7 == 0 || be.Uint32(sb[216:])&^0x7 == 0 {
		t.Error("features of newer kernels are not seen")
	}
}

// TestProfileKeepsWhatIsWanted: the profile takes away nothing that the floor has.
func TestProfileKeepsWhatIsWanted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 2<<30)); err != nil {
		t.Fatal(err)
	}
	tool := ext4{}.Make(path, Wish{Kernel: Floor})
	command(t, tool.Name, tool.Args...)
	out := command(t, "dumpe2fs", "-h", path)
	for _, want := range []string{"has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit", "flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize", "metadata_csum"} {
		if !strings.Contains(out, want) {
			t.Errorf("ext4 has no %s", want)
		}
	}
	if !strings.Contains(out, "Inode size:	          256") || !strings.Contains(out, "Block size:               4096") {
		t.Errorf("ext4 is\n%s", out)
	}
}
