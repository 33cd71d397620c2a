package filesystem

import (
	"encoding/binary"
	"io"
	"os"
	"strconv"
	"strings"
)

// More offsets in the superblock.
const (
	extFirstBlock     = 0x14
	extBlocksPerGroup = 0x20
)

// byCopy returns how to run e2fsck when it did not recognise the file system because the checksum of its superblock is
// wrong: by the copy of the superblock in the second group. nil is for any other failure.
//
// The tools write a superblock in pieces, the checksum last: e2fsck even when it only notes in a file system without
// faults how much was written to it. A kill between two pieces leaves a superblock that neither the kernel nor `e2fsck -p`
// accepts, and nothing else is wrong. By the copy e2fsck checks everything, repairs what loses nothing, as ever, and runs
// the journal if that has something.
func byCopy(devicePath string, args []string) func(out string) []string {
	return func(out string) []string {
		if !strings.Contains(out, "Superblock checksum does not match") {
			return nil
		}
		file, err := os.Open(devicePath) //nolint:gosec // a device that was proven
		if err != nil {
			return nil
		}
		defer file.Close() //nolint:errcheck // only read from
		block, size, ok := extCopy(file)
		if !ok {
			return nil
		}
		return append([]string{"-b", strconv.FormatInt(block, 10), "-B", strconv.FormatInt(size, 10)}, args...)
	}
}

// extCopy returns where the copy of the superblock in the second group is, and the size of a block.
func extCopy(r io.ReaderAt) (block, size int64, ok bool) {
	sb, err := readExt(r)
	if err != nil {
		return 0, 0, false
	}
	field := func(offset int) int64 { return int64(binary.LittleEndian.Uint32(sb[offset:])) }
	log, group := field(extLogBlockSize), field(extBlocksPerGroup)
	if log > 6 || group == 0 {
		return 0, 0, false // no file system has such blocks or groups
	}
	block, size = field(extFirstBlock)+group, 1024<<log
	magic := make([]byte, 2)
	if _, err := r.ReadAt(magic, block*size+extMagic); err != nil || binary.LittleEndian.Uint16(magic) != extMagicValue {
		return 0, 0, false
	}
	return block, size, true
}
